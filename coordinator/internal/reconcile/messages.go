package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// swallowed is how long an offer may go unclaimed before the loss of a worker
// makes it suspect: a frozen process still takes messages into its free slots,
// and the broker misses it only after its heartbeats.
const swallowed = time.Second

// looks is what one pass knows.
type looks struct {
	clock time.Time            // Redis's, read before any queue was looked at
	all   bool                 // this pass looks at everything
	hurry bool                 // a worker was lost a moment ago
	lost  map[string]time.Time // when each queue lost what was in it

	posted *ledger.Posted // what the outbox had when it was read last; nil: it was not
}

// queueWatch is what the looks at a queue found, in Redis's time. A queue is
// watched while nodes of it are seen that wait to be claimed.
type queueWatch struct {
	last   time.Time // the last look, when it found the queue empty
	before time.Time // the one before, at least a look's interval earlier, when both did
	idle   bool      // found empty in this pass
	deaf   bool      // the broker did not answer
	needed bool      // since the last pass over everything

	passed time.Time // the latest time at which an offer became ready that was seen claimed
	sure   time.Time // the same, as of the pass over everything before
}

// lookAtQueues looks at every queue that is watched.
func (a *Audit) lookAtQueues(ctx context.Context, l *looks) error {
	for name, q := range a.queues {
		a.lookAt(ctx, name, q, l)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if l.all {
			q.sure = q.passed
		}
	}
	return nil
}

// lookAt looks at one queue, once a pass. A queue that does not exist has lost what was
// in it by now.
func (a *Audit) lookAt(ctx context.Context, name string, q *queueWatch, l *looks) {
	d, err := a.cfg.Depths.Depth(ctx, name)
	if errors.Is(err, taskqueue.ErrUnroutable) {
		d, err = taskqueue.Depth{}, nil
		if l.lost == nil {
			l.lost = map[string]time.Time{}
		}
		l.lost[name] = l.clock
	}
	if err != nil && !q.deaf && ctx.Err() == nil {
		a.cfg.Log.Warn("the broker does not tell how many messages wait; lost ones are found later", "queue", name, "error", err)
	}
	q.deaf, q.idle = err != nil, err == nil && d.Ready == 0
	switch {
	case !q.idle:
		q.last, q.before = time.Time{}, time.Time{}
	case q.last.IsZero():
		q.last = l.clock
	case l.clock.Sub(q.last) >= a.look*9/10:
		q.last, q.before = l.clock, q.last
	}
}

// watch returns the watch of a queue and begins one that is missing.
func (a *Audit) watch(ctx context.Context, name string, l *looks) *queueWatch {
	q := a.queues[name]
	if q == nil {
		q = &queueWatch{}
		a.queues[name] = q
		a.lookAt(ctx, name, q, l)
	}
	q.needed = true
	return q
}

// endWatches forgets the queues in which nobody waits any more.
func (a *Audit) endWatches() {
	for name, q := range a.queues {
		if !q.needed {
			delete(a.queues, name)
		}
		q.needed = false
	}
}

// forgetQueues forgets what earlier looks found, but for what was told.
func (a *Audit) forgetQueues() {
	for _, q := range a.queues {
		*q = queueWatch{deaf: q.deaf, needed: true}
	}
}

// lostMessages offers again what was dispatched, is in no queue, and nobody
// claimed.
func (a *Audit) lostMessages(ctx context.Context, c ledger.ActiveCycle, p *plan.Plan, states []ledger.NodeState, l *looks) error {
	var lost []rung
	for i, n := range states {
		switch {
		case n.Status == task.Dispatched && n.Blocker == "":
		case !n.Again && !n.ReadyAt.IsZero() && n.StartedAt.After(n.ReadyAt): // its first message was claimed
			if q := a.queues[taskqueue.Queue(a.cfg.Prefix, p.Nodes[i].Pool)]; q != nil && n.ReadyAt.After(q.passed) {
				q.passed = n.ReadyAt
			}
			continue
		default:
			continue
		}
		name := taskqueue.Queue(a.cfg.Prefix, p.Nodes[i].Pool)
		q := a.watch(ctx, name, l)
		before := q.before
		if l.hurry && q.idle {
			before = l.clock.Add(-swallowed)
		}
		passed := n.DispatchedAt.Before(q.sure) && n.DispatchedAt.Before(l.clock.Add(-2*a.look))
		missed := !q.deaf && (passed || !before.IsZero() && n.DispatchedAt.Before(before))
		gone := n.DispatchedAt.Before(l.lost[name])
		if !missed && !gone {
			continue
		}
		why := "message lost"
		if gone {
			why = "queue lost"
		}
		lost = append(lost, rung{attempt: ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID, Node: n.Node, N: n.Attempt}, why: why})
	}
	return a.offerAgain(ctx, lost)
}

// rung is an attempt that is to be offered again.
type rung struct {
	attempt ids.Attempt
	why     string
	done    bool
}

// A queue may have lost thousands. Calls at the same time need fewer round trips; a few
// are not worth it.
const (
	few    = 8
	atOnce = 64
)

// offerAgain rings for attempts of one cycle once more.
func (a *Audit) offerAgain(ctx context.Context, lost []rung) error {
	if len(lost) <= few {
		for _, r := range lost {
			if err := a.ring(ctx, &r); err != nil {
				return err
			}
			if r.done {
				a.note(r.attempt.Flow, r.attempt.Cycle, r.attempt.Node, "message")
			}
		}
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range lost {
		g.Go(func() error { return a.ring(ctx, &lost[i]) })
	}
	err := g.Wait()
	count := 0
	for _, r := range lost {
		if r.done {
			count++
			a.mended("message")
		}
	}
	a.cfg.Log.Warn("repaired", "kind", "message", "flow", lost[0].attempt.Flow, "cycle", lost[0].attempt.Cycle, "count", count)
	return err
}

func (a *Audit) ring(ctx context.Context, r *rung) (err error) {
	if r.done, err = a.cfg.Ledger.OfferAgain(ctx, a.cfg.Epoch, r.attempt, r.why); err != nil {
		return fmt.Errorf("offer %s again: %w", r.attempt, err)
	}
	return nil
}
