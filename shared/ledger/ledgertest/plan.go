package ledgertest

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

// option changes a plan before its edges are compiled.
type option func(*plan.Plan)

func onFailure(policy string) option { return func(p *plan.Plan) { p.OnFailure = policy } }

func timeout(d time.Duration) option { return func(p *plan.Plan) { p.CycleTimeout = d } }

func uid(u uuid.UUID) option { return func(p *plan.Plan) { p.UID = u } }

func join(node ids.NodeID, rule string) option {
	return func(p *plan.Plan) { at(p, node).Join = rule }
}

func atMostOnce(node ids.NodeID) option {
	return func(p *plan.Plan) { at(p, node).Delivery = plan.AtMostOnce }
}

func at(p *plan.Plan, id ids.NodeID) *plan.Node {
	for i := range p.Nodes {
		if p.Nodes[i].ID == id {
			return &p.Nodes[i]
		}
	}
	return nil
}

// build compiles a plan from words: "a" names a node, "a>b" an edge of handle
// out, "a.h>b" one of handle h. Nodes appear in the order they are named first.
func build(flow ids.FlowID, revision int64, words string, opts ...option) *plan.Plan {
	type edge struct {
		from, to ids.NodeID
		handle   string
	}
	p := &plan.Plan{Flow: flow, UID: uuid.NewSHA1(uuid.Nil, []byte(flow)), Revision: revision, OnFailure: plan.FailCycle}
	index := map[ids.NodeID]int{}
	add := func(id ids.NodeID) {
		if _, ok := index[id]; !ok {
			index[id] = len(p.Nodes)
			p.Nodes = append(p.Nodes, plan.Node{ID: id, Type: "noop", Pool: plan.DefaultPool, Level: 1, Timeout: time.Minute,
				Parameters: json.RawMessage(`{"k":1}`), Delivery: plan.AtLeastOnce, Join: plan.AllSuccess, Aggregate: plan.AggregateList})
		}
	}
	var edges []edge
	for w := range strings.FieldsSeq(words) {
		from, to, isEdge := strings.Cut(w, ">")
		from, handle, named := strings.Cut(from, ".")
		if !named {
			handle = "out"
		}
		add(ids.NodeID(from))
		if isEdge {
			add(ids.NodeID(to))
			edges = append(edges, edge{ids.NodeID(from), ids.NodeID(to), handle})
		}
	}
	for _, o := range opts {
		o(p)
	}
	degree := map[ids.NodeID]int{}
	parent := make([]int, len(p.Nodes))
	for i := range parent {
		parent[i] = i
	}
	var root func(int) int
	root = func(i int) int {
		if parent[i] != i {
			parent[i] = root(parent[i])
		}
		return parent[i]
	}
	for _, e := range edges {
		degree[e.to]++
		a, b := root(index[e.from]), root(index[e.to])
		parent[max(a, b)] = min(a, b)
	}
	slot := map[[2]ids.NodeID]int{}
	for _, e := range edges {
		n, target := &p.Nodes[index[e.from]], &p.Nodes[index[e.to]]
		target.Inputs = append(target.Inputs, plan.Input{Source: e.from, SourceHandle: e.handle, TargetHandle: e.handle})
		pair := [2]ids.NodeID{e.from, e.to}
		i, ok := slot[pair]
		if !ok {
			i = len(n.Successors)
			slot[pair] = i
			n.Successors = append(n.Successors, plan.Successor{Target: e.to, InDegree: degree[e.to], Plain: target.Join == plan.AllSuccess})
		}
		n.Successors[i].Edges = append(n.Successors[i].Edges, plan.Edge{SourceHandle: e.handle})
	}
	number := map[int]int{}
	for i := range p.Nodes {
		r := root(i)
		if _, ok := number[r]; !ok {
			number[r] = len(number)
		}
		p.Nodes[i].Component = number[r]
	}
	p.Components = len(number)
	return p.Seal()
}
