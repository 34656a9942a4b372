package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/plans"
	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// StartCycle starts a cycle now. The same key gives the same cycle again.
func (c *Control) StartCycle(ctx context.Context, id ids.FlowID, key string) (api.CycleSummary, error) {
	if key == "" {
		key = uuid.NewString() // the call itself may be repeated on its way to Redis
	}
	var out ledger.Started
	var p *plan.Plan
	err := again(ctx, func() error {
		f, err := c.get(ctx, id)
		if err != nil {
			return err
		}
		if p, err = f.Plan(); err != nil {
			return err
		}
		occasion := plans.TriggerOccasion(f.Record.UID, key)
		cycle := ids.CycleUUID(occasion, p.Revision)
		c.of(id).Plans.Learn(p, cycle) // before its first nodes are to be offered
		out, err = start(ctx, c.of(id).Ledger, ledger.Start{
			Plan: p, TriggerKey: key, Occasion: occasion, Overlap: f.Schedule.Spec().Overlap == schedule.OverlapAllow,
		})
		if err != nil || out.Before {
			c.of(id).Plans.Forget(id, cycle)
		}
		if errors.Is(err, ledger.ErrStale) || errors.Is(err, ledger.ErrGone) {
			c.cfg.Registry.Refresh(id)
			if merr := c.of(id).Mirror.One(ctx, id); merr != nil {
				return merr
			}
		}
		return err
	}, ledger.ErrStale, ledger.ErrGone, ledger.ErrDeleting)
	if errors.Is(err, ledger.ErrBusy) {
		return api.CycleSummary{}, &httpapi.Conflict{Code: "cycle_running",
			Detail: fmt.Sprintf("a cycle of flow %q is running and its overlap policy is skip; wait for it, cancel it, or register the flow with overlap: allow", string(id))}
	}
	if err != nil {
		return api.CycleSummary{}, translate(err, flowName(id))
	}
	if out.Before {
		return c.summary(ctx, id, out.Cycle)
	}
	c.cfg.Log.Debug("cycle started by hand", "flow", id, "cycle", out.Cycle)
	return cycleSummary(ledger.CycleState{
		Flow: id, Cycle: out.Cycle, UUID: out.UUID, Status: api.CycleRunning, Trigger: api.TriggerManual, Revision: p.Revision,
		StartedAt: out.At, Total: int64(len(p.Nodes)),
	}, out.At), nil
}

// start starts a cycle in a round trip with others: starts may be many, and a call with a
// deadline has one of its own. When ctx ends first, a call that waits for others is not
// made; one that is out is let finish, within the bounds that the ledger's client has.
func start(ctx context.Context, l *ledger.Ledger, s ledger.Start) (ledger.Started, error) {
	out, err := l.StartCycle(unhurried{ctx}, 0, s)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("start cycle of %s: %w: %w", s.Plan.Flow, ledger.ErrUnavailable, ctx.Err())
	}
	return out, err
}

// unhurried is a context that ends as its own does and tells no deadline.
type unhurried struct{ context.Context }

// Deadline implements context.Context.
func (unhurried) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *Control) summary(ctx context.Context, id ids.FlowID, n int64) (api.CycleSummary, error) {
	s, err := c.of(id).Ledger.Cycle(ctx, id, n)
	if err != nil {
		return api.CycleSummary{}, translate(err, cycleName(id, n))
	}
	now := s.CompletedAt
	if !s.Ended() {
		if now, err = c.of(id).Ledger.Now(ctx); err != nil {
			return api.CycleSummary{}, translate(err, cycleName(id, n))
		}
	}
	return cycleSummary(s, now), nil
}

func cycleSummary(s ledger.CycleState, now time.Time) api.CycleSummary {
	out := api.CycleSummary{
		Cycle: s.Cycle, UUID: s.UUID.String(), FlowID: string(s.Flow), Status: s.Status, Trigger: s.Trigger, Revision: s.Revision,
		StartedAt: api.At(s.StartedAt), CompletedAt: api.At(s.CompletedAt), TotalNodes: int(s.Total), CompletedNodes: int(s.Completed),
		Succeeded: int(s.Counts[task.Succeeded]), Failed: int(s.Counts[task.Failed]), Skipped: int(s.Counts[task.Skipped]),
		Stopped: int(s.Counts[task.Stopped]), Cancelled: int(s.Counts[task.Cancelled]), Unknown: int(s.Counts[task.Unknown]),
		Error: s.Error, Archived: s.Archived || s.Archiving,
	}
	if s.Trigger == api.TriggerSlot {
		out.Slot = api.At(s.Slot)
	}
	end := s.CompletedAt
	if end.IsZero() {
		end = now
	}
	out.DurationSeconds = math.Round(end.Sub(s.StartedAt).Seconds()*1000) / 1000
	return out
}

// ListCycles returns a flow's cycles, the newest first.
func (c *Control) ListCycles(ctx context.Context, id ids.FlowID, limit int, before int64) ([]api.CycleSummary, error) {
	if _, err := c.get(ctx, id); err != nil {
		return nil, err
	}
	states, err := c.of(id).Ledger.Cycles(ctx, id, limit, before)
	if err != nil {
		return nil, translate(err, flowName(id))
	}
	now, err := c.of(id).Ledger.Now(ctx)
	if err != nil {
		return nil, translate(err, flowName(id))
	}
	out := make([]api.CycleSummary, len(states))
	for i, s := range states {
		out[i] = cycleSummary(s, now)
	}
	return out, nil
}

// CancelCycle ends a cycle early: when it returns, no claim is granted in it.
func (c *Control) CancelCycle(ctx context.Context, id ids.FlowID, n int64) (api.CycleSummary, error) {
	if _, err := c.get(ctx, id); err != nil {
		return api.CycleSummary{}, err
	}
	was, err := c.of(id).Ledger.CancelCycle(ctx, 0, id, n, uuid.Nil, ledger.CauseCancelled)
	if err != nil {
		return api.CycleSummary{}, translate(err, cycleName(id, n))
	}
	if api.CycleEnded(was) {
		return api.CycleSummary{}, &httpapi.Conflict{Code: "cycle_ended", Detail: fmt.Sprintf("%s has ended: %s", cycleName(id, n), was)}
	}
	if was == api.CycleRunning {
		c.cfg.Log.Info("cycle cancelled", "flow", id, "cycle", n)
	}
	return c.summary(ctx, id, n)
}

// metricsWindow is how many ended cycles the metrics look at, as the seed does.
const metricsWindow = 10

// Metrics returns the execution metrics of a flow's last ended cycles.
func (c *Control) Metrics(ctx context.Context, id ids.FlowID) (api.Metrics, error) {
	if _, err := c.get(ctx, id); err != nil {
		return api.Metrics{}, err
	}
	out := api.Metrics{FlowID: string(id), Window: metricsWindow}
	var took []float64
	for before := int64(0); len(took) < metricsWindow; {
		states, err := c.of(id).Ledger.Cycles(ctx, id, 50, before)
		if err != nil {
			return out, translate(err, flowName(id))
		}
		for _, s := range states {
			before = s.Cycle
			if !s.Ended() || len(took) == metricsWindow {
				continue
			}
			took = append(took, s.CompletedAt.Sub(s.StartedAt).Seconds())
			switch s.Status {
			case api.CycleCompleted:
				out.Successful++
			case api.CycleFailed, api.CycleTimeout:
				out.Failed++
			}
		}
		if len(states) < 50 {
			break
		}
	}
	out.TotalExecutions = len(took)
	if len(took) == 0 {
		return out, nil
	}
	out.SuccessRate = float64(out.Successful) / float64(len(took))
	slices.Sort(took)
	for _, t := range took {
		out.AvgSeconds += t / float64(len(took))
	}
	out.P50Seconds, out.MaxSeconds = took[len(took)/2], took[len(took)-1]
	return out, nil
}

// outputs splits "node:handle" names into the handles of one node.
func outputs(node ids.NodeID, all map[string]json.RawMessage, handles []string) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(handles))
	for _, h := range handles {
		if v, ok := all[string(node)+":"+h]; ok {
			out[h] = v
		}
	}
	return out
}
