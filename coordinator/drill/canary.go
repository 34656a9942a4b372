package drill

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/partition"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Nodes of the canary, a chain. A delay passes on what it is given, so the chain
// begins with a node that makes a value. longNode is the one in which a worker is
// hit.
const (
	sourceNode = "source"
	longNode   = "long"
	lastNode   = "last"
)

// canaryPrefix begins the id of every canary.
const canaryPrefix = "drill-canary-"

// canaryID makes the id of a canary in partition 0, however many there are: it is that
// one's leader that faults are about. A flow that is there among the most is there
// among fewer.
func canaryID() string {
	for {
		id := canaryPrefix + uuid.NewString()[:8]
		if partition.Of(ids.FlowID(id), partition.Max) == 0 {
			return id
		}
	}
}

// steps are short nodes before the longer one. Together they last about as long as
// the shortest interval, so that at any time one is about to end and the next one
// is to be dispatched: what a leader's absence lasts is then seen as the time
// without a dispatch. Each joins in a way that the leader decides, or a worker would go
// on from step to step without it.
const (
	steps   = 7
	stepFor = 12 * time.Millisecond
)

// longFor returns how long the longer node takes: some intervals, so that it
// runs at any time, and not so long that cycles pile up on few workers.
func longFor(interval time.Duration) time.Duration {
	return min(max(5*interval, 300*time.Millisecond), 2*time.Second)
}

// canary returns the document of the flow that a round watches. Without ticks it
// has no slots, and what runs of it runs on to its end; a pause would hold that.
func canary(id string, interval time.Duration, ticks bool) ([]byte, error) {
	type node struct {
		ID         string            `json:"id"`
		Type       string            `json:"type"`
		Parameters map[string]string `json:"parameters"`
		Join       string            `json:"join,omitempty"`
	}
	type edge struct {
		Source string `json:"source"`
		From   string `json:"source_handle"`
		Target string `json:"target"`
		To     string `json:"target_handle"`
	}
	delay := func(id string, d time.Duration) node {
		return node{ID: id, Type: "delay", Parameters: map[string]string{"duration": d.String()}, Join: plan.AllDone}
	}
	nodes := []node{{ID: sourceNode, Type: "transform", Parameters: map[string]string{"output": "data", "expression": "cycle"}}}
	for i := range steps {
		nodes = append(nodes, delay(fmt.Sprintf("step-%d", i+1), stepFor))
	}
	nodes = append(nodes, delay(longNode, longFor(interval)), delay(lastNode, stepFor))
	var edges []edge
	for i := range nodes[1:] {
		edges = append(edges, edge{nodes[i].ID, "data", nodes[i+1].ID, "data"})
	}
	schedule, seconds := api.Manual, 0.0
	if ticks {
		schedule, seconds = api.Periodic, interval.Seconds()
	}
	b, err := json.Marshal(struct {
		ID       string  `json:"flow_id"`
		Name     string  `json:"name"`
		Schedule string  `json:"schedule_type"`
		Seconds  float64 `json:"interval_seconds,omitempty"`
		Overlap  string  `json:"overlap"`
		Catchup  string  `json:"catchup"`
		Timeout  string  `json:"cycle_timeout"`
		Nodes    []node  `json:"nodes"`
		Edges    []edge  `json:"edges"`
	}{
		ID: id, Name: "Canary of a drill; may be deleted when no drill runs", Schedule: schedule, Seconds: seconds,
		Overlap: "allow", Catchup: "latest", Timeout: "2m",
		Nodes: nodes, Edges: edges,
	})
	if err != nil {
		return nil, fmt.Errorf("write canary: %w", err)
	}
	return b, nil
}
