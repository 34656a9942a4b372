package ledger_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// loose is a flow of n nodes that wait for nothing, in the ledger of its partition.
func loose(b *testing.B, s *ledger.Set, f ids.FlowID, n int) *plan.Plan {
	b.Helper()
	p := &plan.Plan{Flow: f, UID: uuid.New(), Revision: 1, OnFailure: plan.FailCycle, Components: n}
	for i := range n {
		p.Nodes = append(p.Nodes, plan.Node{ID: ids.NodeID(fmt.Sprintf("node-%d", i)), Type: "delay", Component: i, Level: 1, Pool: plan.DefaultPool,
			Join: plan.AllSuccess, Aggregate: plan.AggregateList, Timeout: time.Minute, Delivery: plan.AtLeastOnce})
	}
	p.Seal()
	l := s.Of(f)
	if err := l.WritePlan(b.Context(), p); err != nil {
		b.Fatal(err)
	}
	if err := l.ActivateFlow(b.Context(), ledger.Activation{Flow: f, UID: p.UID, Revision: 1, Document: []byte("{}"), Anchor: time.UnixMilli(1000)}); err != nil {
		b.Fatal(err)
	}
	return p
}

// cycle runs a cycle of loose nodes: a script to start it, two for each node.
func cycle(ctx context.Context, l *ledger.Ledger, p *plan.Plan) (int64, error) {
	key := uuid.NewString()
	c, err := l.StartCycle(ctx, 0, ledger.Start{Plan: p, TriggerKey: key, Occasion: ids.Occasion(p.UID, key), Overlap: true})
	if err != nil {
		return 0, err
	}
	for i := range p.Nodes {
		a := ids.Attempt{Flow: p.Flow, Cycle: c.Cycle, UUID: c.UUID, Node: p.Nodes[i].ID, N: 1}
		q, refusal, err := l.Claim(ctx, ledger.ClaimRequest{Attempt: a, Token: uuid.New(), Worker: "w", Lease: time.Minute})
		if err != nil || refusal != ledger.Granted {
			return 0, fmt.Errorf("claim: %v, %w", refusal, err)
		}
		err = l.Complete(ctx, ledger.Completion{Attempt: a, Token: q.Token, Plan: &p.Nodes[i], Status: task.Succeeded,
			Outputs: map[string]json.RawMessage{"data": json.RawMessage(`{"price": 64123.5, "volume": 12}`)}})
		if err != nil {
			return 0, err
		}
	}
	return c.Cycle, nil
}

func openPartitions(b *testing.B, n int) *ledger.Set {
	b.Helper()
	prefix := "bench-" + uuid.NewString()
	if n == 1 {
		prefix += "{0}"
	}
	s, err := ledger.OpenSet(b.Context(), ledger.Config{URL: real(b).url, Prefix: prefix, Connections: 64}, n)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	for _, l := range s.All() {
		if _, err := l.Takeover(b.Context(), 1); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// BenchmarkPartitions is what the ledgers of partitions take together, in nodes of
// flows that are spread over them. It grows with the servers that have them, not with
// their number.
func BenchmarkPartitions(b *testing.B) {
	for _, n := range []int{1, 2, 4} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := openPartitions(b, n)
			var plans []*plan.Plan
			for i := range 64 {
				plans = append(plans, loose(b, s, ids.FlowID(fmt.Sprintf("flow-%d", i)), 10))
			}
			var next atomic.Int64
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p := plans[next.Add(1)%int64(len(plans))]
					if _, err := cycle(context.WithoutCancel(b.Context()), s.Of(p.Flow), p); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(10*b.N)/b.Elapsed().Seconds(), "nodes/s")
		})
	}
}

// BenchmarkCycleBytes is what cycles of ten nodes leave in Redis: whole, with the
// journal that they wrote, and archived.
func BenchmarkCycleBytes(b *testing.B) {
	s := openPartitions(b, 1)
	l := s.All()[0]
	p := loose(b, s, "flow", 10)
	var nodes []ids.NodeID
	for i := range p.Nodes {
		nodes = append(nodes, p.Nodes[i].ID)
	}
	used := func() float64 {
		n, _, err := l.Memory(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		return float64(n)
	}
	before := used()
	var made []int64
	for range b.N {
		n, err := cycle(b.Context(), l, p)
		if err != nil {
			b.Fatal(err)
		}
		made = append(made, n)
	}
	whole := used()
	for _, n := range made {
		c, err := l.Cycle(b.Context(), p.Flow, n)
		if err != nil {
			b.Fatal(err)
		}
		if err := l.ArchiveCycles(b.Context(), 1, []ledger.CycleState{c}, [][]ids.NodeID{nodes}); err != nil {
			b.Fatal(err)
		}
	}
	archived := used()
	b.ReportMetric((whole-before)/float64(b.N), "B/whole")
	b.ReportMetric((whole-archived)/float64(b.N), "B/freed")
}
