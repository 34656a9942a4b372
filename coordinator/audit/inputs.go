package audit

import (
	"slices"

	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// decided checks that every input of a node is counted, and returns how.
func (c *checker) decided(x *cycle, r ledger.Record, p *plan.Node) (outcomes []string, ok bool) {
	c.proof.Checked[Inputs]++
	for _, in := range p.Inputs {
		n := x.nodes[in.Source]
		if n == nil || n.state != final {
			c.note(Inputs, r, byPlan, "%s before its input %s was counted", r.Op, in.Source)
			return nil, false
		}
		outcomes = append(outcomes, n.outcome)
	}
	return outcomes, true
}

// runs checks that a node becomes ready for the first time by what its inputs
// came to. Whether an edge is live depends on outputs, which the journal does not
// hold; that no edge of a node which did not succeed is live, it does.
func (c *checker) runs(x *cycle, r ledger.Record) {
	p := x.planned(r.Node)
	if p == nil {
		return
	}
	all, ok := c.decided(x, r, p)
	if !ok || len(all) == 0 {
		return
	}
	some := slices.Contains(all, "succeeded")
	broken := slices.Contains(all, "failed") || slices.Contains(all, "unknown")
	ended := slices.Contains(all, "stopped") || slices.Contains(all, "cancelled") || (broken && x.plan.OnFailure != plan.Continue)
	switch p.Join {
	case plan.AllDone:
		ok = !ended
	case plan.OneSuccess:
		ok = !ended && some
	case plan.NoneFailed:
		ok = !ended && some && !broken
	default: // all_success
		ok = !slices.ContainsFunc(all, func(s string) bool { return s != "succeeded" })
	}
	if !ok {
		c.note(Inputs, r, byPlan, "ready under %s, and its inputs came to %v", p.Join, all)
	}
}
