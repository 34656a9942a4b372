package leader

import (
	"context"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/alert"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// started hears of a cycle that a slot began.
func (r *reign) started(p *plan.Plan, s ledger.Started) {
	r.Plans.Learn(p, s.UUID)
	r.log.Debug("cycle started", "flow", p.Flow, "cycle", s.Cycle)
	if r.Metrics.Started != nil {
		r.Metrics.Started()
	}
}

// offered hears of confirmed offers: claims are about to be made.
func (r *reign) offered(n int) {
	r.leases.Nudge()
	r.audit.Nudge()
	if r.Metrics.Offered != nil {
		r.Metrics.Offered(n)
	}
}

// closed hears of a cycle that ended.
func (r *reign) closed(_ context.Context, c ledger.CycleState) error {
	r.Plans.Forget(c.Flow, c.UUID)
	took := c.CompletedAt.Sub(c.StartedAt)
	args := []any{"flow", c.Flow, "cycle", c.Cycle, "trigger", c.Trigger, "status", c.Status, "nodes", c.Total, "took", took.Round(time.Millisecond)}
	for _, s := range []task.Status{task.Succeeded, task.Failed, task.Skipped, task.Stopped, task.Cancelled, task.Unknown} {
		if n := c.Counts[s]; n > 0 {
			args = append(args, string(s), n)
		}
	}
	r.log.Info("cycle ended", args...)
	if c.Status == "failed" || c.Status == "timeout" {
		r.Alerts.Raise(alert.Alert{Kind: "cycle_failed", Flow: string(c.Flow), Cycle: c.Cycle, Message: c.Error, At: c.CompletedAt})
	}
	if r.Metrics.Closed != nil {
		r.Metrics.Closed(c)
	}
	r.retention.Ended(c.Flow)
	return nil
}

// failure hears of a node that failed for good.
func (r *reign) failure(ctx context.Context, e ledger.Entry) error {
	states, err := r.Ledger.Nodes(ctx, e.Flow, e.Cycle, []ids.NodeID{e.Node})
	if err != nil {
		return fmt.Errorf("read failed node: %w", err)
	}
	s := states[0]
	r.Alerts.Raise(alert.Alert{Kind: "node_failed", Flow: string(e.Flow), Cycle: e.Cycle, Node: string(e.Node), Attempt: s.Attempt,
		Class: s.ErrorClass, Message: s.Error, At: s.CompletedAt})
	return nil
}

// suspect hears that a claim's message was redelivered.
func (r *reign) suspect(ctx context.Context, e ledger.Entry) error {
	return r.leases.Suspect(ctx, e.Attempt)
}

// purge hears that a flow was deleted.
func (r *reign) purge(ctx context.Context, e ledger.Entry) error {
	if err := r.retention.Purge(ctx, e.Flow, e.ID); err != nil {
		return err
	}
	r.log.Info("flow removed", "flow", e.Flow)
	r.Registry.Refresh(e.Flow) // registered again meanwhile, it is mirrored now
	return nil
}
