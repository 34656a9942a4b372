package audit

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// state is where a node stands, as far as the journal tells.
type state string

const (
	unseen   state = "waiting"
	unknown  state = "unknown" // its beginning lies before the range
	ready    state = "ready"   // offered, dispatched or held
	running  state = "running"
	retrying state = "retrying"
	revoked  state = "revoked" // its claim was, and what becomes of it comes next
	final    state = "counted"
)

// node is what is known of one node of a running cycle.
type node struct {
	state   state
	attempt int
	token   string // of the live claim
	due     int64  // of the retry, ms
	outcome string
	by      string // the worker that reported the outcome
	counted int    // how many nodes of the cycle were by then
	retries int
	offers  []int // offers of each attempt that no dispatch has answered
	// An at-most-once node's claims under which it may have been started, their
	// tokens, and the first that was one too many.
	starts int
	tokens []string
	second *ledger.Record
}

func (x *cycle) node(id ids.NodeID) *node {
	n := x.nodes[id]
	if n == nil {
		n = &node{state: unseen}
		if x.partial {
			n.state = unknown
		}
		x.nodes[id] = n
	}
	return n
}

func (x *cycle) planned(id ids.NodeID) *plan.Node {
	if x.plan == nil {
		return nil
	}
	return x.plan.Node(id)
}

// offer notes that an attempt was offered.
func (n *node) offer(attempt int) {
	const sane = 100_000 // a number from elsewhere must not fill the memory
	for len(n.offers) < min(attempt, sane) {
		n.offers = append(n.offers, 0)
	}
	if attempt >= 1 && attempt <= len(n.offers) {
		n.offers[attempt-1]++
	}
}

// answer notes that an offer of an attempt was dispatched, held or dropped.
func (n *node) answer(attempt int) bool {
	if attempt < 1 || attempt > len(n.offers) || n.offers[attempt-1] == 0 {
		return false
	}
	n.offers[attempt-1]--
	return true
}

// at reports whether a record may name this attempt of a node in this state.
func (n *node) at(s state, attempt int) bool {
	return n.state == unknown || (n.state == s && n.attempt == attempt)
}

// held reports whether a record may name this claim of a node in this state.
func (n *node) held(s state, r ledger.Record) bool {
	return n.state == unknown || (n.at(s, r.N) && n.token == r.Token)
}

// node applies a record of a node of a running cycle.
func (c *checker) node(x *cycle, r ledger.Record) {
	if r.Op == "repair" {
		c.repaired(x, r)
		return
	}
	n := x.node(r.Node)
	if x.plan != nil && x.plan.Node(r.Node) == nil {
		c.note(Inputs, r, byPlan, "the plan has no such node") // and is followed all the same: the plan may be another's
	}
	if n.state == final && r.Op != "outcome" {
		c.proof.Checked[Outcomes]++
		c.breaks(Outcomes, r, "%s after the node was counted as %s", r.Op, n.outcome)
		return
	}
	switch r.Op {
	case "ready":
		c.ready(x, n, r)
	case "held", "declined":
		c.proof.Checked[Offers]++
		if !n.at(ready, r.N) {
			c.breaks(Offers, r, "attempt %d is %s, the node is %s with attempt %d", r.N, r.Op, n.state, n.attempt)
		}
		if r.Op == "held" && r.Epoch != 0 && !strings.HasSuffix(r.Detail, ", again") { // by the leader, with the entry
			n.answer(r.N)
		}
	case "claim":
		c.claimed(x, n, r)
	case "suspect":
		c.proof.Checked[Claims]++
		if !n.held(running, r) {
			c.breaks(Claims, r, "a claim of attempt %d is suspected that is not live: the node is %s with attempt %d", r.N, n.state, n.attempt)
		}
	case "retry_later", "expire":
		c.unclaimed(x, n, r)
	case "outcome":
		c.outcome(x, n, r)
	}
}

// ready follows an offer: the first, the same again, or that of a next attempt.
func (c *checker) ready(x *cycle, n *node, r ledger.Record) {
	c.proof.Checked[Attempts]++
	want := n.attempt + 1
	switch n.state {
	case unknown:
		want = r.N
	case unseen:
		c.runs(x, r)
	case ready:
		want = n.attempt
	case running: // a claim that is handed back leaves no other record
		if r.Detail != "released" {
			c.breaks(Claims, r, "attempt %d is offered (%s) while attempt %d is claimed", r.N, r.Detail, n.attempt)
		} else {
			n.unstarted()
		}
	case retrying:
		c.clock.reached(c, Attempts, r, n.due, "the retry comes before it is due at %s", instant(n.due))
	}
	if r.N != want {
		c.breaks(Attempts, r, "attempt %d is offered, attempt %d is due", r.N, want)
	}
	n.state, n.attempt, n.token = ready, r.N, ""
	n.offer(r.N)
}

// claimed follows a grant.
func (c *checker) claimed(x *cycle, n *node, r ledger.Record) {
	c.proof.Checked[Claims]++
	restored := strings.HasPrefix(r.Detail, "again") // Redis had forgotten the grant; its worker has not
	if restored {
		c.proof.Restored++
	}
	if r.Detail == direct {
		c.direct(x, n, r)
	}
	switch {
	case r.Token == "":
		c.breaks(Claims, r, "the claim has no token")
	case n.state == running:
		c.breaks(Claims, r, "claimed by %s while %s holds it", r.Token, n.token)
	case n.state != ready && n.state != unknown:
		c.breaks(Claims, r, "attempt %d is claimed while the node is %s", r.N, n.state)
	case n.state == ready && n.attempt != r.N:
		c.breaks(Attempts, r, "attempt %d is claimed, attempt %d is due", r.N, n.attempt)
	}
	c.holds(x, r, restored)
	n.state, n.attempt, n.token = running, r.N, r.Token
	c.once(x, n, r)
}

// holds checks that nothing which was stopped takes a claim. A claim that comes
// back after Redis had lost it was granted before.
func (c *checker) holds(x *cycle, r ledger.Record, restored bool) {
	c.proof.Checked[Holds]++
	if x.cancelled != "" {
		c.breaks(Holds, r, "claimed after the cycle was cancelled (%s)", x.cancelled)
		return
	}
	if restored {
		return
	}
	if s := c.flow(r.Flow).status; s == paused || s == deleting {
		c.breaks(Holds, r, "claimed while the flow is %s", s)
	}
	if p := x.planned(r.Node); p != nil && x.over[p.Component] != "" {
		c.note(Holds, r, byPlan, "claimed after its component had ended (%s)", x.over[p.Component])
	}
}

// once follows the claims of an at-most-once node. Two are no fault by
// themselves: it may be that only one of them started the node, and what tells is
// how the other ends.
func (c *checker) once(x *cycle, n *node, r ledger.Record) {
	p := x.planned(r.Node)
	if p == nil || p.Delivery != plan.AtMostOnce {
		return
	}
	c.proof.Checked[Once]++
	if slices.Contains(n.tokens, r.Token) { // it came back: no second start
		return
	}
	n.tokens = append(n.tokens, r.Token)
	if n.starts++; n.starts > 1 && n.second == nil {
		n.second = &r
	}
	if n.state == final {
		c.twice(n)
	}
}

// unstarted takes back a claim that started nothing.
func (n *node) unstarted() {
	n.starts = max(n.starts-1, 0)
	if n.starts < 2 {
		n.second = nil
	}
}

// twice judges a counted at-most-once node.
func (c *checker) twice(n *node) {
	if n.starts > 1 {
		c.note(Once, *n.second, byPlan, "the at-most-once node has %d claims under which it may have been started", n.starts)
	}
}

// unclaimed ends a claim: its attempt failed, or the leader revoked it.
func (c *checker) unclaimed(x *cycle, n *node, r ledger.Record) {
	c.proof.Checked[Claims]++
	if !n.held(running, r) {
		c.breaks(Claims, r, "%s names attempt %d under %s; the node is %s with attempt %d under %q", r.Op, r.N, r.Token, n.state, n.attempt, n.token)
	}
	n.attempt, n.token = r.N, r.Token
	if r.Op == "expire" {
		n.state = revoked
		if strings.HasSuffix(r.Detail, ", no once-key") {
			n.unstarted()
		}
		return
	}
	c.proof.Checked[Attempts]++
	due, err := strconv.ParseInt(r.Detail, 10, 64)
	if err != nil {
		c.breaks(Attempts, r, "detail %q can't be read: want the time of the retry", r.Detail)
	}
	n.state, n.token, n.due = retrying, "", due
	n.retries++
	if p := x.planned(r.Node); p != nil && n.retries > allowed(p) {
		c.note(Attempts, r, byPlan, "retry %d is granted, the plan allows %d", n.retries, allowed(p))
	}
}

func allowed(p *plan.Node) int {
	if !p.Retry.Enabled || p.Delivery == plan.AtMostOnce {
		return 0
	}
	return p.Retry.MaxRetries
}

// outcome follows the count of a node: by the worker that holds its claim, by
// the leader that revoked it, or without one.
func (c *checker) outcome(x *cycle, n *node, r ledger.Record) {
	c.proof.Checked[Outcomes]++
	status, why, _ := strings.Cut(r.Detail, ": ")
	if n.state == final {
		c.breaks(Outcomes, r, "counted a second time, as %s", status)
		return
	}
	if why == "once-key of another" { // its worker did not start it
		n.unstarted()
	}
	c.twice(n)
	if r.Token != "" {
		c.settled(n, r, status)
	} else {
		c.unrun(x, n, r, status)
	}
	n.state, n.outcome, n.attempt, n.token = final, status, r.N, ""
	x.counted++
	n.by, n.counted = string(r.Worker), x.counted
	x.by[status]++
	failed := status == "failed" || status == "unknown"
	x.bad = x.bad || failed
	if x.plan == nil {
		return
	}
	switch p := x.plan.Node(r.Node); {
	case p == nil:
	case failed && x.plan.OnFailure != plan.Continue:
		x.over[p.Component] = "failed"
	case status == "stopped" && r.Token != "" && x.over[p.Component] == "":
		x.over[p.Component] = "stopped"
	}
	if x.counted == len(x.plan.Nodes) && c.flow(r.Flow).status != deleting { // what is being removed ends by that
		x.last, c.full = r, x
	}
}

// settled checks the outcome of a claimed attempt.
func (c *checker) settled(n *node, r ledger.Record, status string) {
	c.proof.Checked[Claims]++
	if !n.held(running, r) && !n.held(revoked, r) {
		c.breaks(Claims, r, "attempt %d is counted under %s; the node is %s with attempt %d under %q", r.N, r.Token, n.state, n.attempt, n.token)
	}
	if !slices.Contains([]string{"succeeded", "stopped", "failed", "cancelled", "unknown"}, status) || (n.state == revoked && status == "succeeded") {
		c.breaks(Outcomes, r, "a %s attempt is counted as %s", n.state, status)
	}
}

// unrun checks the outcome of a node that nobody runs: skipped by a decision, or
// swept when its component or cycle ends.
func (c *checker) unrun(x *cycle, n *node, r ledger.Record, status string) {
	waits := n.state == unseen || n.state == ready || n.state == retrying
	if n.state != unknown && (!waits || n.attempt != r.N) {
		c.breaks(Outcomes, r, "counted as %s without a claim; the node is %s with attempt %d", status, n.state, n.attempt)
	}
	if !slices.Contains([]string{"skipped", "stopped", "cancelled"}, status) {
		c.breaks(Outcomes, r, "counted as %s without a claim", status)
	}
	if x.cancelled != "" || x.partial {
		return
	}
	p := x.planned(r.Node)
	switch {
	case status == "cancelled":
		c.breaks(Outcomes, r, "cancelled in a cycle that was not")
	case p == nil || x.over[p.Component] != "":
	case status == "skipped" && n.state == unseen:
		c.decided(x, r, p)
	default:
		c.note(Outcomes, r, byPlan, "counted as %s, and its component has not ended", status)
	}
}

// repaired follows what the leader's audit put back.
func (c *checker) repaired(x *cycle, r ledger.Record) {
	x.repaired = x.stuck
	if r.Node == "" {
		return
	}
	kind, _, _ := strings.Cut(r.Detail, ": ")
	switch n := x.node(r.Node); kind {
	case "offer": // an offer without a record of its own
		n.offer(r.N)
	case "timer": // fires at once
		n.due = min(n.due, r.At.UnixMilli())
	}
}
