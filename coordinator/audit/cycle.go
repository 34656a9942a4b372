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
	bad       bool           // a node failed or is unknown
	cancelled string         // cause of an early end
	over      map[int]string // components that take no more claims: stopped | failed
	last      ledger.Record  // the one that counted the last node
	stuck     bool           // something else came between that one and the end
	repaired  bool           // and the leader's audit put something back
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
	x := &cycle{flow: r.Flow, number: r.Cycle, uuid: r.UUID, nodes: map[ids.NodeID]*node{}, over: map[int]string{}}
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
		if slot > r.At.UnixMilli() {
			c.breaks(Slots, r, "slot %s starts ahead of its time", instant(slot))
		}
		c.slot(r, slot, slot, 1)
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
	x := &cycle{flow: r.Flow, number: r.Cycle, uuid: r.UUID, partial: true, nodes: map[ids.NodeID]*node{}, over: map[int]string{}}
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
	delete(c.cycles, r.UUID)
	c.ended.add(r, c.flow)
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
	c.ended.drop(r.UUID) // the same trigger may start it anew
}

// maxEnded is how many ended cycles are remembered, so that what comes after the
// end is noticed.
const maxEnded = 100_000

// ended remembers the last cycles that ended.
type ended struct {
	keep  int
	known map[uuid.UUID]int64 // the cycle's number: a trigger asked again has the same uuid
	queue []past              // oldest first
}

type past struct {
	uuid   uuid.UUID
	flow   ids.FlowID
	number int64
}

func newEnded() ended { return ended{keep: maxEnded, known: map[uuid.UUID]int64{}} }

func (e *ended) has(id uuid.UUID) bool { _, ok := e.known[id]; return ok }

// drop forgets a cycle that was removed; its place in the queue runs out.
func (e *ended) drop(id uuid.UUID) { delete(e.known, id) }

// add remembers a cycle and forgets the oldest, which it tells to its flow.
func (e *ended) add(r ledger.Record, flow func(ids.FlowID) *flow) {
	e.known[r.UUID] = r.Cycle
	e.queue = append(e.queue, past{r.UUID, r.Flow, r.Cycle})
	if len(e.queue) <= e.keep {
		return
	}
	old := e.queue[0]
	e.queue = e.queue[1:]
	if n, ok := e.known[old.uuid]; ok && n == old.number {
		delete(e.known, old.uuid)
		f := flow(old.flow)
		f.forgotten = max(f.forgotten, old.number)
	}
}
