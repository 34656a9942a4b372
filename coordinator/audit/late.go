package audit

import (
	"strconv"
	"strings"

	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// late follows records that may come when the node, or its cycle, has ended: the
// broker's confirmation of an offer, and a heartbeat's refusal.
func (c *checker) late(r ledger.Record) {
	x := c.cycles[r.UUID]
	if x == nil {
		if x = c.ended.get(r.UUID); x != nil {
			c.afterEnd(x, r)
			return
		}
		// What is refused may be of a cycle that was never here.
		if f := c.flow(r.Flow); r.Op != "refused" && f.first != 0 && r.Cycle >= f.first && r.Cycle > f.forgotten {
			c.breaks(Ends, r, "%s in a cycle that never started, or was removed", r.Op)
		}
		return
	}
	if x.partial {
		return
	}
	n := x.node(r.Node)
	switch r.Op {
	case "lost":
		c.lost(x, n, r)
	case "refused":
		c.refused(n, r)
	default:
		c.dispatched(n, r)
	}
}

func (c *checker) dispatched(n *node, r ledger.Record) {
	c.proof.Checked[Offers]++
	if !n.answer(r.N) {
		c.breaks(Offers, r, "attempt %d is %s more often than it was offered", r.N, map[bool]string{true: "dropped", false: "dispatched"}[r.Op == "dropped"])
	}
}

// afterEnd follows what may come when a cycle has ended.
func (c *checker) afterEnd(x *cycle, r ledger.Record) {
	if x.partial || x.slim {
		return
	}
	switch r.Op {
	case "dispatch", "dropped":
		c.dispatched(x.node(r.Node), r)
	case "refused":
		c.refused(x.node(r.Node), r)
	}
}

// refused checks that who was turned away had nothing to ask for: "verb: why",
// where why may be the node's status and attempt.
func (c *checker) refused(n *node, r ledger.Record) {
	c.proof.Checked[Claims]++
	if n.state == running && n.token == r.Token && n.attempt == r.N && c.flow(r.Flow).status != deleting {
		c.breaks(Claims, r, "the live claim is refused (%s)", r.Detail)
		return
	}
	_, why, _ := strings.Cut(r.Detail, ": ")
	status, text, ok := strings.Cut(why, " ")
	attempt, err := strconv.Atoi(text)
	if !ok || err != nil || status == "waiting" { // no node is meant, or its record is archived
		return
	}
	want := n.state
	switch status {
	case "ready", "dispatched":
		status = string(ready)
	case "running", "retrying":
	default:
		if want == final {
			want = state(n.outcome)
		}
	}
	if n.state != unknown && (string(want) != status || n.attempt != attempt) {
		c.breaks(Claims, r, "refused since the node is %s with attempt %d; it is %s with attempt %d", status, attempt, want, n.attempt)
	}
}

// lost follows a heartbeat that was refused: never that of the live claim. One of
// a claim that the journal has not was granted before Redis lost the grant.
func (c *checker) lost(x *cycle, n *node, r ledger.Record) {
	c.proof.Checked[Claims]++
	if n.state == running && n.token == r.Token && n.attempt == r.N && c.flow(r.Flow).status != deleting {
		c.breaks(Claims, r, "the live claim is refused")
	}
	if p := x.planned(r.Node); p != nil && p.Delivery == plan.AtMostOnce {
		c.once(x, n, r)
	}
}
