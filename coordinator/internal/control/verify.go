package control

import (
	"context"
	"errors"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/audit"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/partition"
	"github.com/tradingflow/weather-station/shared/plan"
)

// auditSource is the audit's view of what this coordinator knows.
type auditSource struct {
	auditLedger
	registry interface {
		Get(f ids.FlowID) *registry.Flow
	}
}

// auditLedger is what an audit reads of the ledger.
type auditLedger interface {
	Journal(ctx context.Context, after string, count int64) ([]ledger.Record, error)
	ReadPlan(ctx context.Context, f ids.FlowID, revision int64) (*plan.Plan, error)
}

// Plan implements audit.Source.
func (s auditSource) Plan(ctx context.Context, f ids.FlowID, revision int64) (*plan.Plan, error) {
	if now := s.registry.Get(f); now != nil && now.Record.Revision == revision {
		return now.Plan()
	}
	p, err := s.ReadPlan(ctx, f, revision)
	if errors.Is(err, ledger.ErrGone) {
		return nil, nil
	}
	return p, err
}

// Grid implements audit.Source.
func (s auditSource) Grid(f ids.FlowID) (audit.Grid, bool) {
	found := s.registry.Get(f)
	if found == nil {
		return audit.Grid{}, false
	}
	g := gridOf(found.Schedule, found.Record.Anchor())
	past, err := found.Past()
	if err != nil { // another version wrote it
		return g, true
	}
	for _, e := range past {
		p := gridOf(e.Schedule, e.Anchor)
		p.Until = e.Until
		g.Past = append(g.Past, p)
	}
	return g, true
}

func gridOf(s *schedule.Schedule, anchor time.Time) audit.Grid {
	switch spec := s.Spec(); spec.Kind {
	case schedule.Periodic:
		return audit.Grid{Anchor: anchor, Interval: spec.Interval}
	case schedule.Cron:
		return audit.Grid{Anchor: anchor, Name: spec.Cron + " in " + spec.Timezone, Next: func(after time.Time) time.Time {
			at, _ := s.Next(after, anchor)
			return at
		}}
	}
	return audit.Grid{Anchor: anchor}
}

// Verify checks a part of the journal, of every partition that it concerns. A flow that
// is gone may be asked for: its records are still there.
func (c *Control) Verify(ctx context.Context, r httpapi.VerifyRange) (api.Proof, error) {
	var all *api.Proof
	for p := range c.cfg.Parts {
		if r.Flow != "" && p != partition.Of(r.Flow, len(c.cfg.Parts)) {
			continue
		}
		l := c.cfg.Parts[p].Ledger
		found, err := audit.Run(ctx, auditSource{l, c.cfg.Registry}, l, audit.Range{From: r.From, To: r.To, Flow: r.Flow})
		if errors.Is(err, audit.ErrTrimmed) {
			return api.Proof{}, &httpapi.Unavailable{What: "the journal, which is trimmed faster than it can be read,", Cause: err}
		}
		if err != nil {
			return api.Proof{}, translate(err, "the journal")
		}
		if !found.Clean {
			v := found.Violations[0]
			c.cfg.Log.Error("the journal breaks the guarantees", "partition", p, "violations", found.Broken, "rule", v.Rule, "record", v.Record, "key", v.Key, "flow", v.Flow, "message", v.Message)
		}
		one := proof(found)
		for i := range one.Violations {
			one.Violations[i].Partition = c.numbered(p)
		}
		if all == nil {
			all = &one
		} else {
			all.Add(one)
		}
	}
	return *all, nil
}

func proof(p audit.Proof) api.Proof {
	out := api.Proof{Clean: p.Clean, Records: p.Records, First: p.First, Last: p.Last, Checked: p.Checked, Cycles: p.Cycles, Open: p.Open,
		Partial: p.Partial, Unplanned: p.Unplanned, Repairs: p.Repairs, Restored: p.Restored, Torn: p.Torn, Broken: p.Broken,
		Trimmed: p.Removed, Flows: p.Flows, Compared: p.Compared, Nodes: p.Nodes, Moving: p.Moving, Slots: make([]api.SlotCount, len(p.Slots)),
		Violations: make([]api.Violation, len(p.Violations)), TookMS: p.Took.Milliseconds()}
	for i, s := range p.Slots {
		out.Slots[i] = api.SlotCount{FlowID: string(s.Flow), First: api.At(s.First), Last: api.At(s.Last), Due: s.Due, Started: s.Started, Skipped: s.Skipped, Pending: s.Pending}
	}
	for i, v := range p.Violations {
		out.Violations[i] = api.Violation{Rule: v.Rule, Record: v.Record, Key: v.Key, At: api.At(v.At), FlowID: string(v.Flow), Cycle: v.Cycle,
			NodeID: string(v.Node), Message: v.Message}
	}
	return out
}
