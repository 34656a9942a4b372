package histcheck

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/deploy/dev/recorder"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Flow is what the checker knows of a flow from its definition.
type Flow struct {
	Anchor     time.Time     // the first slot; zero when unknown
	Interval   time.Duration // between slots; 0 = none are due
	Inputs     map[ids.NodeID][]ids.NodeID
	AtMostOnce map[ids.NodeID]bool
	Writes     map[ids.NodeID]bool // nodes whose success leaves exactly one Effect
	Recorded   map[ids.NodeID]bool // nodes whose executions the recorder writes down
	Until      time.Time           // instead of Evidence.Until, for this flow
}

// Evidence is a run to judge.
type Evidence struct {
	Journal []ledger.Record // whole, in its order
	Flows   map[ids.FlowID]Flow
	Effects []Effect
	Runs    []Run
	Lines   []recorder.Line // whole, in its order
	Answers []Answer
	// Until is an instant by which every slot due has to be accounted for; zero
	// asks for nothing.
	Until time.Time
	// Ended says that no cycle may be open at the end.
	Ended bool
	// RedisLost says that Redis may have forgotten its last writes: what was
	// acknowledged in them may have been done again, and repairs are right.
	RedisLost bool
	// ClockSet says that Redis's clock was set: the times of entries mean nothing.
	ClockSet bool
}

// Violation is a guarantee that was not kept.
type Violation struct {
	Rule  string // short name of the guarantee
	Entry string // id of the journal entry that shows it, or ""
	Text  string
}

func (v Violation) String() string { return strings.TrimSpace(v.Rule + " " + v.Entry + ": " + v.Text) }

// Check returns every violation found.
func Check(e Evidence) []Violation {
	c := &checker{evidence: e, flows: map[ids.FlowID]*flowHistory{}, cycles: map[uuid.UUID]*cycleHistory{}, numbered: map[place]*cycleHistory{}}
	c.add = firstCorrection(e.Journal)
	for _, r := range e.Journal {
		if _, now, ok := correction(r); ok {
			c.add = now
		}
		c.record(r)
	}
	c.end()
	c.effects()
	c.runs()
	c.witness()
	c.answers()
	for _, l := range c.lacking {
		if !e.RedisLost || !l.in.mended {
			c.found = append(c.found, l.Violation)
		}
	}
	return c.found
}

// correction reads a record of the correction of the ledger's clock: a record's time
// is Redis's, and with the correction it is never earlier than the ledger's.
func correction(r ledger.Record) (before, now time.Duration, ok bool) {
	if r.Op != "clock_set" {
		return 0, 0, false
	}
	var a, b int64
	if _, err := fmt.Sscan(r.Detail, &a, &b); err != nil {
		return 0, 0, false
	}
	return time.Duration(a) * time.Millisecond, time.Duration(b) * time.Millisecond, true
}

// firstCorrection is the one that stood when the journal began.
func firstCorrection(journal []ledger.Record) time.Duration {
	for _, r := range journal {
		if before, _, ok := correction(r); ok {
			return before
		}
	}
	return 0
}

type checker struct {
	evidence Evidence
	add      time.Duration // correction of the ledger's clock, as told so far
	epoch    ids.Epoch
	flows    map[ids.FlowID]*flowHistory
	cycles   map[uuid.UUID]*cycleHistory
	order    []*cycleHistory
	numbered map[place]*cycleHistory // by flow and number
	now      ledger.Record
	found    []Violation
	lacking  []lack
}

// lack is a fault that a record explains which Redis lost in the middle of a step.
type lack struct {
	in *cycleHistory
	Violation
}

type flowHistory struct {
	known   bool // its definition is in the evidence
	Flow    Flow
	next    time.Time // first slot not accounted for
	paused  bool
	deleted bool
	numbers map[int64]uuid.UUID
}

type cycleHistory struct {
	flow      *flowHistory
	id        ids.Attempt
	slot      int64 // ms; 0 = started by hand
	cancelled bool
	ended     string
	endedAt   time.Time
	nodes     map[ids.NodeID]*nodeHistory
	outcomes  int
	mended    bool // something was put back in it
}

type nodeHistory struct {
	offers  map[int]int         // by attempt
	marks   map[int]int         // offers the broker confirmed, by attempt
	tokens  map[int]string      // granted, by attempt
	workers map[int]string      // to whom, by attempt
	causes  map[int]string      // what ended an attempt without an outcome
	revoked map[int]bool        // by attempt
	claims  map[string]struct{} // tokens under which it may have been started
	live    int                 // the attempt under a claim; 0 = none
	outcome string
	counted int // the attempt that the outcome is of
}

func (c *checker) fault(rule, format string, args ...any) {
	c.found = append(c.found, Violation{Rule: rule, Entry: c.now.ID, Text: fmt.Sprintf(format, args...)})
}

// lacks notes a fault unless it turns out that the cycle was mended after Redis had
// lost something: half a step may have its state and no record.
func (c *checker) lacks(k *cycleHistory, rule, format string, args ...any) {
	c.lacking = append(c.lacking, lack{k, Violation{Rule: rule, Entry: c.now.ID, Text: fmt.Sprintf(format, args...)}})
}

func (c *checker) record(r ledger.Record) {
	c.now = r
	if r.Epoch > 0 && r.Op != "fenced" { // a refusal carries the epoch that was refused
		if r.Epoch < c.epoch {
			c.fault("epoch", "%s carries epoch %d after an entry of epoch %d", r.Op, r.Epoch, c.epoch)
		}
		c.epoch = max(c.epoch, r.Epoch)
	}
	f := c.flow(r.Flow)
	switch r.Op {
	case "flow_activated":
		if f.deleted {
			delete(c.flows, r.Flow) // another incarnation
		}
	case "flow_paused":
		f.paused = true
	case "flow_resumed":
		f.paused = false
	case "flow_deleted":
		f.deleted = true
	case "slot_skipped":
		c.skipped(f, r.Detail)
	case "cycle_start":
		c.started(f, r)
	case "repair":
		if !c.evidence.RedisLost && !strings.HasPrefix(r.Detail, "message: ") { // a broker or a worker may lose one
			c.fault("repair", "%s was mended (%s), yet Redis lost nothing", r.Attempt, r.Detail)
		}
		if k := c.cycles[r.UUID]; k != nil && !strings.HasPrefix(r.Detail, "message: ") {
			k.mended = true
		}
	case "cycle_cancel", "cycle_end", "ready", "dispatch", "claim", "expire", "retry_later", "outcome":
		k := c.cycles[r.UUID]
		if k == nil {
			c.fault("cycle", "%s of %s in a cycle that was never started", r.Op, r.Attempt)
			return
		}
		c.inCycle(k, r)
	}
}

func (c *checker) flow(id ids.FlowID) *flowHistory {
	f := c.flows[id]
	if f == nil {
		def, known := c.evidence.Flows[id]
		f = &flowHistory{known: known, Flow: def, next: def.Anchor, numbers: map[int64]uuid.UUID{}}
		c.flows[id] = f
	}
	return f
}

// skipped reads "first last count reason".
func (c *checker) skipped(f *flowHistory, detail string) {
	parts := strings.Fields(detail)
	if len(parts) != 4 {
		c.fault("slots", "skipped slots can't be read: %q", detail)
		return
	}
	first, err1 := millis(parts[0])
	last, err2 := millis(parts[1])
	count, err3 := strconv.ParseInt(parts[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || parts[3] == "" {
		c.fault("slots", "skipped slots can't be read: %q", detail)
		return
	}
	c.slots(f, first, last, count)
}

// slots accounts for a range of them: it has to follow the last one on the grid.
func (c *checker) slots(f *flowHistory, first, last time.Time, count int64) {
	if !f.known || f.Flow.Interval == 0 || f.deleted {
		return
	}
	step := f.Flow.Interval
	if !f.Flow.Anchor.IsZero() && first.Sub(f.Flow.Anchor)%step != 0 {
		c.fault("slots", "%s: slot %d is not on the grid", c.now.Flow, first.UnixMilli())
	}
	if last.Before(first) || last.Sub(first)%step != 0 || int64(last.Sub(first)/step)+1 != count {
		c.fault("slots", "%s: %d slots from %d to %d don't fit the grid", c.now.Flow, count, first.UnixMilli(), last.UnixMilli())
	}
	switch {
	case f.next.IsZero():
	case first.Before(f.next):
		c.fault("slots", "%s: slot %d is accounted for twice", c.now.Flow, first.UnixMilli())
	case first.After(f.next):
		c.fault("slots", "%s: slots %d to %d are not accounted for", c.now.Flow, f.next.UnixMilli(), first.Add(-step).UnixMilli())
	}
	if next := last.Add(step); next.After(f.next) {
		f.next = next
	}
}

func (c *checker) started(f *flowHistory, r ledger.Record) {
	what, _, _ := strings.Cut(r.Detail, " ")
	due := int64(0)
	if what != "manual" {
		slot, err := millis(what)
		if err != nil {
			c.fault("slots", "slot of a cycle can't be read: %q", r.Detail)
			return
		}
		due = slot.UnixMilli()
		c.slots(f, slot, slot, 1)
		if !c.evidence.ClockSet && slot.After(r.At.Add(c.add+time.Millisecond)) {
			c.fault("slots", "%s: slot %d started %s early", r.Flow, slot.UnixMilli(), slot.Sub(r.At))
		}
	}
	if f.paused || f.deleted {
		c.fault("hold", "a cycle of %s starts though the flow is paused or deleted", r.Flow)
	}
	if c.cycles[r.UUID] != nil {
		c.fault("cycle", "cycle %s/%d starts a second time", r.Flow, r.Cycle)
		return
	}
	if _, taken := f.numbers[r.Cycle]; taken {
		c.fault("cycle", "number %d of %s is given twice", r.Cycle, r.Flow)
	}
	f.numbers[r.Cycle] = r.UUID
	k := &cycleHistory{flow: f, id: r.Attempt, slot: due, nodes: map[ids.NodeID]*nodeHistory{}}
	c.cycles[r.UUID] = k
	c.order = append(c.order, k)
	c.numbered[place{flow: r.Flow, cycle: r.Cycle}] = k
}

func (k *cycleHistory) node(id ids.NodeID) *nodeHistory {
	n := k.nodes[id]
	if n == nil {
		n = &nodeHistory{offers: map[int]int{}, marks: map[int]int{}, tokens: map[int]string{}, workers: map[int]string{}, causes: map[int]string{}, revoked: map[int]bool{}, claims: map[string]struct{}{}}
		k.nodes[id] = n
	}
	return n
}

func millis(s string) (time.Time, error) {
	ms, err := strconv.ParseInt(s, 10, 64)
	return time.UnixMilli(ms).UTC(), err
}
