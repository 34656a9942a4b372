package plan_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

func TestGather(t *testing.T) {
	in := func(source, handle, target string) plan.Input {
		return plan.Input{Source: ids.NodeID(source), SourceHandle: handle, TargetHandle: target}
	}
	for _, c := range []struct {
		name      string
		aggregate string
		inputs    []plan.Input
		values    map[string]string // by source:handle
		want      map[string]string
	}{
		{"nothing", "", nil, nil, map[string]string{}},
		{"one edge gives its value", "", []plan.Input{in("a", "x", "p")}, map[string]string{"a:x": `[1]`}, map[string]string{"p": `[1]`}},
		{"an edge without a value leaves nothing", "", []plan.Input{in("a", "x", "p")}, nil, map[string]string{}},
		{"empty values are values", "", []plan.Input{in("a", "x", "p"), in("b", "x", "q"), in("c", "x", "r"), in("d", "x", "s")},
			map[string]string{"a:x": `null`, "b:x": `0`, "c:x": `false`, "d:x": `""`}, map[string]string{"p": `null`, "q": `0`, "r": `false`, "s": `""`}},
		{"several edges give a list in their order", plan.AggregateList, []plan.Input{in("b", "x", "p"), in("a", "x", "p"), in("b", "y", "p")},
			map[string]string{"a:x": `1`, "b:x": `2`, "b:y": `null`}, map[string]string{"p": `[2,1,null]`}},
		{"a list of what has come", plan.AggregateList, []plan.Input{in("b", "x", "p"), in("a", "x", "p")}, map[string]string{"a:x": `1`}, map[string]string{"p": `[1]`}},
		{"merged, the later key wins", plan.AggregateMerge, []plan.Input{in("a", "x", "p"), in("b", "x", "p"), in("c", "z", "p")},
			map[string]string{"a:x": `{"k":1,"l":1}`, "b:x": `{"k":2}`, "c:z": `7`}, map[string]string{"p": `{"k":2,"l":1,"z":7}`}},
		{"null is no object", plan.AggregateMerge, []plan.Input{in("a", "x", "p"), in("b", "y", "p")},
			map[string]string{"a:x": `null`, "b:y": `{"k":1}`}, map[string]string{"p": `{"k":1,"x":null}`}},
		{"one edge is not merged", plan.AggregateMerge, []plan.Input{in("a", "x", "p")}, map[string]string{"a:x": `{"k":1}`}, map[string]string{"p": `{"k":1}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &plan.Node{Inputs: c.inputs, Aggregate: c.aggregate}
			got := map[string]string{}
			for h, v := range plan.Gather(n, func(i plan.Input) json.RawMessage {
				if v, ok := c.values[string(i.Source)+":"+i.SourceHandle]; ok {
					return json.RawMessage(v)
				}
				return nil
			}) {
				got[h] = string(v)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("inputs differ (-want +got):\n%s", d)
			}
		})
	}
}

// TestGatherKeepsEveryValue: a list has one element for each edge that brought
// one, in the edges' order.
func TestGatherKeepsEveryValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		brought := rapid.SliceOfN(rapid.Bool(), 2, 20).Draw(t, "brought")
		n := &plan.Node{}
		var want []int
		for i, b := range brought {
			n.Inputs = append(n.Inputs, plan.Input{SourceHandle: string(rune('a' + i)), TargetHandle: "p"})
			if b {
				want = append(want, i)
			}
		}
		in := plan.Gather(n, func(i plan.Input) json.RawMessage {
			k := int(i.SourceHandle[0] - 'a')
			if !brought[k] {
				return nil
			}
			b, err := json.Marshal(k)
			if err != nil {
				t.Fatal(err)
			}
			return b
		})
		var got []int
		if raw, ok := in["p"]; ok {
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("-want +got:\n%s", d)
		}
	})
}

func BenchmarkPlanNode(b *testing.B) {
	b.ReportAllocs()
	p := &plan.Plan{}
	for i := range 10_000 {
		p.Nodes = append(p.Nodes, plan.Node{ID: ids.NodeID("node-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)))})
	}
	p.Seal()
	id := p.Nodes[7777].ID
	for b.Loop() {
		if p.Node(id) == nil {
			b.Fatal("not found")
		}
	}
}
