package histcheck

import (
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/deploy/dev/recorder"
	"github.com/tradingflow/weather-station/shared/ids"
)

// execution is one execution of a node as the recorder saw it.
type execution struct {
	seen
	node    ids.NodeID
	attempt int
}

// seen is a cycle as the recorder knows it. Cycles that are started by hand within a
// millisecond share their slot, so the number belongs to it; but after Redis went back
// in time a number may mean another cycle, and the slot alone has to do.
type seen struct {
	flow  ids.FlowID
	slot  int64
	cycle int64 // 0 when Redis went back in time
}

func (c *checker) seen(flow ids.FlowID, slot, cycle int64) seen {
	if c.evidence.RedisLost {
		cycle = 0
	}
	return seen{flow, slot, cycle}
}

// late is how long after the end of its cycle an execution may still begin: the
// clocks are of one machine, and claims and lines are written one after the other.
const late = time.Second

// witness holds the recorder's log against the journal.
func (c *checker) witness() {
	seq := int64(0)
	starts, ends := map[execution]recorder.Line{}, map[execution]recorder.Line{}
	succeeded, once := map[execution]bool{}, map[uuid.UUID]int{}
	type intent struct {
		seen
		node ids.NodeID
	}
	intents, places := map[intent]uuid.UUID{}, map[uuid.UUID]intent{}
	for _, l := range c.evidence.Lines {
		if seq++; l.Seq != seq {
			c.fault("recorder", "line %d comes where %d is due", l.Seq, seq)
			seq = l.Seq
		}
		of := c.seen(l.Flow, l.Slot, l.Cycle)
		e := execution{of, l.Node, l.Attempt}
		f := c.evidence.Flows[l.Flow]
		switch l.Event {
		case recorder.Start:
			if _, twice := starts[e]; twice && !c.evidence.RedisLost {
				c.fault("run", "%s/%d/%s#%d begins twice", l.Flow, l.Cycle, l.Node, l.Attempt)
			}
			starts[e] = l
			if once[l.Intent]++; f.AtMostOnce[l.Node] && once[l.Intent] == 2 {
				c.fault("at_most_once", "%s/%d/%s begins a second time, as attempt %d", l.Flow, l.Cycle, l.Node, l.Attempt)
			}
			at := intent{of, l.Node}
			if before, known := intents[at]; known && before != l.Intent {
				c.fault("intent", "%s/%d/%s has intents %s and %s", l.Flow, l.Cycle, l.Node, before, l.Intent)
			}
			intents[at] = l.Intent
			if before, known := places[l.Intent]; known && before != at {
				c.fault("intent", "%s/%d/%s has the intent of %s/%s", l.Flow, l.Cycle, l.Node, before.flow, before.node)
			}
			places[l.Intent] = at
			for _, from := range f.Inputs[l.Node] {
				if f.Recorded[from] && !succeeded[execution{of, from, 0}] {
					c.fault("inputs", "%s/%d/%s#%d begins before %s has ended well", l.Flow, l.Cycle, l.Node, l.Attempt, from)
				}
			}
		case recorder.End:
			if _, began := starts[e]; !began {
				c.fault("recorder", "%s/%d/%s#%d ends and never began", l.Flow, l.Cycle, l.Node, l.Attempt)
			}
			ends[e] = l
			if l.Result == recorder.OK {
				e.attempt = 0
				succeeded[e] = true
			}
		default:
			c.fault("recorder", "line %d tells of %q", l.Seq, l.Event)
		}
	}
	if !c.evidence.RedisLost {
		c.claimed(starts)
	}
	c.witnessed(starts, ends)
}

// claimed demands a claim for every execution, by the worker that it was, and a
// cause for every attempt after the first.
func (c *checker) claimed(starts map[execution]recorder.Line) {
	for _, l := range c.evidence.Lines {
		e := execution{c.seen(l.Flow, l.Slot, l.Cycle), l.Node, l.Attempt}
		if _, known := c.evidence.Flows[l.Flow]; !known || l.Event != recorder.Start || starts[e] != l {
			continue // of a flow that may have been removed and made again, a number means nothing
		}
		k := c.numbered[place{flow: l.Flow, cycle: l.Cycle}]
		if k == nil {
			c.fault("run", "%s/%d/%s#%d ran in a cycle that was never started", l.Flow, l.Cycle, l.Node, l.Attempt)
			continue
		}
		n := k.nodes[l.Node]
		if n == nil || n.tokens[l.Attempt] == "" {
			c.fault("run", "%s/%d/%s#%d ran and was never claimed", l.Flow, l.Cycle, l.Node, l.Attempt)
			continue
		}
		if w := n.workers[l.Attempt]; w != string(l.Worker) {
			c.fault("run", "%s/%d/%s#%d ran on %s and was claimed by %s", l.Flow, l.Cycle, l.Node, l.Attempt, l.Worker, w)
		}
		if !c.evidence.ClockSet && !k.endedAt.IsZero() && l.Time().After(k.endedAt.Add(late)) && !n.revoked[l.Attempt] {
			c.fault("run", "%s/%d/%s#%d begins %s after the end of its cycle", l.Flow, l.Cycle, l.Node, l.Attempt, l.Time().Sub(k.endedAt))
		}
		if l.Attempt > 1 && n.causes[l.Attempt-1] == "" {
			c.fault("run", "%s/%d/%s#%d ran though nothing ended attempt %d", l.Flow, l.Cycle, l.Node, l.Attempt, l.Attempt-1)
		}
	}
}

// witnessed demands that what the journal counts as done was done.
func (c *checker) witnessed(starts, ends map[execution]recorder.Line) {
	if len(c.evidence.Lines) == 0 {
		return
	}
	slots := map[place]int64{} // of cycles that were started by hand, their start
	for e, l := range starts {
		slots[place{flow: e.flow, cycle: l.Cycle}] = e.slot
	}
	for _, k := range c.order {
		slot := k.slot
		if slot == 0 && !c.evidence.RedisLost { // else the number may be another's
			slot = slots[place{flow: k.id.Flow, cycle: k.id.Cycle}]
		}
		for id, n := range k.nodes {
			if !k.flow.Flow.Recorded[id] || n.outcome != "succeeded" {
				continue
			}
			if slot == 0 && c.evidence.RedisLost {
				continue
			}
			e := execution{c.seen(k.id.Flow, slot, k.id.Cycle), id, n.counted}
			if _, ran := starts[e]; !ran {
				c.fault("run", "%s/%d/%s#%d is counted and never ran", k.id.Flow, k.id.Cycle, id, n.counted)
			} else if l, ended := ends[e]; !ended || l.Result != recorder.OK {
				c.fault("run", "%s/%d/%s#%d is counted as succeeded and ended %q", k.id.Flow, k.id.Cycle, id, n.counted, l.Result)
			}
		}
	}
}
