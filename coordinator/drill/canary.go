package drill

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// Nodes of the canary, a chain. A delay passes on what it is given, so the chain
// begins with a node that makes a value. longNode is the one in which a worker is
// hit.
const (
	sourceNode = "source"
	firstNode  = "first"
	longNode   = "long"
	lastNode   = "last"
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
	}
	type edge struct {
		Source string `json:"source"`
		From   string `json:"source_handle"`
		Target string `json:"target"`
		To     string `json:"target_handle"`
	}
	delay := func(id string, d time.Duration) node {
		return node{ID: id, Type: "delay", Parameters: map[string]string{"duration": d.String()}}
	}
	const short = 10 * time.Millisecond
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
		Nodes: []node{{ID: sourceNode, Type: "transform", Parameters: map[string]string{"output": "data", "expression": "cycle"}},
			delay(firstNode, short), delay(longNode, longFor(interval)), delay(lastNode, short)},
		Edges: []edge{{sourceNode, "data", firstNode, "data"}, {firstNode, "data", longNode, "data"}, {longNode, "data", lastNode, "data"}},
	})
	if err != nil {
		return nil, fmt.Errorf("write canary: %w", err)
	}
	return b, nil
}
