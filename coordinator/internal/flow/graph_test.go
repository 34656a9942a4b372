package flow

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

func drawArcs(t *rapid.T, forward bool) (int, []arc) {
	n := rapid.IntRange(1, 12).Draw(t, "nodes")
	arcs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) arc {
		a := arc{int32(rapid.IntRange(0, n-1).Draw(t, "from")), int32(rapid.IntRange(0, n-1).Draw(t, "to"))}
		if forward && a.from > a.to {
			a.from, a.to = a.to, a.from
		}
		return a
	}), 0, 25).Draw(t, "arcs")
	if !forward {
		return n, arcs
	}
	var proper []arc
	for _, a := range arcs {
		if a.from != a.to {
			proper = append(proper, a)
		}
	}
	return n, proper
}

// reach tells which nodes reach which, by at least one arc.
func reach(n int, arcs []arc, bothWays bool) [][]bool {
	r := make([][]bool, n)
	for i := range r {
		r[i] = make([]bool, n)
	}
	for _, a := range arcs {
		r[a.from][a.to] = true
		if bothWays {
			r[a.to][a.from] = true
		}
	}
	for k := range n {
		for i := range n {
			for j := range n {
				r[i][j] = r[i][j] || r[i][k] && r[k][j]
			}
		}
	}
	return r
}

func TestComponentsAndLevels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, arcs := drawArcs(t, true)
		g := newGraph(n, arcs)
		together := reach(n, arcs, true)
		next := int32(0)
		for i := range n {
			first := i
			for j := range i {
				if together[i][j] {
					first = j
					break
				}
			}
			want := next
			if first < i {
				want = g.component[first]
			} else {
				next++
			}
			if g.component[i] != want {
				t.Fatalf("node %d is in component %d, want %d", i, g.component[i], want)
			}
			level := int32(1)
			for _, a := range arcs {
				if int(a.to) == i {
					level = max(level, g.level[a.from]+1)
				}
			}
			if g.level[i] != level {
				t.Fatalf("node %d is on level %d, want %d", i, g.level[i], level)
			}
		}
		if int(next) != g.components {
			t.Fatalf("%d components, want %d", g.components, next)
		}
		if rings := g.rings(); len(rings) != 0 {
			t.Fatalf("rings %v in a graph without any", rings)
		}
	})
}

func TestRings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, arcs := drawArcs(t, false)
		g := newGraph(n, arcs)
		reaches := reach(n, arcs, false)
		has := map[arc]bool{}
		for _, a := range arcs {
			has[a] = true
		}
		covered := make([]bool, n)
		for _, ring := range g.rings() {
			if len(ring) < 2 {
				t.Fatalf("ring %v", ring)
			}
			seen := map[int32]bool{}
			for i, from := range ring {
				if to := ring[(i+1)%len(ring)]; !has[arc{from, to}] {
					t.Fatalf("ring %v: no edge %d -> %d", ring, from, to)
				}
				if seen[from] {
					t.Fatalf("ring %v passes %d twice", ring, from)
				}
				seen[from] = true
			}
			for i := range n {
				if int32(i) == ring[0] || reaches[i][ring[0]] && reaches[ring[0]][i] {
					if covered[i] {
						t.Fatalf("node %d is in two groups", i)
					}
					covered[i] = true
					if int32(i) < ring[0] {
						t.Fatalf("ring %v does not begin at the group's first node %d", ring, i)
					}
				}
			}
		}
		for i := range n {
			for j := range n {
				if i != j && reaches[i][j] && reaches[j][i] && !covered[i] {
					t.Fatalf("node %d lies on a ring that is not reported", i)
				}
			}
		}
	})
}

func TestCompile(t *testing.T) {
	f := mustParse(t, []byte(`{"flow_id":"f","interval":"1m","on_failure":"continue","cycle_timeout":"30s","nodes":[
		{"id":"late","type":"log","join":"all_done"},
		{"id":"a","type":"http","parameters":{"url":"x"},"timeout":"5s"},
		{"id":"lone","type":"delay"},
		{"id":"b","type":"log"},
		{"id":"far","type":"log","pool":"other"},
		{"id":"order","type":"http","parameters":{"url":"x"},"delivery":"at_most_once"}],
		"edges":[
		{"source":"a","target":"late","source_handle":"x","target_handle":"p","when":"value > 1"},
		{"source":"a","target":"b"},
		{"source":"b","target":"far"},
		{"source":"b","target":"order"},
		{"source":"b","target":"late"},
		{"source":"a","target":"late","source_handle":"x","target_handle":"q"}]}`), Options{})
	uid := uuid.MustParse("0b54c7a4-7f5b-4f0a-9d3e-5f6f1d7d1c11")
	node := func(id ids.NodeID, kind string, component, level int) plan.Node {
		return plan.Node{ID: id, Type: kind, Pool: "default", Component: component, Level: level,
			Parameters: []byte("{}"), Timeout: 30 * time.Second, Retry: defaultRetry(), Delivery: plan.AtLeastOnce, Join: plan.AllSuccess, Aggregate: plan.AggregateList}
	}
	late, a, lone, b := node("late", "log", 0, 3), node("a", "http", 0, 1), node("lone", "delay", 1, 1), node("b", "log", 0, 2)
	late.Join = plan.AllDone
	late.Inputs = []plan.Input{{Source: "a", SourceHandle: "x", TargetHandle: "p"}, {Source: "b", SourceHandle: "default", TargetHandle: "default"}, {Source: "a", SourceHandle: "x", TargetHandle: "q"}}
	a.Parameters, a.Timeout = []byte(`{"url":"x"}`), 5*time.Second
	a.Successors = []plan.Successor{
		{Target: "late", InDegree: 3, Edges: []plan.Edge{{SourceHandle: "x", When: "value > 1"}, {SourceHandle: "x"}}},
		{Target: "b", InDegree: 1, Plain: true, Edges: []plan.Edge{{SourceHandle: "default"}}, Direct: "log"},
	}
	b.Inputs = []plan.Input{{Source: "a", SourceHandle: "default", TargetHandle: "default"}}
	far, order := node("far", "log", 0, 3), node("order", "http", 0, 3)
	far.Pool, order.Delivery, order.Parameters = "other", plan.AtMostOnce, []byte(`{"url":"x"}`)
	far.Inputs = []plan.Input{{Source: "b", SourceHandle: "default", TargetHandle: "default"}}
	order.Inputs = far.Inputs
	plain := []plan.Edge{{SourceHandle: "default"}}
	b.Successors = []plan.Successor{{Target: "far", InDegree: 1, Plain: true, Edges: plain}, {Target: "order", InDegree: 1, Plain: true, Edges: plain},
		{Target: "late", InDegree: 3, Edges: plain}}
	want := &plan.Plan{Flow: "f", UID: uid, Revision: 7, OnFailure: plan.Continue, CycleTimeout: 30 * time.Second, Components: 2, Nodes: []plan.Node{late, a, lone, b, far, order}}
	got := f.Compile(uid, 7)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(plan.Plan{})); diff != "" {
		t.Error(diff)
	}
	if n := got.Node("b"); n == nil || n.ID != "b" {
		t.Errorf("Node(b) = %v", n)
	}
}

// A plan holds every edge once on either side, whatever the graph.
func TestPlanHoldsEveryEdge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, arcs := drawArcs(t, true)
		body := `{"flow_id":"f","interval":"1m","nodes":[`
		for i := range n {
			body += fmt.Sprintf(`{"id":"n%d","type":"log"},`, i)
		}
		body = body[:len(body)-1] + `],"edges":[`
		for i, a := range arcs {
			body += fmt.Sprintf(`{"source":"n%d","target":"n%d","target_handle":"h%d"},`, a.from, a.to, i)
		}
		if len(arcs) > 0 {
			body = body[:len(body)-1]
		}
		f, err := Parse([]byte(body+`]}`), Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := f.Compile(uuid.Nil, 1)
		count := map[string]int{}
		for _, a := range arcs {
			count[fmt.Sprintf("n%d>n%d", a.from, a.to)]++
		}
		out, in := map[string]int{}, map[string]int{}
		for i := range p.Nodes {
			node := &p.Nodes[i]
			for _, s := range node.Successors {
				out[string(node.ID+">"+s.Target)] += len(s.Edges)
				if s.InDegree != len(p.Node(s.Target).Inputs) {
					t.Fatalf("%s -> %s: in-degree %d, %d inputs", node.ID, s.Target, s.InDegree, len(p.Node(s.Target).Inputs))
				}
			}
			for _, input := range node.Inputs {
				in[string(input.Source+">"+node.ID)]++
			}
		}
		if diff := cmp.Diff(count, out) + cmp.Diff(count, in); diff != "" {
			t.Fatal(diff)
		}
	})
}
