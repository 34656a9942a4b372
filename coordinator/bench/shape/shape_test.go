package shape_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/coordinator/bench/shape"
)

func TestShapes(t *testing.T) {
	for name, tc := range map[string]struct {
		shape  shape.Shape
		nodes  int
		edges  int
		first  int // nodes without predecessors
		degree int // the highest
	}{
		"chain":  {shape.Chain(5), 5, 4, 1, 1},
		"one":    {shape.Chain(1), 1, 0, 1, 0},
		"fan":    {shape.Fan(7), 9, 14, 1, 7},
		"apart":  {shape.Apart(4, time.Second), 4, 0, 4, 0},
		"chains": {shape.Chains(10, 4), 10, 7, 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			degrees, first, edges := tc.shape.Degrees(), 0, 0
			for _, d := range degrees {
				edges += d
				if d == 0 {
					first++
				}
			}
			if len(degrees) != tc.nodes || edges != tc.edges || first != tc.first || slices.Max(degrees) != tc.degree {
				t.Errorf("%d nodes, %d edges, %d first, degree %d; want %+v", len(degrees), edges, first, slices.Max(degrees), tc)
			}
		})
	}
}

func TestNodeIDs(t *testing.T) {
	for _, n := range []int{0, 1, 9999} {
		if got := shape.NodeOf(shape.NodeID(n)); got != n {
			t.Errorf("node %d comes back as %d", n, got)
		}
	}
	for _, text := range []string{"", "n", "x1", "n-1", "n1x"} {
		if got := shape.NodeOf(text); got != -1 {
			t.Errorf("%q is node %d", text, got)
		}
	}
}

func TestDocument(t *testing.T) {
	job := shape.Job{Name: "ticks", Shape: shape.Chain(2), Flows: 3, Cycles: 4, Every: 250 * time.Millisecond}
	job.Shape.Sleep = 50 * time.Millisecond
	b, err := job.Document("f")
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "name")
	node := func(id string) any {
		return map[string]any{"id": id, "type": "delay", "parameters": map[string]any{"duration": "50ms"}}
	}
	want := map[string]any{"flow_id": "f", "schedule_type": "periodic", "interval_seconds": 0.25, "nodes": []any{node("n0"), node("n1")},
		"edges": []any{map[string]any{"source": "n0", "target": "n1"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	if n := job.Nodes(); n != 24 {
		t.Errorf("the job has %d nodes", n)
	}
}
