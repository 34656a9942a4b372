package cluster

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// doc is a flow document.
type doc struct {
	ID       string   `json:"flow_id"`
	Schedule string   `json:"schedule_type"`
	Seconds  float64  `json:"interval_seconds,omitempty"`
	Cron     string   `json:"cron,omitempty"`
	Overlap  string   `json:"overlap"`
	Catchup  string   `json:"catchup"`
	Timeout  string   `json:"cycle_timeout"`
	Nodes    []vertex `json:"nodes"`
	Edges    []edge   `json:"edges"`
}

type vertex struct {
	ID         string         `json:"id"`
	Type       string         `json:"type"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Timeout    string         `json:"timeout,omitempty"`
	Retry      map[string]any `json:"retry,omitempty"`
	Delivery   string         `json:"delivery,omitempty"`
	Join       string         `json:"join,omitempty"`
}

type edge struct {
	Source string `json:"source"`
	From   string `json:"source_handle"`
	Target string `json:"target"`
	To     string `json:"target_handle"`
}

// flow begins a document; interval 0 makes it one that is started by hand.
func flow(id string, interval time.Duration) *doc {
	d := &doc{ID: id, Schedule: "manual", Overlap: "allow", Catchup: "latest", Timeout: "2m", Edges: []edge{}}
	if interval > 0 {
		d.Schedule, d.Seconds = "periodic", interval.Seconds()
	}
	return d
}

func (d *doc) add(v vertex) *doc { d.Nodes = append(d.Nodes, v); return d }

func (d *doc) edge(source, from, target, to string) *doc {
	d.Edges = append(d.Edges, edge{source, from, target, to})
	return d
}

func (d *doc) source(id string) *doc {
	return d.add(vertex{ID: id, Type: "transform", Parameters: map[string]any{"output": "data", "expression": `{"n": cycle}`}})
}

func (d *doc) delay(id string, t time.Duration) *doc {
	return d.add(vertex{ID: id, Type: "delay", Parameters: map[string]any{"duration": t.String()}})
}

// witness adds a program that writes down that it ran, in a way that knows
// nothing of intents and leases: two runs leave two lines.
func (d *doc) witness(id string) *doc {
	const script = `echo "$STATION_FLOW $STATION_CYCLE $STATION_NODE $STATION_ATTEMPT $STATION_INTENT_ID" >> runs; echo {}`
	return d.add(vertex{ID: id, Type: "exec", Parameters: map[string]any{"command": []string{"/bin/sh", "-c", script}}})
}

func (d *doc) output(id string) *doc {
	return d.add(vertex{ID: id, Type: "dataset_output", Parameters: map[string]any{"path": "effects/" + d.ID + "/" + id + ".jsonl", "mode": "append"}})
}

// chain is source → delay → witness → output.
func chain(id string, interval time.Duration) *doc {
	return flow(id, interval).source("a").delay("b", 50*time.Millisecond).witness("c").output("out").
		edge("a", "data", "b", "data").edge("b", "data", "c", "data").edge("c", "data", "out", "data")
}

// diamond has two ways of different length that meet again.
func diamond(id string, interval time.Duration) *doc {
	return flow(id, interval).source("top").delay("left", 50*time.Millisecond).delay("right", 120*time.Millisecond).output("join").
		edge("top", "data", "left", "data").edge("top", "data", "right", "data").
		edge("left", "data", "join", "data").edge("right", "data", "join", "other")
}

// parts has three components: one whose branches are skipped in turn, one that
// stops in every third cycle, one with a longer node.
func parts(id string, interval time.Duration) *doc {
	return flow(id, interval).
		add(vertex{ID: "even", Type: "condition", Parameters: map[string]any{"expression": "cycle % 2 == 0"}}).
		add(vertex{ID: "yes", Type: "log", Parameters: map[string]any{"level": "debug"}}).
		delay("no", 30*time.Millisecond).
		add(vertex{ID: "either", Type: "log", Parameters: map[string]any{"level": "debug"}, Join: "one_success"}).
		edge("even", "true_output", "yes", "data").edge("even", "false_output", "no", "data").
		edge("yes", "data", "either", "yes").edge("no", "data", "either", "no").
		add(vertex{ID: "gate", Type: "condition", Parameters: map[string]any{"expression": "cycle % 3 != 0", "on_false": "stop"}}).
		delay("after", 30*time.Millisecond).delay("beside", 200*time.Millisecond).
		add(vertex{ID: "done", Type: "log", Parameters: map[string]any{"level": "debug"}}).
		edge("gate", "true_output", "after", "data").edge("gate", "result", "beside", "data").
		edge("after", "data", "done", "data").edge("beside", "data", "done", "other").
		source("seed").delay("long", 300*time.Millisecond).output("kept").
		edge("seed", "data", "long", "data").edge("long", "data", "kept", "data")
}

// flaky fails twice before it succeeds.
func flaky(id string, interval time.Duration) *doc {
	return flow(id, interval).source("a").
		add(vertex{ID: "b", Type: "fail", Parameters: map[string]any{"times": 2}, Retry: retries(3)}).output("out").
		edge("a", "data", "b", "data").edge("b", "data", "out", "data")
}

func retries(n int) map[string]any {
	return map[string]any{"enabled": true, "max_retries": n, "backoff": "50ms", "max_backoff": "200ms", "jitter": true}
}

// long is one node of the given length between a source and an output.
func long(id string, d time.Duration) *doc {
	return flow(id, 0).source("a").delay("long", d).witness("w").output("out").
		edge("a", "data", "long", "data").edge("long", "data", "w", "data").edge("w", "data", "out", "data")
}

// layered has width × depth nodes; each one but the first layer's has three
// inputs of the layer before.
func layered(id string, width, depth int) *doc {
	d := flow(id, 0)
	name := func(layer, i int) string { return fmt.Sprintf("n%d-%d", layer, i%width) }
	for layer := range depth {
		for i := range width {
			d.add(vertex{ID: name(layer, i), Type: "transform", Parameters: map[string]any{"output": "v", "expression": "cycle"}})
			for k := range 3 {
				if layer > 0 {
					d.edge(name(layer-1, i+k), "v", name(layer, i), fmt.Sprintf("in%d", k))
				}
			}
		}
	}
	return d
}

func (d *doc) text(t *testing.T) []byte {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
