package audit

import (
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// cycle is what is known of one running cycle.
type cycle struct {
	flow      ids.FlowID
	number    int64
	uuid      uuid.UUID
	partial   bool       // its start lies before the range
	plan      *plan.Plan // nil = not known
	nodes     map[ids.NodeID]*node
	counted   int
	by        map[string]int64 // counted, by outcome
	slot      int64            // ms; 0 = by hand
	revision  int64
	end       string         // its final status, "" = it runs
	slim      bool           // its nodes are remembered no more
	bad       bool           // a node failed or is unknown
	cancelled string         // cause of an early end
	over      map[int]string // components that take no more claims: stopped | failed
	last      ledger.Record  // the one that counted the last node
	stuck     bool           // something else came between that one and the end
	repaired  bool           // and the leader's audit put something back
}

func newCycle(r ledger.Record) *cycle {
	return &cycle{flow: r.Flow, number: r.Cycle, uuid: r.UUID, nodes: map[ids.NodeID]*node{}, over: map[int]string{}, by: map[string]int64{}}
}

// manual reports whether a cycle_start is of a trigger, not of a slot.
func manual(r ledger.Record) bool { return strings.HasPrefix(r.Detail, "manual ") }

// started reads "slot revision", or "manual revision".
func (c *checker) started(r ledger.Record) error {
	f := c.flow(r.Flow)
	c.proof.Checked[Holds]++
	if f.status == paused || f.status == deleting {
		c.breaks(Holds, r, "a cycle starts while the flow is %s", f.status)
	}
	c.proof.Checked[Ends]++
	if c.cycles[r.UUID] != nil || c.ended.has(r.UUID) {
		c.breaks(Ends, r, "the cycle is started a second time")
	}
	if f.first != 0 && r.Cycle != f.last+1 {
		c.breaks(Slots, r, "cycle %d follows cycle %d: starts are missing or out of order", r.Cycle, f.last)
	}
	if f.first == 0 {
		f.first = r.Cycle
	}
	f.last = r.Cycle
	x := newCycle(r)
	c.cycles[r.UUID] = x
	c.ended.drop(r.UUID)
	what, rev, _ := strings.Cut(r.Detail, " ")
	number, err := strconv.ParseInt(rev, 10, 64)
	slot, slotErr := strconv.ParseInt(what, 10, 64)
	if err != nil || (slotErr != nil && what != "manual") {
		c.breaks(Slots, r, "detail %q can't be read: want slot or manual, revision", r.Detail)
		c.proof.Unplanned++
		return nil
	}
	if slotErr == nil {
		c.clock.reached(c, Slots, r, slot, "slot %s starts ahead of its time", instant(slot))
		x.slot = slot
		f.started++
		c.slot(r, slot, slot, 1, "")
	}
	x.revision = number
	if f.revision != 0 && number != f.revision {
		c.breaks(Holds, r, "a cycle of revision %d starts while revision %d is active", number, f.revision)
	}
	if x.plan, err = c.plan(r.Flow, number); err != nil {
		return err
	}
	if x.plan == nil {
		c.proof.Unplanned++
	} else {
		f.planned++
	}
	return nil
}

// cycle returns what is known of a record's cycle, which may have begun before
// the range; nil when the record may not or need not be judged.
func (c *checker) cycle(r ledger.Record) *cycle {
	if x := c.cycles[r.UUID]; x != nil {
		return x
	}
	if c.ended.has(r.UUID) {
		c.breaks(Ends, r, "%s after the cycle had ended", r.Op)
		return nil
	}
	f := c.flow(r.Flow)
	if r.Cycle <= f.forgotten {
		return nil
	}
	x := newCycle(r)
	x.partial = true
	c.cycles[r.UUID] = x
	c.proof.Partial++
	if f.first != 0 && r.Cycle >= f.first {
		c.breaks(Ends, r, "%s in a cycle that never started, or was removed", r.Op)
	}
	return x
}

// cycleChanged follows the end of a cycle.
func (c *checker) cycleChanged(r ledger.Record) {
	if r.Op == "cycle_removed" {
		c.removed(r)
		return
	}
	x := c.cycle(r)
	if x == nil {
		return
	}
	c.proof.Checked[Ends]++
	if r.Op == "cycle_cancel" {
		if x.cancelled != "" {
			c.breaks(Ends, r, "the cycle is cancelled a second time")
		}
		x.cancelled = r.Detail
		return
	}
	c.end(x, r)
	x.end = r.Detail
	c.flow(r.Flow).ended[r.Detail]++
	delete(c.cycles, r.UUID)
	c.ended.add(x, c.flow)
}

func (c *checker) end(x *cycle, r ledger.Record) {
	for id, n := range x.nodes {
		if n.state != final && n.state != unseen && n.state != unknown {
			c.breaks(Ends, r, "the cycle ends while node %s is %s", id, n.state)
		}
	}
	want, d := x.cancelled, certain
	if x.plan != nil && want == "" {
		want, d = "completed", byPlan
		if x.bad && x.plan.OnFailure != plan.Continue {
			want = "failed"
		}
	}
	if want != "" && r.Detail != want && !(x.partial && d == byPlan) {
		c.note(Ends, r, d, "the cycle ends as %s; its records say %s", r.Detail, want)
	}
	if x.partial {
		return
	}
	c.proof.Cycles++
	if x.stuck && !x.repaired {
		c.unended(x)
	}
	if x.plan != nil && x.counted != len(x.plan.Nodes) {
		c.note(Ends, r, byPlan, "the cycle ends with %d outcomes for %d nodes", x.counted, len(x.plan.Nodes))
	}
}

// unended reports a cycle that went on after its last node was counted, and was
// not ended by a repair.
func (c *checker) unended(x *cycle) {
	c.note(Ends, x.last, byPlan, "the last node is counted, and the cycle does not end with it")
}

// removed follows the removal of a cycle: of an ended one, or of any in a flow
// that is being deleted.
func (c *checker) removed(r ledger.Record) {
	c.proof.Checked[Ends]++
	if x := c.cycles[r.UUID]; x != nil {
		f := c.flow(r.Flow)
		if f.status != deleting && (!x.partial || f.status != "") {
			c.breaks(Ends, r, "the cycle is removed while it runs")
		}
		delete(c.cycles, r.UUID)
	}
	if len(c.gone) >= maxEnded {
		clear(c.gone)
	}
	c.gone[r.UUID] = true
	c.ended.drop(r.UUID) // the same trigger may start it anew
}

const (
	// maxEnded is how many ended cycles are remembered, so that what comes after the
	// end is noticed.
	maxEnded = 100_000
	// maxNodes is how many of their nodes are, to be compared with the ledger's.
	maxNodes = 500_000
)

// ended remembers the last cycles that ended.
type ended struct {
	keep  int
	nodes int
	known map[uuid.UUID]*cycle // a trigger asked again has the same uuid
	flows map[ids.FlowID]map[uuid.UUID]*cycle
	queue []*cycle // oldest first
	whole []*cycle // those of the queue that are not slim
}

func newEnded() ended {
	return ended{keep: maxEnded, known: map[uuid.UUID]*cycle{}, flows: map[ids.FlowID]map[uuid.UUID]*cycle{}}
}

func (e *ended) has(id uuid.UUID) bool          { _, ok := e.known[id]; return ok }
func (e *ended) get(id uuid.UUID) *cycle        { return e.known[id] }
func (e *ended) is(id uuid.UUID, x *cycle) bool { return e.known[id] == x }

// drop forgets a cycle that was removed; its place in the queue runs out.
func (e *ended) drop(id uuid.UUID) {
	if x := e.known[id]; x != nil {
		e.thin(x)
		delete(e.known, id)
		delete(e.flows[x.flow], id)
	}
}

func (e *ended) thin(x *cycle) {
	if !x.slim {
		e.nodes -= len(x.nodes)
		x.nodes, x.plan, x.over, x.slim = nil, nil, nil, true
	}
}

// add remembers a cycle and forgets the oldest, which it tells to its flow.
func (e *ended) add(x *cycle, flow func(ids.FlowID) *flow) {
	e.known[x.uuid] = x
	if e.flows[x.flow] == nil {
		e.flows[x.flow] = map[uuid.UUID]*cycle{}
	}
	e.flows[x.flow][x.uuid] = x
	e.queue = append(e.queue, x)
	e.whole = append(e.whole, x)
	for e.nodes += len(x.nodes); e.nodes > maxNodes; e.whole = e.whole[1:] {
		e.thin(e.whole[0])
	}
	if len(e.queue) <= e.keep {
		return
	}
	old := e.queue[0]
	e.queue = e.queue[1:]
	if e.is(old.uuid, old) {
		e.drop(old.uuid)
		f := flow(old.flow)
		f.forgotten = max(f.forgotten, old.number)
	}
}
