package histcheck

import (
	"strings"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// inCycle judges an entry that belongs to a cycle.
func (c *checker) inCycle(k *cycleHistory, r ledger.Record) {
	switch r.Op {
	case "cycle_cancel":
		k.cancelled = true
		return
	case "cycle_end":
		c.cycleEnd(k, r)
		return
	case "dispatch":
	default:
		if k.ended != "" {
			c.fault("cycle", "%s of %s after the cycle ended", r.Op, r.Attempt)
		}
	}
	if k.flow.known {
		if _, there := k.flow.Flow.Inputs[r.Node]; !there {
			c.fault("cycle", "%s of %s, which is no node of the flow", r.Op, r.Attempt)
		}
	}
	n := k.node(r.Node)
	switch r.Op {
	case "ready":
		if n.outcome != "" {
			c.fault("outcome", "%s is offered again after its outcome", r.Attempt)
		}
		c.inputs(k, r)
		if n.live != 0 && n.live != r.N && r.Detail != "released" {
			c.fault("claim", "%s is offered while attempt %d is claimed and not revoked", r.Attempt, n.live)
		}
		if r.Detail == "released" && n.live != 0 {
			n.causes[n.live] = "released"
			delete(n.claims, n.tokens[n.live])
		}
		n.live = 0
		n.offers[r.N]++
	case "retry_later":
		n.live = 0
		n.causes[r.N] = "failed"
	case "dispatch":
		n.marks[r.N]++
		if n.marks[r.N] > n.offers[r.N] && !c.evidence.RedisLost { // the mark of half a step
			c.lacks(k, "dispatch", "%s is dispatched %d times and was offered %d times", r.Attempt, n.marks[r.N], n.offers[r.N])
		}
	case "claim":
		c.claim(k, n, r)
	case "expire":
		if n.tokens[r.N] == "" || n.tokens[r.N] != r.Token {
			c.fault("claim", "%s: a claim is revoked that nobody holds", r.Attempt)
		}
		if n.revoked[r.N] {
			c.fault("claim", "%s: a claim is revoked twice", r.Attempt)
		}
		n.live = 0
		n.revoked[r.N] = true
		n.causes[r.N] = "revoked"
		if strings.HasSuffix(r.Detail, ", no once-key") { // it was never started
			delete(n.claims, r.Token)
		}
	case "outcome":
		c.outcome(k, n, r)
	}
}

// inputs demands that every input of the node is decided.
func (c *checker) inputs(k *cycleHistory, r ledger.Record) {
	for _, from := range k.flow.Flow.Inputs[r.Node] {
		if src := k.nodes[from]; src == nil || src.outcome == "" {
			c.lacks(k, "inputs", "%s of %s before the outcome of its input %s", r.Op, r.Attempt, from)
		}
	}
}

func (c *checker) claim(k *cycleHistory, n *nodeHistory, r ledger.Record) {
	c.inputs(k, r)
	switch {
	case k.cancelled:
		c.fault("hold", "%s is claimed though its cycle is cancelled", r.Attempt)
	case k.flow.paused:
		c.fault("hold", "%s is claimed though its flow is paused", r.Attempt)
	case k.flow.deleted:
		c.fault("hold", "%s is claimed though its flow is deleted", r.Attempt)
	}
	if n.outcome != "" {
		c.fault("claim", "%s is claimed after its outcome", r.Attempt)
	}
	switch {
	case r.Detail == "direct": // with the report of a predecessor: the claim is the offer
		if r.N != 1 || len(k.flow.Flow.Inputs[r.Node]) == 0 && k.flow.known || k.flow.Flow.AtMostOnce[r.Node] {
			c.fault("claim", "%s is claimed directly, which is for the first attempt of nodes with inputs that may run twice", r.Attempt)
		}
		if n.offers[r.N] > 0 {
			c.fault("claim", "%s is claimed directly, and was offered", r.Attempt)
		}
	case n.offers[r.N] == 0:
		c.lacks(k, "claim", "%s is claimed and was never offered", r.Attempt)
	}
	if r.Token == "" {
		c.fault("claim", "%s is claimed without a token", r.Attempt)
	}
	if before := n.tokens[r.N]; before != "" && !n.revoked[r.N] && (before != r.Token || !c.evidence.RedisLost) {
		c.fault("claim", "%s is claimed twice, by tokens %s and %s", r.Attempt, before, r.Token)
	}
	n.tokens[r.N], n.workers[r.N], n.revoked[r.N], n.live = r.Token, r.Worker, false, r.N
	n.claims[r.Token] = struct{}{}
}

func (c *checker) outcome(k *cycleHistory, n *nodeHistory, r ledger.Record) {
	if n.outcome != "" {
		c.fault("outcome", "%s has a second outcome %q after %q", r.Attempt, r.Detail, n.outcome)
	} else {
		k.outcomes++
	}
	n.outcome, n.counted = Status(r.Detail), r.N
	if strings.HasSuffix(r.Detail, ": once-key of another") { // its worker did not start it
		delete(n.claims, r.Token)
	}
	if k.flow.Flow.AtMostOnce[r.Node] && len(n.claims) > 1 {
		c.fault("at_most_once", "%s may have been started under %d claims", r.Attempt, len(n.claims))
	}
	switch n.outcome {
	case "succeeded", "failed", "unknown":
		if n.tokens[r.N] == "" || n.tokens[r.N] != r.Token {
			c.lacks(k, "outcome", "%s %s by a token that holds no claim", r.Attempt, n.outcome)
		}
		if n.revoked[r.N] && n.outcome == "succeeded" {
			c.fault("outcome", "%s succeeds under a claim that was revoked", r.Attempt)
		}
	case "skipped", "stopped", "cancelled":
	default:
		c.fault("outcome", "%s ends as %q", r.Attempt, r.Detail)
	}
}

// Status is the first word of an outcome's detail, "status: more".
func Status(detail string) string {
	for i, r := range detail {
		if r == ':' {
			return detail[:i]
		}
	}
	return detail
}

func (c *checker) cycleEnd(k *cycleHistory, r ledger.Record) {
	if k.ended != "" {
		c.fault("cycle", "cycle %s/%d ends a second time", r.Flow, r.Cycle)
		return
	}
	k.ended, k.endedAt = r.Detail, r.At
	if k.flow.known && k.outcomes != len(k.flow.Flow.Inputs) {
		c.lacks(k, "outcome", "cycle %s/%d ends with %d outcomes for %d nodes", r.Flow, r.Cycle, k.outcomes, len(k.flow.Flow.Inputs))
	}
	for id, n := range k.nodes {
		if n.outcome == "" {
			c.lacks(k, "outcome", "cycle %s/%d ends without an outcome of %s", r.Flow, r.Cycle, id)
		}
	}
	bad := false
	for _, n := range k.nodes {
		bad = bad || n.outcome == "failed" || n.outcome == "unknown"
	}
	switch {
	case k.ended == "completed" && k.cancelled:
		c.fault("cycle", "cycle %s/%d was cancelled and ends completed", r.Flow, r.Cycle)
	case k.ended == "failed" && !bad:
		c.fault("cycle", "cycle %s/%d ends failed and no node failed", r.Flow, r.Cycle)
	}
}

// end judges what has to be over.
func (c *checker) end() {
	c.now = ledger.Record{}
	for id, f := range c.flows {
		until := c.evidence.Until
		if !f.Flow.Until.IsZero() {
			until = f.Flow.Until
		}
		if f.known && f.Flow.Interval > 0 && !f.deleted && !until.IsZero() && !f.next.IsZero() && !f.next.After(until) {
			c.fault("slots", "%s: slots from %d on are not accounted for by %d", id, f.next.UnixMilli(), until.UnixMilli())
		}
	}
	if !c.evidence.Ended {
		return
	}
	for _, k := range c.order {
		if k.ended == "" && !k.flow.deleted {
			c.fault("cycle", "cycle %s/%d never ends: %d of %d nodes have an outcome", k.id.Flow, k.id.Cycle, k.outcomes, len(k.flow.Flow.Inputs))
		}
	}
}

// Open lists the cycles that have not ended.
func Open(journal []ledger.Record) map[ids.FlowID]map[int64]bool {
	out := map[ids.FlowID]map[int64]bool{}
	for _, r := range journal {
		switch r.Op {
		case "cycle_start":
			if out[r.Flow] == nil {
				out[r.Flow] = map[int64]bool{}
			}
			out[r.Flow][r.Cycle] = true
		case "cycle_end":
			delete(out[r.Flow], r.Cycle)
		case "flow_deleted":
			delete(out, r.Flow)
		}
	}
	return out
}
