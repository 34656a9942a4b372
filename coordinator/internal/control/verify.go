package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/audit"
	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/coordinator/internal/election"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
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
	g := gridOf(found.Schedule, found.Record.Anchor)
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

// Verify checks a part of the journal. A flow that is gone may be asked for: its
// records are still there.
func (c *Control) Verify(ctx context.Context, r httpapi.VerifyRange) (api.Proof, error) {
	p, err := audit.Run(ctx, auditSource{c.cfg.Ledger, c.cfg.Registry}, c.cfg.Ledger, audit.Range{From: r.From, To: r.To, Flow: r.Flow})
	if errors.Is(err, audit.ErrTrimmed) {
		return api.Proof{}, &httpapi.Unavailable{What: "the journal, which is trimmed faster than it can be read,", Cause: err}
	}
	if err != nil {
		return api.Proof{}, translate(err, "the journal")
	}
	if !p.Clean {
		v := p.Violations[0]
		c.cfg.Log.Error("the journal breaks the guarantees", "violations", p.Broken, "rule", v.Rule, "record", v.Record, "key", v.Key, "flow", v.Flow, "message", v.Message)
	}
	return proof(p), nil
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

// TransferLeader hands the leadership over. A coordinator that does not lead
// passes the call on, once, to the one that does.
func (c *Control) TransferLeader(ctx context.Context, here bool) (api.Transfer, error) {
	leader, err := c.cfg.Election.Leader(ctx)
	if errors.Is(err, election.ErrNoLeader) {
		return api.Transfer{}, &httpapi.Conflict{Code: "no_leader", Detail: "no coordinator leads at the moment; try again"}
	}
	if err != nil {
		return api.Transfer{}, err
	}
	err = c.cfg.Transfer(ctx)
	switch {
	case err == nil:
		c.cfg.Log.Info("leadership was handed over", "epoch", leader.Epoch)
		return api.Transfer{From: c.cfg.ID, Epoch: int64(leader.Epoch)}, nil
	case errors.Is(err, election.ErrNoSuccessor):
		return api.Transfer{}, &httpapi.Conflict{Code: "no_successor", Detail: "no other coordinator stands by; start one first"}
	case !errors.Is(err, election.ErrNotLeading):
		return api.Transfer{}, err
	}
	address := info(leader.Candidate).HTTP
	elsewhere := &httpapi.Conflict{Code: "not_leader", Detail: fmt.Sprintf("this coordinator does not lead; %s at %s does", leader.ID, address)}
	switch {
	case leader.ID == c.cfg.ID:
		return api.Transfer{}, &httpapi.Conflict{Code: "not_leader", Detail: "the leadership is changing; try again"}
	case here || address == "":
		return api.Transfer{}, elsewhere
	}
	return c.passOn(ctx, address, elsewhere)
}

// passOn asks the leader. Whether a call that got no answer took effect is not
// known, so it is not made again.
func (c *Control) passOn(ctx context.Context, address string, elsewhere *httpapi.Conflict) (api.Transfer, error) {
	there, err := client.New(address, client.Options{UserAgent: "weather-station-coordinator"})
	if err != nil {
		return api.Transfer{}, elsewhere
	}
	defer there.Close()
	out, err := there.TransferLeader(ctx, true)
	var problem *client.Problem
	var unreachable *client.Unreachable
	switch {
	case errors.As(err, &problem) && problem.Code != "":
		return out, &httpapi.Conflict{Code: problem.Code, Detail: problem.Detail}
	case errors.As(err, &problem), errors.As(err, &unreachable):
		c.cfg.Log.Warn("the leader can't be asked to hand over", "address", address, "error", err)
		return out, elsewhere
	}
	return out, err
}
