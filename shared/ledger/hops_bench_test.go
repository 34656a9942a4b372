package ledger_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// BenchmarkHops is what claims, completions and confirmed offers take of the client's and
// of the server's processor in a flow 1 → 1,000 → 1, by how many callers there are at a time. CPU
// time, unlike time, hardly minds what else the machine does.
func BenchmarkHops(b *testing.B) {
	for _, callers := range []int{1, 16, 50, 200} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			l, raw := real(b).openRaw(b)
			const width = 1000
			p := &plan.Plan{Flow: "fan", UID: uuid.New(), Revision: 1, OnFailure: plan.FailCycle, Components: 1}
			node := func(id string) plan.Node {
				return plan.Node{ID: ids.NodeID(id), Type: "noop", Pool: plan.DefaultPool, Join: plan.AllSuccess, Aggregate: plan.AggregateList,
					Timeout: time.Minute, Delivery: plan.AtLeastOnce}
			}
			first, last := node("first"), node("last")
			p.Nodes = append(p.Nodes, first)
			for i := range width {
				n := node("side-" + strconv.Itoa(i))
				n.Inputs = []plan.Input{{Source: "first", SourceHandle: "data"}}
				n.Successors = []plan.Successor{{Target: "last", InDegree: width, Plain: true, Edges: []plan.Edge{{SourceHandle: "data"}}}}
				p.Nodes = append(p.Nodes, n)
				p.Nodes[0].Successors = append(p.Nodes[0].Successors, plan.Successor{Target: n.ID, InDegree: 1, Plain: true, Edges: []plan.Edge{{SourceHandle: "data"}}})
			}
			p.Nodes = append(p.Nodes, last)
			p.Seal()
			must(b, l.WritePlan(b.Context(), p))
			must(b, l.ActivateFlow(b.Context(), ledger.Activation{Flow: p.Flow, UID: p.UID, Revision: 1, Document: []byte("{}"), Anchor: time.UnixMilli(1000)}))
			var took [3]cpu
			rounds := 0
			b.ResetTimer()
			for range (b.N + width - 1) / width {
				rounds++
				c := fanOut(b, l, p)
				at := func(i int) ids.Attempt {
					return ids.Attempt{Flow: p.Flow, Cycle: c.Cycle, UUID: c.UUID, Node: p.Nodes[i+1].ID, N: 1}
				}
				var tokens [width]uuid.UUID
				before := spent(b, l)
				entries, err := l.Outbox(b.Context(), "", 2000)
				must(b, err)
				must(b, l.Dispatched(b.Context(), 1, entries))
				took[0].add(before, spent(b, l))
				before = spent(b, l)
				together(callers, width, func(i int) {
					tokens[i] = uuid.New()
					_, refusal, err := l.Claim(context.Background(), ledger.ClaimRequest{Attempt: at(i), Token: tokens[i], Worker: "worker-1", Lease: time.Minute})
					if err != nil || refusal != ledger.Granted {
						b.Error(refusal, err)
					}
				})
				took[1].add(before, spent(b, l))
				before = spent(b, l)
				together(callers, width, func(i int) {
					err := l.Complete(context.Background(), ledger.Completion{Attempt: at(i), Token: tokens[i], Plan: &p.Nodes[i+1], Status: task.Succeeded,
						Outputs: map[string]json.RawMessage{"data": json.RawMessage(`{"price": 64123.5, "volume": 12}`)}, Decided: ledger.AllEdges(ledger.Live)})
					if err != nil {
						b.Error(err)
					}
				})
				took[2].add(before, spent(b, l))
				entries, err = l.Outbox(b.Context(), "", 2000)
				must(b, err)
				for _, e := range entries {
					must(b, l.Drop(b.Context(), 1, e.ID))
				}
			}
			for i, what := range []string{"dispatched", "claim", "complete"} {
				b.ReportMetric(took[i].client/float64(rounds*width), "client-µs/"+what)
				b.ReportMetric(took[i].server/float64(rounds*width), "server-µs/"+what)
			}
			_ = raw
		})
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// fanOut starts a cycle and ends its first node, so that all beside each other are ready.
func fanOut(b *testing.B, l *ledger.Ledger, p *plan.Plan) ledger.Started {
	b.Helper()
	key := uuid.NewString()
	c, err := l.StartCycle(b.Context(), 0, ledger.Start{Plan: p, TriggerKey: key, Occasion: ids.Occasion(p.UID, key), Overlap: true, MaxActive: 1 << 40})
	must(b, err)
	a := ids.Attempt{Flow: p.Flow, Cycle: c.Cycle, UUID: c.UUID, Node: p.Nodes[0].ID, N: 1}
	q, _, err := l.Claim(b.Context(), ledger.ClaimRequest{Attempt: a, Token: uuid.New(), Worker: "w", Lease: time.Minute})
	must(b, err)
	must(b, l.Complete(b.Context(), ledger.Completion{Attempt: a, Token: q.Token, Plan: &p.Nodes[0], Status: task.Succeeded, Decided: ledger.AllEdges(ledger.Live),
		Outputs: map[string]json.RawMessage{"data": json.RawMessage(`{"price": 64123.5}`)}}))
	entries, err := l.Outbox(b.Context(), "", 2000)
	must(b, err)
	for _, e := range entries {
		if e.Kind != ledger.KindSpread {
			if e.Node == a.Node {
				must(b, l.Drop(b.Context(), 1, e.ID))
			}
			continue
		}
		for from := ledger.Chunk; from < len(p.Nodes[0].Successors); {
			from, err = l.SpreadEdges(b.Context(), 1, e, &p.Nodes[0], from, ledger.AllEdges(ledger.Live))
			must(b, err)
		}
	}
	return c
}

// together calls f for 0 to n-1 from so many goroutines.
func together(callers, n int, f func(int)) {
	var wg sync.WaitGroup
	for g := range callers {
		wg.Go(func() {
			for i := g; i < n; i += callers {
				f(i)
			}
		})
	}
	wg.Wait()
}

// cpu is processor time in µs.
type cpu struct{ client, server float64 }

func (c *cpu) add(from, to cpu) {
	c.client += to.client - from.client
	c.server += to.server - from.server
}

func spent(b *testing.B, l *ledger.Ledger) cpu {
	b.Helper()
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	raw, err := l.Node(b.Context())
	must(b, err)
	info, err := raw.Info(b.Context(), "cpu").Result()
	must(b, err)
	c := cpu{client: float64(u.Utime.Nano()+u.Stime.Nano()) / 1000}
	for line := range strings.SplitSeq(info, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			s, err := strconv.ParseFloat(value, 64)
			must(b, err)
			c.server += s * 1e6
		}
	}
	return c
}
