package audit

import (
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// direct is the detail of a claim that came with the report of a predecessor: the node was
// not offered before.
const direct = "direct"

// direct follows the grant of such a claim: what an offer would have said comes with it.
func (c *checker) direct(x *cycle, n *node, r ledger.Record) {
	c.proof.Checked[Attempts]++
	switch p := x.planned(r.Node); {
	case p == nil:
	case p.Delivery == plan.AtMostOnce:
		c.note(Claims, r, byPlan, "an at-most-once node is claimed without an offer")
	case p.Join != plan.AllSuccess || len(p.Inputs) == 0:
		c.note(Claims, r, byPlan, "a node is claimed without an offer whose start the leader decides")
	}
	switch {
	case r.N != 1:
		c.breaks(Attempts, r, "attempt %d is claimed without an offer, which is for the first alone", r.N)
	case n.state == unseen:
		c.runs(x, r)
		if last := x.lastInput(r.Node); last != nil && last.by != r.Worker {
			c.note(Claims, r, byPlan, "claimed without an offer by %s; its last input was reported by %q", r.Worker, last.by)
		}
		n.state, n.attempt = ready, 1
	case n.state == ready:
		c.breaks(Claims, r, "claimed without an offer, and was offered")
	}
}

// lastInput is the input of a node that was counted last; nil when that is not known.
func (x *cycle) lastInput(id ids.NodeID) (last *node) {
	p := x.planned(id)
	if p == nil {
		return nil
	}
	for _, in := range p.Inputs {
		n := x.nodes[in.Source]
		if n == nil || n.state != final || n.counted == 0 {
			return nil
		}
		if last == nil || n.counted > last.counted {
			last = n
		}
	}
	return last
}
