package rig

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/deploy/dev/procs"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// poll is how often a condition is looked at.
const poll = 10 * time.Millisecond

// LateError says that something did not come in time.
type LateError struct {
	What   string
	Within time.Duration
	State  string
}

func (e *LateError) Error() string {
	return fmt.Sprintf("after %s still no %s: %s", e.Within, e.What, e.State)
}

// Await polls until done says so; state is told when the time is over.
func Await(ctx context.Context, within time.Duration, what string, done func() (ok bool, state string)) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	t := time.NewTicker(poll)
	defer t.Stop()
	for {
		ok, state := done()
		if ok {
			return nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return &LateError{what, within, state}
		}
	}
}

// Pause waits.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Whole waits until one coordinator leads, all others stand by, and every worker
// that runs is known.
func (c *Cluster) Whole(ctx context.Context, within time.Duration) error {
	coordinators, workers := running(c.Coordinators), running(c.Workers)
	return Await(ctx, within, fmt.Sprintf("leader, %d coordinators and %d workers", coordinators, workers), func() (bool, string) {
		cl, err := c.API.Cluster(ctx)
		if err != nil {
			return false, err.Error()
		}
		ws, err := c.API.Workers(ctx)
		if err != nil {
			return false, err.Error()
		}
		return cl.Leader != nil && len(cl.Members) == coordinators && len(ws) >= workers,
			fmt.Sprintf("leader %v, %d coordinators, %d workers", cl.Leader != nil, len(cl.Members), len(ws))
	})
}

func running(all []*procs.Process) (n int) {
	for _, p := range all {
		if p.Running() {
			n++
		}
	}
	return n
}

// Leader waits for the coordinator that leads.
func (c *Cluster) Leader(ctx context.Context) (leader *procs.Process, epoch int64, err error) {
	err = Await(ctx, 30*time.Second, "leader", func() (bool, string) {
		s, err := c.API.Cluster(ctx)
		if err != nil || s.Leader == nil {
			return false, fmt.Sprint("nobody leads: ", err)
		}
		i := slices.IndexFunc(c.Coordinators, func(p *procs.Process) bool { return p.Name == s.Leader.ID && p.Running() })
		if i < 0 {
			return false, s.Leader.ID + " leads and does not run"
		}
		leader, epoch = c.Coordinators[i], s.Leader.Epoch
		return true, ""
	})
	return leader, epoch, err
}

// Read returns the journal up to now; what is known when Redis can't be reached.
func (c *Cluster) Read(ctx context.Context) []ledger.Record {
	for {
		after := ""
		if n := len(c.journal); n > 0 {
			after = c.journal[n-1].ID
		}
		more, err := c.Ledger.Journal(ctx, after, 5000)
		if err != nil || len(more) == 0 {
			return c.journal
		}
		c.journal = append(c.journal, more...)
	}
}

// Reread forgets what was read: Redis may have lost a part of it.
func (c *Cluster) Reread(ctx context.Context) []ledger.Record {
	c.journal = nil
	return c.Read(ctx)
}

// Entry waits for an entry of the journal after the first skip ones.
func (c *Cluster) Entry(ctx context.Context, within time.Duration, skip int, what string, is func(ledger.Record) bool) (found ledger.Record, err error) {
	err = Await(ctx, within, what, func() (bool, string) {
		all := c.Read(ctx)
		from := min(skip, len(all))
		i := slices.IndexFunc(all[from:], is)
		if i < 0 {
			skip = len(all)
			return false, fmt.Sprintf("%d entries", len(all))
		}
		found = all[from+i]
		return true, ""
	})
	return found, err
}

// Settled waits until every cycle that is open now has ended.
func (c *Cluster) Settled(ctx context.Context, within time.Duration) error {
	mark := histcheck.Open(c.Read(ctx))
	return Await(ctx, within, "end of the open cycles", func() (bool, string) {
		still := histcheck.Open(c.Read(ctx))
		n := 0
		for f, cycles := range mark {
			for k := range cycles {
				if still[f][k] {
					n++
				}
			}
		}
		return n == 0, fmt.Sprintf("%d are open; %s", n, c.why(ctx))
	})
}
