package rig

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ids"
)

// Register registers flows and remembers what a judge needs of them. A call that
// fails for want of a server is made again: registering is idempotent.
func (c *Cluster) Register(ctx context.Context, flows []load.Flow) error {
	for _, f := range flows {
		if err := c.register(ctx, f); err != nil {
			return err
		}
		id := ids.FlowID(f.ID)
		def, err := histcheck.Define(f.Text())
		if err != nil {
			return err
		}
		err = Await(ctx, 30*time.Second, "grid of "+f.ID, func() (bool, string) {
			s, err := c.Ledger.Flow(ctx, id)
			def.Anchor = s.Anchor
			return err == nil && !s.Anchor.IsZero(), fmt.Sprint(err)
		})
		if err != nil {
			return err
		}
		c.flows[id] = def
	}
	return nil
}

func (c *Cluster) register(ctx context.Context, f load.Flow) error {
	return Await(ctx, 30*time.Second, "registration of "+f.ID, func() (bool, string) {
		_, err := c.API.Register(ctx, f.Text(), client.RegisterOptions{})
		return err == nil, fmt.Sprint(err)
	})
}

// Busy waits until every one of the flows has had n more cycles that ended.
func (c *Cluster) Busy(ctx context.Context, within time.Duration, flows []load.Flow, n int) error {
	from := len(c.Read(ctx))
	ended := map[ids.FlowID]int{}
	return Await(ctx, within, fmt.Sprintf("%d more ended cycles of each flow", n), func() (bool, string) {
		all := c.Read(ctx)
		for _, r := range all[min(from, len(all)):] {
			if r.Op == "cycle_end" {
				ended[r.Flow]++
			}
		}
		from = len(all)
		for _, f := range flows {
			if ended[ids.FlowID(f.ID)] < n {
				return false, fmt.Sprintf("%s has %d more", f.ID, ended[ids.FlowID(f.ID)])
			}
		}
		return true, ""
	})
}

// Quiesce ends the flows' schedules and waits until everything that runs has
// ended: no open cycle, no outbox entry, lease, timer or task is left. It returns
// an error that names what is left.
func (c *Cluster) Quiesce(ctx context.Context, flows []load.Flow, within time.Duration) error {
	for _, f := range flows {
		now := time.Now()
		if err := c.register(ctx, f.Ended()); err != nil {
			return err
		}
		id := ids.FlowID(f.ID)
		def := c.flows[id]
		def.Until = now.Add(-grace)
		// Whoever replaces a schedule accounts for its slots, whether somebody leads or not.
		if s, err := c.Ledger.Flow(ctx, id); err == nil && !c.ClockSet {
			def.Until = s.Anchor
		}
		c.flows[id] = def
	}
	return Await(ctx, within, "end of everything", func() (bool, string) {
		left, err := c.Left(ctx)
		return err == nil && left.None(), fmt.Sprintf("%s%v; %s", left, errors.Join(err), c.why(ctx))
	})
}

// Emptied says that Redis lost everything: which slots were accounted for until now
// is not known any more.
func (c *Cluster) Emptied() {
	c.journal = nil
	for id, f := range c.flows {
		f.Anchor = time.Time{}
		c.flows[id] = f
	}
}

// grace is how long a slot may take to be accounted for.
const grace = 5 * time.Second

// Left is what is under way.
type Left struct {
	Cycles, Outbox, Leases, Timers, Tasks int
}

// None reports whether nothing is.
func (l Left) None() bool { return l == Left{} }

func (l Left) String() string {
	return fmt.Sprintf("%d open cycles, %d outbox entries, %d leases, %d timers, %d tasks", l.Cycles, l.Outbox, l.Leases, l.Timers, l.Tasks)
}

// Left looks at what is under way.
func (c *Cluster) Left(ctx context.Context) (l Left, err error) {
	cycles, err1 := c.Ledger.Active(ctx)
	outbox, err2 := c.Ledger.Outbox(ctx, "", 1000)
	leases, err3 := c.Ledger.Leases(ctx)
	timers, err4 := c.Ledger.Timers(ctx, 1000)
	cluster, err5 := c.API.Cluster(ctx)
	l = Left{Cycles: len(cycles), Outbox: len(outbox), Leases: len(leases), Timers: len(timers)}
	for _, p := range cluster.Pools {
		l.Tasks += p.Ready
	}
	return l, errors.Join(err1, err2, err3, err4, err5)
}

// why tells what holds the first open cycle up.
func (c *Cluster) why(ctx context.Context) string {
	active, err := c.Ledger.Active(ctx)
	if err != nil || len(active) == 0 {
		return fmt.Sprint(err)
	}
	s, err := c.API.Cycle(ctx, string(active[0].Flow), active[0].Cycle)
	if err != nil {
		return err.Error()
	}
	out := fmt.Sprintf("%s/%d is %s:", s.FlowID, s.Cycle, s.Status)
	for _, n := range s.Nodes {
		if n.Status != "succeeded" {
			out += fmt.Sprintf(" %s=%s#%d", n.NodeID, n.Status, n.Attempt)
			if n.Blocker != nil {
				out += "(" + n.Blocker.Code + ")"
			}
		}
	}
	return out[:min(len(out), 600)]
}
