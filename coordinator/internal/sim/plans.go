package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

var bg = context.Background()

// shapes are the edges of small flows; "" draws some.
var shapes = [][][2]int{
	{{0, 1}, {1, 2}},                         // chain
	{{0, 1}, {0, 2}, {1, 3}, {2, 3}},         // diamond
	{{0, 2}, {1, 2}},                         // join
	{{0, 1}, {0, 2}, {0, 3}, {0, 4}},         // fan
	{{0, 1}, {1, 2}, {0, 3}, {3, 4}, {2, 4}}, // two branches of different length
	{{0, 1}},
	{},
}

// drawPlan makes a flow of up to six nodes: joins of every rule, retries, nodes
// that may start once, either policy for failures.
func drawPlan(rng *rand.Rand) *plan.Plan {
	edges := shapes[rng.IntN(len(shapes))]
	count := 1
	for _, e := range edges {
		count = max(count, e[0]+1, e[1]+1)
	}
	if rng.IntN(4) == 0 {
		count = 2 + rng.IntN(5)
		edges = nil
		for to := 1; to < count; to++ {
			for from := range to {
				if rng.IntN(3) == 0 {
					edges = append(edges, [2]int{from, to})
				}
			}
		}
	}
	p := &plan.Plan{Flow: flow, UID: uuid.NewSHA1(uuid.Nil, []byte("flow")), Revision: 1, OnFailure: plan.FailCycle}
	if rng.IntN(3) == 0 {
		p.OnFailure = plan.Continue
	}
	if rng.IntN(6) == 0 {
		p.CycleTimeout = 20 * time.Second
	}
	joins := []string{plan.AllSuccess, plan.AllSuccess, plan.AllSuccess, plan.AllDone, plan.OneSuccess, plan.NoneFailed}
	once := rng.IntN(2) == 0
	for i := range count {
		n := plan.Node{ID: ids.NodeID(fmt.Sprintf("n%d", i)), Type: "noop", Pool: plan.DefaultPool, Delivery: plan.AtLeastOnce,
			Join: joins[rng.IntN(len(joins))], Component: i}
		if rng.IntN(2) == 0 {
			n.Retry = plan.Retry{Enabled: true, MaxRetries: 1 + rng.IntN(2), Backoff: 300 * time.Millisecond, MaxBackoff: time.Second}
		}
		if once && rng.IntN(2) == 0 {
			n.Delivery = plan.AtMostOnce
		}
		p.Nodes = append(p.Nodes, n)
	}
	return connect(p, edges)
}

// connect adds edges and what follows from them.
func connect(p *plan.Plan, edges [][2]int) *plan.Plan {
	degree := map[int]int{}
	for _, e := range edges {
		degree[e[1]]++
	}
	for _, e := range edges {
		from, to := &p.Nodes[e[0]], &p.Nodes[e[1]]
		to.Inputs = append(to.Inputs, plan.Input{Source: from.ID, SourceHandle: "out", TargetHandle: "in"})
		next := plan.Successor{Target: to.ID, InDegree: degree[e[1]], Plain: to.Join == plan.AllSuccess, Edges: []plan.Edge{{SourceHandle: "out"}}}
		if next.Plain && to.Delivery != plan.AtMostOnce {
			next.Direct = to.Type
		}
		from.Successors = append(from.Successors, next)
		low, high := min(from.Component, to.Component), max(from.Component, to.Component)
		for i := range p.Nodes {
			if p.Nodes[i].Component == high {
				p.Nodes[i].Component = low
			}
		}
	}
	return p.Seal()
}

// planSource finds the plan of a cycle, as package plans does.
type planSource struct{ port }

func (s planSource) OfCycle(ctx context.Context, a ids.Attempt) (*plan.Plan, error) {
	id, _, _ := s.w.ledger.PeekCycle(a.Flow, a.Cycle) // a cache answers mostly: no call
	if id != a.UUID.String() {
		return nil, fmt.Errorf("cycle %d: %w", a.Cycle, ledger.ErrGone)
	}
	return s.w.plan, nil
}
