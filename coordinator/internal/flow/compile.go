package flow

import (
	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/plan"
)

// compile writes a flow out as a plan. Successors stand in the order of each
// node's first edge to them, inputs in the order of the document's edges.
func compile(f *Flow, uid uuid.UUID, revision int64) *plan.Plan {
	g := f.graph
	p := &plan.Plan{Flow: f.ID, UID: uid, Revision: revision, OnFailure: f.OnFailure, CycleTimeout: f.CycleTimeout,
		Components: g.components, Nodes: make([]plan.Node, len(f.Nodes))}
	for i := range f.Nodes {
		n := &f.Nodes[i]
		p.Nodes[i] = plan.Node{ID: n.ID, Type: n.Type, Pool: n.Pool,
			Component: int(g.component[i]), Level: int(g.level[i]), Parameters: n.Parameters,
			Timeout: n.Timeout, Retry: n.Retry, Delivery: n.Delivery, Join: n.Join, Aggregate: n.Aggregate}
		if d := g.inDegree[i]; d > 0 {
			p.Nodes[i].Inputs = make([]plan.Input, 0, d)
		}
	}
	for i := range f.Edges {
		e := &f.Edges[i]
		target := &p.Nodes[g.arcs[i].to]
		target.Inputs = append(target.Inputs, plan.Input{Source: e.Source, SourceHandle: e.SourceHandle, TargetHandle: e.TargetHandle})
	}
	// at[t] is one more than the place of target t among the successors of the
	// node in hand, when by[t] is that node.
	at, by := make([]int32, len(f.Nodes)), make([]int32, len(f.Nodes))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		for _, e := range g.outgoing(int32(i)) {
			to := g.arcs[e].to
			if at[to] == 0 || by[to] != int32(i) {
				target := &f.Nodes[to]
				s := plan.Successor{Target: target.ID, InDegree: int(g.inDegree[to]), Plain: target.Join == plan.AllSuccess}
				if s.Plain && target.Pool == f.Nodes[i].Pool && target.Delivery != plan.AtMostOnce {
					s.Direct = target.Type
				}
				n.Successors = append(n.Successors, s)
				at[to], by[to] = int32(len(n.Successors)), int32(i)
			}
			s := &n.Successors[at[to]-1]
			s.Edges = append(s.Edges, plan.Edge{SourceHandle: f.Edges[e].SourceHandle, When: f.Edges[e].When})
		}
	}
	return p.Seal()
}
