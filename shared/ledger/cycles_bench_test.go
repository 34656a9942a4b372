package ledger_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// BenchmarkCycles is what each part of the life of a small cycle takes of the server's
// processor: 200 flows of a → b, c → d, whose b, c and d go direct, with 50 callers at a time. One
// operation is one cycle.
func BenchmarkCycles(b *testing.B) {
	l, _ := real(b).openRaw(b)
	const flows, callers, gathered = 200, 50, 10
	var old [flows][]int64 // cycles that are to be archived and removed, some at a time, as retention does
	var plans [flows]*plan.Plan
	for f := range plans {
		plans[f] = diamond(ids.FlowID("flow-" + strconv.Itoa(f)))
		must(b, l.WritePlan(b.Context(), plans[f]))
		must(b, l.ActivateFlow(b.Context(), ledger.Activation{Flow: plans[f].Flow, UID: plans[f].UID, Revision: 1, Document: []byte("{}"), Anchor: time.UnixMilli(1000)}))
	}
	took, order := map[string]*cpu{}, []string{}
	part := func(name string, do func()) {
		if took[name] == nil {
			took[name] = &cpu{}
			order = append(order, name)
		}
		before := spent(b, l)
		do()
		took[name].add(before, spent(b, l))
	}
	rounds, ctx := (b.N+flows-1)/flows, context.Background()
	b.ResetTimer()
	for round := range rounds {
		var begun [flows]ledger.Started
		claims := map[string]*[flows]*ledger.Claim{"a": {}, "b": {}, "c": {}, "d": {}}
		claim := func(node ids.NodeID) func() {
			return func() {
				together(callers, flows, func(f int) {
					a := ids.Attempt{Flow: plans[f].Flow, Cycle: begun[f].Cycle, UUID: begun[f].UUID, Node: node, N: 1}
					c, refusal, err := l.Claim(ctx, ledger.ClaimRequest{Attempt: a, Token: uuid.New(), Worker: "worker-1", Lease: time.Minute})
					if err != nil || refusal != ledger.Granted {
						b.Error(refusal, err)
						return
					}
					claims[string(node)][f] = &c
				})
			}
		}
		complete := func(node ids.NodeID, next ...ids.NodeID) func() {
			return func() {
				together(callers, flows, func(f int) {
					c := claims[string(node)][f]
					a := ids.Attempt{Flow: plans[f].Flow, Cycle: begun[f].Cycle, UUID: begun[f].UUID, Node: node, N: 1}
					done := ledger.Completion{Attempt: a, Token: c.Token, Plan: plans[f].Node(node), Status: task.Succeeded,
						Outputs: map[string]json.RawMessage{"data": json.RawMessage(`{"price": 64123.5}`)}, Decided: ledger.AllEdges(ledger.Live)}
					got, err := l.CompleteNext(ctx, done, ledger.Next{Token: uuid.New(), Worker: "worker-1", Lease: time.Minute, Nodes: next, Most: len(next)})
					if err != nil || len(got) != len(next) {
						b.Error(got, err)
						return
					}
					for i := range got {
						claims[string(next[i])][f] = &got[i]
					}
				})
			}
		}
		var ended []ledger.Entry
		offers := func() {
			entries, err := l.Outbox(ctx, "", 2000)
			must(b, err)
			var ready []ledger.Entry
			for _, e := range entries {
				switch e.Kind {
				case ledger.KindReady:
					ready = append(ready, e)
				case ledger.KindClosed:
					ended = append(ended, e)
				}
			}
			must(b, l.Dispatched(ctx, 1, ready))
		}
		part("start", func() {
			together(callers, flows, func(f int) {
				key := uuid.NewString()
				c, err := l.StartCycle(ctx, 0, ledger.Start{Plan: plans[f], TriggerKey: key, Occasion: ids.Occasion(plans[f].UID, key)})
				if err != nil {
					b.Error(err)
				}
				begun[f] = c
			})
		})
		part("dispatched", offers)
		part("claim", claim("a"))
		part("complete", complete("a", "b", "c"))
		part("complete", complete("b"))
		part("complete", complete("c", "d"))
		part("last", complete("d"))
		part("told", func() { offers(); must(b, l.Told(ctx, 1, ended...)) })
		for f := range flows {
			old[f] = append(old[f], begun[f].Cycle)
		}
		if round%gathered < gathered-1 && round < rounds-1 {
			continue
		}
		part("archive", func() {
			for f := range flows {
				cycles, err := l.CyclesAt(ctx, plans[f].Flow, old[f])
				must(b, err)
				must(b, l.ArchiveCycles(ctx, 1, cycles, slices.Repeat([][]ids.NodeID{{"a", "b", "c", "d"}}, len(cycles))))
			}
		})
		part("delete", func() {
			for f := range flows {
				others, err := l.DeleteArchived(ctx, 1, plans[f].Flow, old[f])
				if err != nil || len(others) > 0 {
					b.Fatal(others, err)
				}
				old[f] = nil
			}
		})
	}
	for _, name := range order {
		b.ReportMetric(took[name].server/float64(rounds*flows), "server-µs/"+name)
		b.ReportMetric(took[name].client/float64(rounds*flows), "client-µs/"+name)
	}
}

func diamond(flow ids.FlowID) *plan.Plan {
	p := &plan.Plan{Flow: flow, UID: uuid.New(), Revision: 1, OnFailure: plan.FailCycle, Components: 1}
	edge := []plan.Edge{{SourceHandle: "data"}}
	in := func(sources ...ids.NodeID) (all []plan.Input) {
		for _, s := range sources {
			all = append(all, plan.Input{Source: s, SourceHandle: "data"})
		}
		return all
	}
	to := func(target ids.NodeID, degree int) plan.Successor {
		return plan.Successor{Target: target, InDegree: degree, Plain: true, Edges: edge}
	}
	node := func(id ids.NodeID, inputs []plan.Input, next ...plan.Successor) plan.Node {
		return plan.Node{ID: id, Type: "noop", Pool: plan.DefaultPool, Join: plan.AllSuccess, Aggregate: plan.AggregateList, Timeout: time.Minute,
			Delivery: plan.AtLeastOnce, Inputs: inputs, Successors: next}
	}
	p.Nodes = []plan.Node{node("a", nil, to("b", 1), to("c", 1)), node("b", in("a"), to("d", 2)), node("c", in("a"), to("d", 2)), node("d", in("b", "c"))}
	p.Seal()
	return p
}
