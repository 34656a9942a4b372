package reconcile

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Once tells whether an at-most-once node was started.
type Once interface {
	// Unstarted reports whether the node of a claim that was made at an instant of
	// the ledger's clock was certainly never started. An error is no answer.
	Unstarted(ctx context.Context, a ids.Attempt, claimed time.Time) (bool, error)
}

// Blocks names what claimed nodes wait for.
type Blocks interface {
	Block(ctx context.Context, a ids.Attempt, token uuid.UUID, blocker string) error
}

// askAgain is how long a question that got no answer waits.
const askAgain = 500 * time.Millisecond

// doubts asks, beside the passes over the leases, whether the at-most-once nodes
// of lost claims were started: a pass must not wait for etcd. An answer never
// spoils: once started is for ever, and what was not started when it was looked at
// and is since is met by whoever claims it next.
type doubts struct {
	once   Once
	blocks Blocks
	log    hclog.Logger

	wake     chan struct{}
	answered chan struct{}

	mu    sync.Mutex
	open  map[ids.Attempt]*doubt // by the name of the lease
	freed []*doubt               // were named as blocked, and are no doubts any more
}

type doubt struct {
	attempt   ids.Attempt
	token     uuid.UUID
	claimed   time.Time
	tries     int
	blocked   bool
	known     bool
	unstarted bool
}

func newDoubts(cfg LeasesConfig) *doubts {
	return &doubts{once: cfg.Once, blocks: cfg.Blocks, log: cfg.Log, wake: make(chan struct{}, 1), answered: make(chan struct{}, 1),
		open: map[ids.Attempt]*doubt{}}
}

// ask returns what is known of the claim under a lease, and asks if nothing is.
func (d *doubts) ask(lease, a ids.Attempt, token uuid.UUID, claimed time.Time) (unstarted, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.open[lease]
	if q == nil || q.token != token {
		d.open[lease] = &doubt{attempt: a, token: token, claimed: claimed}
		signal(d.wake)
		return false, false
	}
	return q.unstarted, q.known
}

// waits reports whether nothing is known yet of the claim under a lease.
func (d *doubts) waits(lease ids.Attempt) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.open[lease]
	return q != nil && !q.known
}

// keep forgets the doubts whose lease is not over any more.
func (d *doubts) keep(over []ids.Attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for lease, q := range d.open {
		if slices.Contains(over, lease) {
			continue
		}
		delete(d.open, lease)
		if q.blocked {
			d.freed = append(d.freed, q)
			signal(d.wake)
		}
	}
}

func (d *doubts) run(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	down := false
	for {
		select {
		case <-d.wake:
		case <-again.C:
		case <-ctx.Done():
			return
		}
		err := d.round(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			if !down {
				d.log.Warn("whether lost at-most-once nodes were started can't be found out; they wait", "error", err)
			}
			down = true
			again.Reset(askAgain)
		case down:
			down = false
			d.log.Info("whether lost at-most-once nodes were started is found out again")
		}
	}
}

// round asks all open questions, until one gets no answer.
func (d *doubts) round(ctx context.Context) error {
	for {
		q := d.next(ctx)
		if q == nil {
			return nil
		}
		unstarted, err := d.once.Unstarted(ctx, q.attempt, q.claimed)
		if errors.Is(err, ledger.ErrGone) {
			unstarted, err = false, nil // what is left of the claim goes either way
		}
		if err != nil {
			d.mu.Lock()
			q.tries++
			d.mu.Unlock()
			d.block(ctx)
			return err
		}
		d.mu.Lock()
		q.known, q.unstarted = true, unstarted
		d.mu.Unlock()
		signal(d.answered)
	}
}

// next returns an open question, those that failed last. Before that it names as
// blocked no more what is not.
func (d *doubts) next(ctx context.Context) *doubt {
	d.mu.Lock()
	freed := d.freed
	d.freed = nil
	all := slices.Collect(maps.Values(d.open))
	all = slices.DeleteFunc(all, func(q *doubt) bool { return q.known })
	slices.SortFunc(all, func(a, b *doubt) int {
		return cmp.Or(cmp.Compare(a.tries, b.tries), a.claimed.Compare(b.claimed))
	})
	d.mu.Unlock()
	for _, q := range freed {
		d.name(ctx, q, "")
	}
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// block names what the nodes of all open questions wait for.
func (d *doubts) block(ctx context.Context) {
	d.mu.Lock()
	var fresh []*doubt
	for _, q := range d.open {
		if !q.known && !q.blocked {
			q.blocked = true
			fresh = append(fresh, q)
		}
	}
	d.mu.Unlock()
	for _, q := range fresh {
		d.log.Warn("lost at-most-once node waits for etcd", "flow", q.attempt.Flow, "cycle", q.attempt.Cycle, "node", q.attempt.Node, "attempt", q.attempt.N)
		d.name(ctx, q, ledger.BlockedByEtcd)
	}
}

// name is for people; without it the node waits all the same.
func (d *doubts) name(ctx context.Context, q *doubt, blocker string) {
	if err := d.blocks.Block(ctx, q.attempt, q.token, blocker); err != nil && ctx.Err() == nil {
		d.log.Debug("what a node waits for can't be named", "node", q.attempt.Node, "error", err)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
