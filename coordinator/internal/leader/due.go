package leader

import (
	"context"
	"slices"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/mirror"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
)

// horizon is how far back a slot lies that the leader before may have left undone.
const horizon = 10 * time.Second

// foresight is how far ahead the ticker is told of slots before the pass over all flows
// has come to them.
const foresight = 15 * time.Second

// first is how many flows are looked at before anything else.
const first = 4 * mirror.Page

// begin looks at the flows that are due first, and tells the ticker of those that will
// be soon. It returns the flows that are due, and those of them that are yet to be
// looked at.
func (r *reign) begin(ctx context.Context, later map[ids.FlowID]bool) (todo, due []ids.FlowID) {
	due, rest := r.rank(r.near())
	n := min(first, len(due))
	r.see(ctx, due[:n], true, later)
	r.expect(rest)
	return due[n:], due
}

// near returns the flows that had a slot just now or have one soon, and others: all of
// them when that was not found out in advance.
func (r *reign) near() []*registry.Flow {
	now := r.Clock.Estimate()
	if flows, ready := r.Registry.Near(now.Add(-horizon), now.Add(foresight)); ready {
		return flows
	}
	var all []*registry.Flow
	r.Registry.Each(func(f *registry.Flow) bool { all = append(all, f); return true })
	return all
}

// foresee tells the ticker of slots that come soon, for the flows that the pass has not
// come to.
func (r *reign) foresee() {
	now := r.Clock.Estimate()
	due, rest := r.rank(r.near())
	for _, f := range due {
		r.ticker.Expect(f, now)
	}
	r.expect(rest)
}

// others are all flows without these.
func (r *reign) others(without []ids.FlowID) []ids.FlowID {
	seen := make(map[ids.FlowID]struct{}, len(without))
	for _, f := range without {
		seen[f] = struct{}{}
	}
	return slices.DeleteFunc(r.Registry.Names(), func(f ids.FlowID) bool { _, there := seen[f]; return there })
}

// expected is a flow and its next slot; zero = none.
type expected struct {
	flow ids.FlowID
	slot time.Time
}

// rank tells which flows had a slot just now, the latest first: the leader before may
// have left it undone, so the ledger is asked for these first. The others are due when their
// schedule says so, whatever the ledger has of them. So a flow that is due does not wait
// for all flows to be looked at.
func (r *reign) rank(flows []*registry.Flow) (soon []ids.FlowID, rest []expected) {
	now := r.Clock.Estimate()
	var due []expected
	rest = make([]expected, 0, len(flows))
	for _, f := range flows {
		next, some := f.Next(now.Add(-horizon))
		switch {
		case !some:
			rest = append(rest, expected{flow: f.Record.Flow})
		case next.After(now):
			rest = append(rest, expected{f.Record.Flow, next})
		default:
			// The newest of them counts: what lies before was the old leader's to do.
			if again, more := f.Schedule.Next(now.Add(-time.Second), f.Record.Anchor()); more && !again.After(now) {
				next = again
			}
			due = append(due, expected{f.Record.Flow, next})
		}
	}
	slices.SortFunc(due, func(a, b expected) int { return b.slot.Compare(a.slot) })
	soon = make([]ids.FlowID, len(due))
	for i, d := range due {
		soon[i] = d.flow
	}
	return soon, rest
}

// expect tells the ticker when flows are due next, and returns their names.
func (r *reign) expect(flows []expected) []ids.FlowID {
	out := make([]ids.FlowID, len(flows))
	for i, x := range flows {
		if out[i] = x.flow; !x.slot.IsZero() {
			r.ticker.Expect(x.flow, x.slot)
		}
	}
	return out
}
