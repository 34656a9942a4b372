package audit

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// checker follows the journal record by record.
type checker struct {
	ctx    context.Context //nolint:containedctx // lives for one Run
	src    Source
	proof  Proof
	epoch  ids.Epoch
	slots  map[ids.FlowID]int64 // last slot accounted, ms
	cycles map[uuid.UUID]*cycle
	ended  map[uuid.UUID]bool
}

// cycle is what is known of one running cycle.
type cycle struct {
	flow    ids.FlowID
	number  int64
	partial bool // its start lies before the range
	plan    *plan.Plan
	nodes   map[ids.NodeID]*node
	counted int
}

type node struct {
	attempt int
	claim   string // token of the live claim, "" = none
	tokens  int    // claims granted to different tokens
	final   bool
}

func newChecker(ctx context.Context, src Source) *checker {
	return &checker{ctx: ctx, src: src, slots: map[ids.FlowID]int64{}, cycles: map[uuid.UUID]*cycle{}, ended: map[uuid.UUID]bool{},
		proof: Proof{Checked: map[string]int64{}, Violations: []Violation{}}}
}

func (c *checker) finish() Proof {
	c.proof.Open = int64(len(c.cycles))
	for _, x := range c.cycles {
		if x.partial {
			c.proof.Open--
		}
	}
	c.proof.Clean = c.proof.Broken == 0
	return c.proof
}

func (c *checker) breaks(rule string, r ledger.Record, format string, args ...any) {
	c.proof.Broken++
	if len(c.proof.Violations) < MaxViolations {
		c.proof.Violations = append(c.proof.Violations, Violation{Rule: rule, Record: r.ID, At: r.At, Flow: r.Flow, Cycle: r.Cycle, Node: r.Node,
			Message: fmt.Sprintf(format, args...)})
	}
}

func (c *checker) record(r ledger.Record) error {
	if c.proof.Records == 0 {
		c.proof.First = r.ID
	}
	c.proof.Records++
	c.proof.Last = r.ID
	if r.Epoch > 0 {
		c.proof.Checked[Epochs]++
		if r.Epoch < c.epoch {
			c.breaks(Epochs, r, "%s carries epoch %d after %d was seen", r.Op, r.Epoch, c.epoch)
		}
		c.epoch = max(c.epoch, r.Epoch)
	}
	switch r.Op {
	case "flow_purged":
		delete(c.slots, r.Flow)
		return nil
	case "slot_skipped":
		c.skipped(r)
		return nil
	case "cycle_start":
		return c.started(r)
	case "cycle_removed":
		delete(c.cycles, r.UUID)
		return nil
	case "takeover", "flow_activated", "flow_paused", "flow_resumed", "flow_deleted":
		return nil
	}
	if c.ended[r.UUID] && r.Op != "dispatch" && r.Op != "lost" {
		c.breaks(Ends, r, "%s after the cycle had ended", r.Op)
		return nil
	}
	x := c.cycle(r)
	switch r.Op {
	case "ready":
		c.ready(x, r)
	case "claim":
		c.claimed(x, r)
	case "retry_later", "expire":
		c.unclaimed(x, r)
	case "outcome":
		c.outcome(x, r)
	case "cycle_end":
		c.end(x, r)
	}
	return nil
}

// cycle returns what is known of a record's cycle, which may have begun before
// the range.
func (c *checker) cycle(r ledger.Record) *cycle {
	x := c.cycles[r.UUID]
	if x == nil {
		x = &cycle{flow: r.Flow, number: r.Cycle, partial: true, nodes: map[ids.NodeID]*node{}}
		c.cycles[r.UUID] = x
		if !c.ended[r.UUID] {
			c.proof.Partial++
		}
	}
	return x
}

func (x *cycle) node(id ids.NodeID) *node {
	n := x.nodes[id]
	if n == nil {
		n = &node{}
		x.nodes[id] = n
	}
	return n
}

// skipped reads "first last count reason".
func (c *checker) skipped(r ledger.Record) {
	parts := strings.Fields(r.Detail)
	if len(parts) != 4 {
		c.breaks(Slots, r, "detail %q can't be read", r.Detail)
		return
	}
	first, err1 := strconv.ParseInt(parts[0], 10, 64)
	last, err2 := strconv.ParseInt(parts[1], 10, 64)
	count, err3 := strconv.ParseInt(parts[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || last < first || count < 1 {
		c.breaks(Slots, r, "detail %q makes no sense", r.Detail)
		return
	}
	c.slot(r, first, last, count)
}

func (c *checker) slot(r ledger.Record, first, last, count int64) {
	c.proof.Checked[Slots] += count
	before, known := c.slots[r.Flow]
	if known && first <= before {
		c.breaks(Slots, r, "slot %d is accounted after slot %d was", first, before)
	}
	c.onGrid(r, before, known, first, last, count)
	c.slots[r.Flow] = max(before, last)
}

// onGrid checks that a run of slots lies on the flow's present grid and leaves
// no gap to the slot before it. Slots from before the grid began are of another
// schedule.
func (c *checker) onGrid(r ledger.Record, before int64, known bool, first, last, count int64) {
	anchor, interval, ok := c.src.Grid(r.Flow)
	begin, step := anchor.UnixMilli(), interval.Milliseconds()
	if !ok || step <= 0 || first < begin {
		return
	}
	if (first-begin)%step != 0 || (last-begin)%step != 0 || (last-first)/step+1 != count {
		c.breaks(Slots, r, "slots %d to %d (%d) do not lie on the grid of %s from %s", first, last, count, interval, anchor.UTC())
		return
	}
	switch {
	case known && before >= begin && first != before+step:
		c.breaks(Slots, r, "slot %d follows slot %d: %d slots are not accounted", first, before, (first-before)/step-1)
	case known && before < begin && first != begin:
		c.breaks(Slots, r, "the grid begins at slot %d, the first accounted is %d", begin, first)
	}
}

// started reads "slot revision", or "manual revision".
func (c *checker) started(r ledger.Record) error {
	what, rev, ok := strings.Cut(r.Detail, " ")
	revision, err := strconv.ParseInt(rev, 10, 64)
	if !ok || err != nil {
		c.breaks(Slots, r, "detail %q can't be read", r.Detail)
		return nil
	}
	if what != "manual" {
		slot, err := strconv.ParseInt(what, 10, 64)
		if err != nil {
			c.breaks(Slots, r, "detail %q can't be read", r.Detail)
			return nil
		}
		c.slot(r, slot, slot, 1)
	}
	if c.cycles[r.UUID] != nil || c.ended[r.UUID] {
		c.breaks(Ends, r, "cycle started a second time")
	}
	p, err := c.src.Plan(c.ctx, r.Flow, revision)
	if err != nil {
		return fmt.Errorf("audit: plan of %s revision %d: %w", r.Flow, revision, err)
	}
	if p == nil {
		c.proof.Unplanned++
	}
	c.cycles[r.UUID] = &cycle{flow: r.Flow, number: r.Cycle, plan: p, nodes: map[ids.NodeID]*node{}}
	return nil
}

func (c *checker) ready(x *cycle, r ledger.Record) {
	n := x.node(r.Node)
	if n.final {
		c.breaks(Outcomes, r, "ready again after it was counted")
	}
	if r.N > n.attempt { // handed back, lost, or a retry: the claim before it is over
		n.claim = ""
	}
	n.attempt = max(n.attempt, r.N)
	if x.plan == nil || x.partial || r.N != 1 {
		return
	}
	p := x.plan.Node(r.Node)
	if p == nil {
		c.breaks(Inputs, r, "the plan has no such node")
		return
	}
	c.proof.Checked[Inputs]++
	for _, in := range p.Inputs {
		if !x.node(in.Source).final {
			c.breaks(Inputs, r, "ready before its input %s was counted", in.Source)
			return
		}
	}
}

func (c *checker) claimed(x *cycle, r ledger.Record) {
	n := x.node(r.Node)
	c.proof.Checked[Claims]++
	again := strings.HasPrefix(r.Detail, "again") // by the same token, after Redis had forgotten it
	switch {
	case n.final:
		c.breaks(Outcomes, r, "claimed after it was counted")
	case n.claim != "" && n.claim != r.Token:
		c.breaks(Claims, r, "claimed by %s while %s held it", r.Token, n.claim)
	case !x.partial && n.attempt != r.N:
		c.breaks(Claims, r, "attempt %d is claimed, attempt %d is due", r.N, n.attempt)
	}
	if n.claim != r.Token && !again {
		n.tokens++
	}
	n.claim = r.Token
	if x.plan == nil {
		return
	}
	if p := x.plan.Node(r.Node); p != nil && p.Delivery == plan.AtMostOnce {
		c.proof.Checked[Once]++
		if n.tokens > 1 {
			c.breaks(Once, r, "an at-most-once node is claimed %d times", n.tokens)
		}
	}
}

// unclaimed ends a claim: its attempt failed, or the leader revoked it.
func (c *checker) unclaimed(x *cycle, r ledger.Record) {
	n := x.node(r.Node)
	c.proof.Checked[Claims]++
	if n.claim != "" && n.claim != r.Token {
		c.breaks(Claims, r, "%s names %s, the claim is held by %s", r.Op, r.Token, n.claim)
	}
	n.claim = ""
}

func (c *checker) outcome(x *cycle, r ledger.Record) {
	n := x.node(r.Node)
	c.proof.Checked[Outcomes]++
	if n.final {
		c.breaks(Outcomes, r, "counted a second time: %s", r.Detail)
		return
	}
	if n.claim != "" && r.Token != "" && n.claim != r.Token {
		c.breaks(Claims, r, "counted under %s, the claim is held by %s", r.Token, n.claim)
	}
	n.final, n.claim = true, ""
	x.counted++
}

func (c *checker) end(x *cycle, r ledger.Record) {
	delete(c.cycles, r.UUID)
	c.ended[r.UUID] = true
	c.proof.Checked[Ends]++
	if x.partial {
		return
	}
	c.proof.Cycles++
	for id, n := range x.nodes {
		if n.claim != "" {
			c.breaks(Ends, r, "ended while %s was running", id)
		}
	}
	if x.plan != nil && x.counted != len(x.plan.Nodes) {
		c.breaks(Ends, r, "ended with %d outcomes for %d nodes", x.counted, len(x.plan.Nodes))
	}
}
