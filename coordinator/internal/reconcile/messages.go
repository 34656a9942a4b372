package reconcile

import (
	"context"
	"fmt"
	"time"

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

// looks is what one pass knows of the queues.
type looks struct {
	clock  time.Time        // Redis's, read before any queue was looked at
	queues map[string]error // looked at in this pass, and why that failed
	idle   map[string]bool  // found empty in this pass
	hurry  bool             // a worker was lost a moment ago
}

// emptyLook is what earlier looks at a queue found, in Redis's time.
type emptyLook struct {
	last   time.Time // the last look, when it found the queue empty
	before time.Time // the one before, at least a look's interval earlier, when both did
	deaf   bool      // the broker did not answer
}

// lostMessages offers again what was dispatched, is in no queue, and nobody
// claimed.
func (a *Audit) lostMessages(ctx context.Context, c ledger.ActiveCycle, p *plan.Plan, states []ledger.NodeState, l *looks) error {
	for i, n := range states {
		if n.Status != task.Dispatched || n.Blocker != "" {
			continue
		}
		queue := taskqueue.Queue(a.cfg.Prefix, p.Nodes[i].Pool)
		before := a.emptyBefore(ctx, queue, l)
		if l.hurry && l.idle[queue] {
			before = l.clock.Add(-swallowed)
		}
		if before.IsZero() || !n.DispatchedAt.Before(before) {
			continue
		}
		at := ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID, Node: n.Node, N: n.Attempt}
		done, err := a.cfg.Ledger.OfferAgain(ctx, a.cfg.Epoch, at, "message lost")
		if err != nil {
			return fmt.Errorf("offer %s again: %w", at, err)
		}
		if done {
			a.note(c, string(n.Node), "message")
		}
	}
	return nil
}

// emptyBefore looks at a queue, once a pass, and returns the earlier look since
// which it was found empty; zero when it is not empty, was not, or can't be
// looked at. The earlier look lies an interval back, so that a message which is
// being claimed has had the time for it.
func (a *Audit) emptyBefore(ctx context.Context, queue string, l *looks) time.Time {
	e := a.empty[queue]
	fault, looked := l.queues[queue]
	if !looked {
		d, err := a.cfg.Depths.Depth(ctx, queue)
		l.queues[queue], fault = err, err
		l.idle[queue] = err == nil && d.Ready == 0
		if err != nil && !e.deaf && ctx.Err() == nil {
			a.cfg.Log.Warn("the broker does not tell how many messages wait; lost ones are found later", "queue", queue, "error", err)
		}
		switch {
		case err != nil || d.Ready > 0:
			e = emptyLook{deaf: err != nil}
		case e.last.IsZero():
			e = emptyLook{last: l.clock}
		case l.clock.Sub(e.last) >= a.cfg.Look*9/10:
			e = emptyLook{last: l.clock, before: e.last}
		}
		a.empty[queue] = e
	}
	if fault != nil {
		return time.Time{}
	}
	return e.before
}
