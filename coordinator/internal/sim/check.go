package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/audit"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// Rules that a schedule is held against while it runs; those of package audit
// are added at its end.
const (
	Counted  = "counted once"      // S1: what was counted stays what it is
	Inputs   = "inputs first"      // S2, S3: no node is offered or claimed before its inputs are decided
	Counters = "counters"          // S4: counters are those of the node states
	Fences   = "fences"            // S5: no write of a deposed leader after one of its successor
	Starts   = "one start"         // S6: one cycle per slot or trigger
	Once     = "at most once"      // S7: such a node's handler is called once, whatever is lost
	Ends     = "ended once"        // S8, S9: a cycle ends once, when nothing runs in it any more
	Claims   = "own claim"         // nobody is refused the claim that is his
	Repairs  = "no repair"         // nothing has to be repaired while the ledger loses nothing
	Progress = "everything ends"   // P: a healed cluster ends every cycle and leaves nothing behind
	Slots    = "slots accounted"   // each slot became a cycle or was skipped
	Journal  = "journal is sound " // what package audit finds; its rule follows
)

// Violation is a rule that a schedule broke.
type Violation struct {
	Rule, Text string
}

type checker struct {
	w      *world
	cycles map[int64]*seenCycle
	epoch  ids.Epoch
	starts map[string]int // calls of at-most-once handlers by intent, of all times
	found  []Violation
}

// seenCycle is a cycle as the last look saw it.
type seenCycle struct {
	id, status string
	occasion   uuid.UUID
	nodes      []seenNode
}

type seenNode struct {
	status  task.Status
	attempt int
}

func newChecker(w *world) checker {
	return checker{w: w, cycles: map[int64]*seenCycle{}, starts: map[string]int{}}
}

func (c *checker) breaks(rule, format string, args ...any) {
	v := Violation{rule, fmt.Sprintf(format, args...)}
	c.w.trace(nil, "VIOLATION %s: %s", v.Rule, v.Text)
	c.found = append(c.found, v)
}

// wrote looks at what a call may have changed.
func (w *world) wrote(a *actor, verb string, cycle int64, err error) {
	c := &w.check
	if a.epoch > 0 && err == nil && verb != "pause_flow" && verb != "resume_flow" { // those carry no epoch
		if a.epoch < c.epoch {
			c.breaks(Fences, "%s of epoch %d after one of epoch %d", verb, a.epoch, c.epoch)
		}
		c.epoch = max(c.epoch, a.epoch)
	}
	if cycle != 0 {
		c.look(cycle, false)
		return
	}
	for n := int64(1); c.look(n, false) || n <= int64(len(c.cycles)); n++ {
	}
}

// rebase forgets what was seen: the ledger went back.
func (w *world) rebase() {
	c := &w.check
	c.epoch = 0
	c.cycles = map[int64]*seenCycle{}
	for n := int64(1); c.look(n, true); n++ {
	}
}

// look compares a cycle with what was seen of it. It reports whether there is one.
func (c *checker) look(n int64, fresh bool) bool {
	id, status, counted := c.w.ledger.PeekCycle(flow, n)
	if id == "" {
		return false
	}
	s := c.cycles[n]
	if s == nil {
		s = c.first(n, id)
		fresh = fresh || s.status != "" // a torn start
	}
	ended := status != "running" && status != "cancelling"
	final, running := int64(0), false
	for i := range c.w.plan.Nodes {
		node := &c.w.plan.Nodes[i]
		var now seenNode
		now.status, now.attempt, _ = c.w.ledger.Peek(flow, n, node.ID)
		if !fresh && now != s.nodes[i] {
			c.moved(n, node, s, s.nodes[i], now, status)
		}
		s.nodes[i] = now
		running = running || now.status == task.Running
		if now.status.Final() {
			final++
		}
	}
	if !c.w.lossy && counted != final {
		c.breaks(Counters, "cycle %d counts %d nodes, %d are final", n, counted, final)
	}
	if status != s.status && !fresh {
		if s.status != "" && s.status != "running" && s.status != "cancelling" {
			c.breaks(Ends, "cycle %d was %s and is %s", n, s.status, status)
		}
		if ended && (running || final != int64(len(s.nodes))) {
			c.breaks(Ends, "cycle %d is %s with %d of %d nodes final, one running: %t", n, status, final, len(s.nodes), running)
		}
	}
	s.status = status
	return true
}

// first notes a new cycle.
func (c *checker) first(n int64, id string) *seenCycle {
	s := &seenCycle{id: id, nodes: make([]seenNode, len(c.w.plan.Nodes))}
	if state, err := c.w.ledger.Cycle(bg, flow, n); err == nil {
		s.occasion = state.Occasion
	}
	for m, o := range c.cycles {
		if o.occasion == s.occasion {
			c.breaks(Starts, "cycles %d and %d are of one occasion", m, n)
		}
	}
	c.cycles[n] = s
	return s
}

// moved checks one node's step from one state to the next.
func (c *checker) moved(n int64, node *plan.Node, s *seenCycle, was, now seenNode, status string) {
	switch {
	case was.status.Final():
		c.breaks(Counted, "cycle %d %s was counted as %s and is %s", n, node.ID, was.status, now.status)
	case now.attempt < was.attempt:
		c.breaks(Counted, "cycle %d %s was attempt %d and is %d", n, node.ID, was.attempt, now.attempt)
	}
	if now.status == task.Ready || now.status == task.Dispatched || now.status == task.Running {
		for _, in := range node.Inputs {
			if from, _, _ := c.w.ledger.Peek(flow, n, in.Source); !from.Final() {
				c.breaks(Inputs, "cycle %d %s is %s and its input %s is %q", n, node.ID, now.status, in.Source, from)
			}
		}
	}
	if now.status == task.Running && was.status != task.Running && status != "running" {
		c.breaks(Ends, "cycle %d %s is claimed while the cycle is %s", n, node.ID, status)
	}
}

// started counts the call of a handler.
func (c *checker) started(a *actor, claim ledger.Claim) {
	c.w.trace(a, "runs %s", claim.Attempt)
	if claim.Node.Delivery != plan.AtMostOnce {
		return
	}
	intent := ids.IntentID(claim.Occasion, claim.Node.ID).String()
	if c.starts[intent]++; c.starts[intent] > 1 {
		c.breaks(Once, "%s is started for the %d. time", claim.Attempt, c.starts[intent])
	}
}

// refused checks that a claim which was refused is not the asker's own.
func (c *checker) refused(a *actor, q ledger.ClaimRequest, why ledger.Refusal) {
	status, attempt, token := c.w.ledger.Peek(flow, q.Cycle, q.Node)
	id, _, _ := c.w.ledger.PeekCycle(flow, q.Cycle)
	if id == q.UUID.String() && status == task.Running && attempt == q.N && token == q.Token.String() {
		c.breaks(Claims, "%s is refused (%s) to %s, who holds it", q.Attempt, why, a.proc.name)
	}
}

// unanswered checks that no successor is claimed for a worker that was not told of it.
func (c *checker) unanswered(a *actor, of ids.Attempt, q ledger.Next, told []ledger.Claim) {
	id, _, _ := c.w.ledger.PeekCycle(flow, of.Cycle)
	for _, n := range q.Nodes {
		if slices.ContainsFunc(told, func(x ledger.Claim) bool { return x.Node.ID == n }) {
			continue
		}
		if status, _, token := c.w.ledger.Peek(flow, of.Cycle, n); id == of.UUID.String() && status == task.Running && token == q.Token.String() {
			c.breaks(Claims, "%s is claimed for %s, whose report of %s was answered without it", n, a.proc.name, of)
		}
	}
}

// repaired hears of what the leader's audit put back. A lost message is the
// broker's doing.
func (c *checker) repaired(a *actor, kind string) {
	c.w.trace(a, "repaired: %s", kind)
	if kind != "message" && !c.w.lossy {
		c.breaks(Repairs, "%s was repaired, and the ledger lost nothing", kind)
	}
}

// rest says what is still under way, or "".
func (w *world) rest() string {
	active, _ := w.ledger.Active(bg)
	leases, _ := w.ledger.Leases(bg)
	timers, _ := w.ledger.Timers(bg, 10)
	entries, _ := w.ledger.Outbox(bg, "", 10)
	s, err := w.ledger.Flow(bg, flow)
	skipped := int64(0)
	for _, n := range s.SlotsSkipped {
		skipped += n
	}
	due := int64(w.slots)
	for n := range int64(10) {
		if _, status, _ := w.ledger.PeekCycle(flow, n); status == "running" || status == "cancelling" {
			return fmt.Sprintf("cycle %d is %s", n, status)
		}
	}
	switch {
	case err != nil:
		return err.Error()
	case len(active)+len(leases)+len(timers)+len(entries) > 0 || s.Active != 0:
		return fmt.Sprintf("active %v, leases %v, timers %v, outbox %v, %d counted as active", active, leases, timers, entries, s.Active)
	case s.SlotsStarted+skipped < due:
		return fmt.Sprintf("%d slots started and %d skipped of %d", s.SlotsStarted, skipped, due)
	}
	return ""
}

// finish checks the end of a schedule and its journal.
func (w *world) finish() {
	c := &w.check
	for n := int64(1); c.look(n, false); n++ {
		_, status, counted := w.ledger.PeekCycle(flow, n)
		final := int64(0)
		for _, s := range c.cycles[n].nodes {
			if s.status.Final() {
				final++
			}
		}
		if counted != final {
			c.breaks(Counters, "cycle %d is %s and counts %d nodes, %d are final", n, status, counted, final)
		}
	}
	if w.torn { // a state can stand there without its record
		return
	}
	p, err := audit.Run(bg, source{w}, w.ledger, audit.Range{})
	if err != nil {
		c.breaks(Journal, "%v", err)
		return
	}
	for _, v := range p.Violations {
		if w.lossy && v.Rule == audit.Epochs && strings.Contains(v.Message, "never took over") {
			continue // the record of it is lost
		}
		c.breaks(Journal+v.Rule, "record %s, cycle %d node %s: %s", v.Record, v.Cycle, v.Node, v.Message)
	}
	if p.Open > 0 && len(c.found) == 0 {
		c.breaks(Journal+"open", "%d cycles are open in the journal and none in the ledger", p.Open)
	}
}

// source is what the audit of the journal reads.
type source struct{ w *world }

func (s source) Journal(ctx context.Context, after string, count int64) ([]ledger.Record, error) {
	return s.w.ledger.Journal(ctx, after, count)
}

func (s source) Plan(_ context.Context, f ids.FlowID, n int64) (*plan.Plan, error) {
	p, err := s.w.ledger.ReadPlan(bg, f, n)
	if errors.Is(err, ledger.ErrGone) {
		return nil, nil
	}
	return p, err
}

func (s source) Grid(ids.FlowID) (audit.Grid, bool) {
	return audit.Grid{Anchor: s.w.anchor.Add(interval), Interval: interval}, true
}
