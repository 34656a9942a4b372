package histcheck

import (
	"github.com/tradingflow/weather-station/shared/ids"
)

// Answer is what the API says of a cycle.
type Answer struct {
	Flow   ids.FlowID
	Cycle  int64
	Status string
	Nodes  map[ids.NodeID]string // status of each; nil when the cycle is archived
}

// answers demands that the API tells of ended cycles what the journal tells.
func (c *checker) answers() {
	for _, a := range c.evidence.Answers {
		k := c.numbered[place{flow: a.Flow, cycle: a.Cycle}]
		if k == nil {
			c.fault("answer", "the API has a cycle %s/%d that was never started", a.Flow, a.Cycle)
			continue
		}
		if k.ended == "" {
			continue // it may have ended meanwhile
		}
		if a.Status != k.ended {
			c.fault("answer", "cycle %s/%d ended %s, the API says %s", a.Flow, a.Cycle, k.ended, a.Status)
		}
		if a.Nodes == nil {
			continue
		}
		for id, n := range k.nodes {
			if a.Nodes[id] != n.outcome {
				c.fault("answer", "%s/%d/%s came to %s, the API says %q", a.Flow, a.Cycle, id, n.outcome, a.Nodes[id])
			}
		}
	}
}
