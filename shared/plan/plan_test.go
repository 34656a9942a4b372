package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/shared/ids"
)

func example() *Plan {
	return (&Plan{Flow: "f", UID: uuid.MustParse("11111111-2222-3333-4444-555555555555"), Revision: 3, OnFailure: Continue, CycleTimeout: 90 * time.Second, Components: 2,
		Nodes: []Node{
			{ID: "a", Type: "http", Pool: "p", Level: 1, Timeout: time.Second, Parameters: json.RawMessage(`{"x": [1, "ü"]}`), Delivery: AtLeastOnce,
				Join: AllSuccess, Aggregate: AggregateList, Retry: Retry{Enabled: true, MaxRetries: 2, Backoff: time.Second, MaxBackoff: time.Minute, Jitter: true},
				Successors: []Successor{{Target: "b", InDegree: 2, Plain: true, Edges: []Edge{{SourceHandle: "x"}, {SourceHandle: "y", When: "value > 1"}}}}},
			{ID: "c", Component: 1, Level: 1},
			{ID: "b", Level: 2, Inputs: []Input{{"a", "x", "in"}, {"a", "y", "in"}}},
		}}).Seal()
}

func TestNodeAndEntries(t *testing.T) {
	p := example()
	for _, id := range []ids.NodeID{"a", "b", "c"} {
		if n := p.Node(id); n == nil || n.ID != id {
			t.Errorf("node %s is %v", id, n)
		}
	}
	if n := p.Node("x"); n != nil {
		t.Errorf("an unknown node is %v", n)
	}
	if p.Node("b") != &p.Nodes[2] {
		t.Error("a node is a copy")
	}
	var got []ids.NodeID
	for _, n := range p.Entries() {
		got = append(got, n.ID)
	}
	if d := cmp.Diff([]ids.NodeID{"a", "c"}, got); d != "" {
		t.Error(d)
	}
	if (&Plan{}).Entries() != nil || (&Plan{}).Node("a") != nil {
		t.Error("an empty plan has nodes")
	}
	unsealed := &Plan{Nodes: p.Nodes}
	if unsealed.Node("c") == nil {
		t.Error("a plan without an index finds nothing")
	}
}

// A plan is stored as its header and its nodes, each as JSON.
func TestStoredAndAssembled(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		p := example()
		for i := range rapid.IntRange(0, 20).Draw(r, "more") {
			p.Nodes = append(p.Nodes, Node{ID: ids.NodeID(fmt.Sprintf("n%d", i)), Type: rapid.String().Draw(r, "type"), Timeout: time.Duration(rapid.Int64().Draw(r, "timeout"))})
		}
		header, err := json.Marshal(p.Header())
		if err != nil {
			r.Fatal(err)
		}
		bodies := map[ids.NodeID][]byte{}
		for i := range p.Nodes {
			if bodies[p.Nodes[i].ID], err = json.Marshal(p.Nodes[i]); err != nil {
				r.Fatal(err)
			}
		}
		var h Header
		if err := json.Unmarshal(header, &h); err != nil {
			r.Fatal(err)
		}
		got, err := Assemble(h, func(id ids.NodeID) (n Node, err error) { err = json.Unmarshal(bodies[id], &n); return n, err })
		if err != nil {
			r.Fatal(err)
		}
		compact := cmp.Transformer("JSON", func(m json.RawMessage) (v any) { _ = json.Unmarshal(m, &v); return v })
		if d := cmp.Diff(p, got, cmpopts.IgnoreUnexported(Plan{}), compact); d != "" {
			r.Fatal(d)
		}
		if n := got.Node("b"); n != &got.Nodes[2] {
			r.Error("an assembled plan has no index of its own")
		}
	})
}

func TestAssembleNamesTheMissingNode(t *testing.T) {
	gone := errors.New("gone")
	_, err := Assemble(example().Header(), func(id ids.NodeID) (Node, error) {
		if id == "c" {
			return Node{}, gone
		}
		return Node{ID: id}, nil
	})
	if !errors.Is(err, gone) || err.Error() != "assemble plan of f revision 3: node c: gone" {
		t.Error(err)
	}
}

// Stored plans outlive an upgrade: these names never change.
func TestStoredNames(t *testing.T) {
	got, err := json.Marshal(example().Nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"a","type":"http","pool":"p","component":0,"level":1,"parameters":{"x":[1,"ü"]},"timeout":1000000000,` +
		`"retry":{"enabled":true,"max_retries":2,"backoff":1000000000,"max_backoff":60000000000,"jitter":true},"delivery":"at_least_once","join":"all_success",` +
		`"aggregate":"list","successors":[{"target":"b","in_degree":2,"plain":true,"edges":[{"source_handle":"x"},{"source_handle":"y","when":"value \u003e 1"}]}]}`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
}
