package control

import (
	"context"
	"errors"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/flow"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/partition"
	"github.com/tradingflow/weather-station/shared/plan"
)

// ListFlows returns every flow, ordered by id.
func (c *Control) ListFlows(ctx context.Context) ([]api.FlowSummary, error) {
	select {
	case <-c.cfg.Registry.Loaded():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	flows := c.cfg.Registry.List()
	all := make([]ids.FlowID, len(flows))
	for i, f := range flows {
		all[i] = f.Record.Flow
	}
	parts, err := c.readFlows(ctx, all)
	if err != nil {
		return nil, translate(err, "flows")
	}
	out := make([]api.FlowSummary, len(flows))
	for i, f := range flows {
		d, err := flow.ReadSummary(f.Record.Document())
		if err != nil {
			return nil, err
		}
		r := parts[partition.Of(f.Record.Flow, len(parts))]
		out[i] = summary(f, d, r.states[f.Record.Flow], r.now)
		if cycle, ok := r.latest[f.Record.Flow]; ok {
			sum := cycleSummary(cycle, r.now)
			out[i].CycleStatus = &sum
		}
	}
	return out, nil
}

func summary(f *registry.Flow, d flow.Summary, s ledger.FlowState, now time.Time) api.FlowSummary {
	spec := f.Schedule.Spec()
	out := api.FlowSummary{
		FlowID: string(f.Record.Flow), Name: d.Name, Status: api.FlowActive, ScheduleType: string(spec.Kind),
		IntervalSeconds: spec.Interval.Seconds(), Cron: spec.Cron, Timezone: spec.Timezone, Revision: f.Record.Revision,
		NodeCount: d.Nodes, LatestCycle: s.LastCycle,
	}
	if f.Paused {
		out.Status = api.FlowPaused
	} else if next, ok := f.Schedule.Next(now, f.Record.Anchor()); ok {
		out.NextSlot = api.At(next)
	}
	return out
}

// GetFlow returns all that is known of a flow.
func (c *Control) GetFlow(ctx context.Context, id ids.FlowID) (api.FlowStatus, error) {
	f, err := c.get(ctx, id)
	if err != nil {
		return api.FlowStatus{}, err
	}
	s, err := c.of(id).Ledger.Flow(ctx, id)
	if err != nil && !errors.Is(err, ledger.ErrGone) {
		return api.FlowStatus{}, translate(err, flowName(id))
	}
	now, err := c.of(id).Ledger.Now(ctx)
	if err != nil {
		return api.FlowStatus{}, translate(err, flowName(id))
	}
	doc, err := f.Document()
	if err != nil {
		return api.FlowStatus{}, err
	}
	p, err := f.Plan()
	if err != nil {
		return api.FlowStatus{}, err
	}
	out := api.FlowStatus{FlowSummary: summary(f, flow.Summary{Name: doc.Name, Nodes: len(doc.Nodes)}, s, now), ActiveCycles: int(s.Active), Definition: doc.Canonical()}
	out.Slots = slots(f, s, now)
	shape := doc.Structure()
	out.Components, out.EntryNodes, out.Sinks = nested(shape.Components), texts(shape.Entries), texts(shape.Sinks)
	out.Levels = levels(p)
	if s.LastCycle > 0 {
		latest, err := c.of(id).Ledger.Cycle(ctx, id, s.LastCycle)
		if err == nil {
			sum := cycleSummary(latest, now)
			out.CycleStatus = &sum
		} else if !errors.Is(err, ledger.ErrGone) {
			return api.FlowStatus{}, translate(err, flowName(id))
		}
	}
	return out, nil
}

// slots counts what became of a flow's slots. Pending ones are due and not yet
// accounted.
func slots(f *registry.Flow, s ledger.FlowState, now time.Time) api.Slots {
	out := api.Slots{Started: s.SlotsStarted, Skipped: s.SlotsSkipped}
	if f.Schedule.Spec().Kind != schedule.Manual {
		due := f.Schedule.Due(s.LastSlot, now, f.Record.Anchor())
		for _, skip := range due.Skipped {
			out.Pending += skip.Count
		}
		if !due.Start.IsZero() {
			out.Pending++
		}
	}
	out.Due = out.Started + out.Pending
	for _, n := range out.Skipped {
		out.Due += n
	}
	return out
}

func levels(p *plan.Plan) [][]string {
	var out [][]string
	for i := range p.Nodes {
		n := &p.Nodes[i]
		for len(out) < n.Level {
			out = append(out, nil)
		}
		out[n.Level-1] = append(out[n.Level-1], string(n.ID))
	}
	return out
}

// PauseFlow holds a flow: when it returns, no cycle starts and no claim is
// granted any more. etcd comes first, so that the pause survives a loss of Redis,
// then the ledger, where it takes effect; both before the answer.
func (c *Control) PauseFlow(ctx context.Context, id ids.FlowID) (api.FlowStatus, error) {
	if _, err := c.get(ctx, id); err != nil {
		return api.FlowStatus{}, err
	}
	if _, err := c.cfg.Catalog.Pause(ctx, id); err != nil {
		return api.FlowStatus{}, translate(err, flowName(id))
	}
	changed, err := c.installed(ctx, id, func() (bool, error) { return c.of(id).Ledger.PauseFlow(ctx, id) })
	if err != nil {
		return api.FlowStatus{}, translate(err, flowName(id))
	}
	c.cfg.Registry.Refresh(id)
	if changed {
		c.cfg.Log.Info("flow paused", "flow", id)
	}
	return c.GetFlow(ctx, id)
}

// ResumeFlow lets a held flow go on.
func (c *Control) ResumeFlow(ctx context.Context, id ids.FlowID) (api.FlowStatus, error) {
	if _, err := c.get(ctx, id); err != nil {
		return api.FlowStatus{}, err
	}
	if _, err := c.cfg.Catalog.Resume(ctx, id); err != nil {
		return api.FlowStatus{}, translate(err, flowName(id))
	}
	changed, err := c.installed(ctx, id, func() (bool, error) { return c.of(id).Ledger.ResumeFlow(ctx, id) })
	if err != nil {
		return api.FlowStatus{}, translate(err, flowName(id))
	}
	c.cfg.Registry.Refresh(id)
	if changed {
		c.cfg.Log.Info("flow resumed", "flow", id)
	}
	return c.GetFlow(ctx, id)
}

// installed does something to a flow of the ledger, and installs the flow first
// when Redis has lost it.
func (c *Control) installed(ctx context.Context, id ids.FlowID, do func() (bool, error)) (bool, error) {
	changed, err := do()
	if !errors.Is(err, ledger.ErrGone) {
		return changed, err
	}
	if err := c.of(id).Mirror.One(ctx, id); err != nil {
		return false, err
	}
	return do()
}

// DeleteFlow removes a flow: when it returns, no cycle starts and no claim is
// granted any more; its records are removed by the leader right after.
func (c *Control) DeleteFlow(ctx context.Context, id ids.FlowID) error {
	existed, err := c.cfg.Catalog.Delete(ctx, id)
	if err != nil {
		return translate(err, flowName(id))
	}
	shut, err := c.of(id).Ledger.DeleteFlow(ctx, id)
	if err != nil && !errors.Is(err, ledger.ErrGone) {
		return translate(err, flowName(id))
	}
	c.cfg.Registry.Refresh(id)
	if !existed && !shut { // shut: an earlier call got no further than etcd
		return &httpapi.NotFound{What: flowName(id)}
	}
	c.cfg.Log.Info("flow deleted", "flow", id)
	return nil
}
