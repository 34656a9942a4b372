package sim

import (
	"context"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/ledger/memory/mutant"
	"github.com/tradingflow/weather-station/shared/plan"
)

// mend makes one repair of the audit. The mutant without an audit makes none.
func mend(p port, verb string, cycle int64, do func() (bool, error)) (bool, error) {
	if mutant.Active == mutant.NoAudit {
		return false, nil
	}
	return call(p, verb, cycle, do)
}

func (p port) MendNode(ctx context.Context, epoch ids.Epoch, a ids.Attempt, status, repair string, lease time.Duration) (bool, error) {
	return mend(p, "mend_node", a.Cycle, func() (bool, error) { return p.w.ledger.MendNode(ctx, epoch, a, status, repair, lease) })
}

func (p port) MendDeadlineOf(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle, due time.Time) (bool, error) {
	return mend(p, "mend_node", c.Cycle, func() (bool, error) { return p.w.ledger.MendDeadlineOf(ctx, epoch, c, due) })
}

func (p port) MendCounts(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle, seen int64, counters map[string]int, joins []ledger.JoinFix) (bool, error) {
	return mend(p, "mend_counts", c.Cycle, func() (bool, error) { return p.w.ledger.MendCounts(ctx, epoch, c, seen, counters, joins) })
}

func (p port) MendActive(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle) (bool, error) {
	return mend(p, "mend_active", c.Cycle, func() (bool, error) { return p.w.ledger.MendActive(ctx, epoch, c) })
}

func (p port) MendClosed(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle) (bool, error) {
	return mend(p, "mend_closed", c.Cycle, func() (bool, error) { return p.w.ledger.MendClosed(ctx, epoch, c) })
}

func (p port) MendFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, seen string) (bool, error) {
	return mend(p, "mend_flow", 0, func() (bool, error) { return p.w.ledger.MendFlow(ctx, epoch, f, seen) })
}

func (p port) MendPurge(ctx context.Context, epoch ids.Epoch, f ids.FlowID) (bool, error) {
	return mend(p, "mend_purge", 0, func() (bool, error) { return p.w.ledger.MendPurge(ctx, epoch, f) })
}

func (p port) WritePlan(ctx context.Context, of *plan.Plan) error {
	return tell(p, "write_plan", 0, func() error { return p.w.ledger.WritePlan(ctx, of) })
}

func (p port) NoteRepair(ctx context.Context, epoch ids.Epoch, a ids.Attempt, kind, cause string) error {
	return tell(p, "note_repair", 0, func() error { return p.w.ledger.NoteRepair(ctx, epoch, a, kind, cause) })
}

func (p port) Progresses(ctx context.Context, cycles []ledger.ActiveCycle) ([]ledger.Progress, error) {
	return ask(p, func() ([]ledger.Progress, error) { return p.w.ledger.Progresses(ctx, cycles) })
}

func (p port) Closing(ctx context.Context, before time.Time) ([]ledger.ActiveCycle, error) {
	return ask(p, func() ([]ledger.ActiveCycle, error) { return p.w.ledger.Closing(ctx, before) })
}

func (p port) FlowIDs(ctx context.Context) ([]ids.FlowID, error) {
	return ask(p, func() ([]ids.FlowID, error) { return p.w.ledger.FlowIDs(ctx) })
}

func (p port) LookAtFlows(ctx context.Context, revisions map[ids.FlowID]int64) (map[ids.FlowID]ledger.FlowLook, map[ids.FlowID]bool, error) {
	type look struct {
		found  map[ids.FlowID]ledger.FlowLook
		listed map[ids.FlowID]bool
	}
	l, err := ask(p, func() (look, error) {
		found, listed, err := p.w.ledger.LookAtFlows(ctx, revisions)
		return look{found, listed}, err
	})
	return l.found, l.listed, err
}

func (p port) Protections(ctx context.Context, c ledger.ActiveCycle, revision int64, nodes []ledger.NodeState) (ledger.Protection, error) {
	return ask(p, func() (ledger.Protection, error) { return p.w.ledger.Protections(ctx, c, revision, nodes) })
}
