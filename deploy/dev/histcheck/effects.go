package histcheck

import (
	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Effect is one line that a node left in a file: an effect on the outside world,
// made idempotent by its intent.
type Effect struct {
	Flow   ids.FlowID
	Cycle  int64
	Node   ids.NodeID
	Intent uuid.UUID
}

// Run is one execution of a node's program as the program itself wrote it down.
type Run struct {
	Flow    ids.FlowID
	Cycle   int64
	Node    ids.NodeID
	Attempt int
	Intent  uuid.UUID
}

type place struct {
	flow  ids.FlowID
	cycle int64
	node  ids.NodeID
}

// effects demands that every effect is there once, and only where the journal
// has a claim for it.
func (c *checker) effects() {
	intents, places := map[uuid.UUID]place{}, map[place]int{}
	for _, e := range c.evidence.Effects {
		at := place{e.Flow, e.Cycle, e.Node}
		if before, twice := intents[e.Intent]; twice {
			c.fault("effect", "intent %s of %s/%d/%s is carried out twice, before by %s/%d/%s", e.Intent, e.Flow, e.Cycle, e.Node, before.flow, before.cycle, before.node)
		}
		intents[e.Intent] = at
		places[at]++
	}
	for at, n := range places {
		if c.evidence.RedisLost { // a number may mean another cycle by now, a claim may be forgotten
			break
		}
		if n > 1 {
			c.fault("effect", "%s/%d/%s has %d effects", at.flow, at.cycle, at.node, n)
		}
		if h := c.node(at); h == nil || len(h.claims) == 0 {
			c.fault("effect", "%s/%d/%s has an effect and was never claimed", at.flow, at.cycle, at.node)
		}
	}
	for _, k := range c.order {
		for id, writes := range k.flow.Flow.Writes {
			if !writes {
				continue
			}
			if n := k.nodes[id]; n != nil && n.outcome == "succeeded" && places[place{k.id.Flow, k.id.Cycle, id}] == 0 {
				c.fault("effect", "%s/%d/%s succeeded and left no effect", k.id.Flow, k.id.Cycle, id)
			}
		}
	}
}

// runs demands that each attempt ran at most once and only under a claim, that
// all attempts share one intent, and that at-most-once nodes ran at most once.
func (c *checker) runs() {
	type try struct {
		place
		attempt int
	}
	tries, intents, once := map[try]int{}, map[place]uuid.UUID{}, map[uuid.UUID]int{}
	for _, r := range c.evidence.Runs {
		at := place{r.Flow, r.Cycle, r.Node}
		tries[try{at, r.Attempt}]++
		if def := c.evidence.Flows[r.Flow]; def.AtMostOnce[r.Node] {
			if once[r.Intent]++; once[r.Intent] == 2 {
				c.fault("at_most_once", "%s/%d/%s ran a second time", r.Flow, r.Cycle, r.Node)
			}
		}
		if c.evidence.RedisLost {
			continue
		}
		if before, known := intents[at]; known && before != r.Intent {
			c.fault("intent", "%s/%d/%s has intents %s and %s", r.Flow, r.Cycle, r.Node, before, r.Intent)
		}
		intents[at] = r.Intent
	}
	for t, n := range tries {
		if c.evidence.RedisLost {
			break
		}
		if n > 1 {
			c.fault("run", "%s/%d/%s#%d ran %d times", t.flow, t.cycle, t.node, t.attempt, n)
		}
		if h := c.node(t.place); h == nil || h.tokens[t.attempt] == "" {
			c.fault("run", "%s/%d/%s#%d ran and was never claimed", t.flow, t.cycle, t.node, t.attempt)
		}
	}
}

// node finds the history of a place; nil when there is none.
func (c *checker) node(at place) *nodeHistory {
	k := c.numbered[place{flow: at.flow, cycle: at.cycle}]
	if k == nil {
		return nil
	}
	return k.nodes[at.node]
}
