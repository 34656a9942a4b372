package ledger_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// TestWhatIsNotPlainKeepsItsPlace: of two completions at the same time the first is of a suspect, which
// the script for several leaves alone. The second still lets their successor go, and may claim it.
func TestWhatIsNotPlainKeepsItsPlace(t *testing.T) {
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			ctx, l := t.Context(), start(t).open(t)
			check := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			p := &plan.Plan{Flow: "join", UID: uuid.New(), Revision: 1, OnFailure: plan.FailCycle, Components: 1}
			for _, id := range []ids.NodeID{"a", "b", "last"} {
				n := plan.Node{ID: id, Type: "noop", Pool: plan.DefaultPool, Join: plan.AllSuccess, Aggregate: plan.AggregateList, Timeout: time.Minute, Delivery: plan.AtLeastOnce}
				if id == "last" {
					n.Inputs = []plan.Input{{Source: "a", SourceHandle: "data"}, {Source: "b", SourceHandle: "data"}}
				} else {
					n.Successors = []plan.Successor{{Target: "last", InDegree: 2, Plain: true, Edges: []plan.Edge{{SourceHandle: "data"}}}}
				}
				p.Nodes = append(p.Nodes, n)
			}
			p.Seal()
			check(l.WritePlan(ctx, p))
			check(l.ActivateFlow(ctx, ledger.Activation{Flow: p.Flow, UID: p.UID, Revision: 1, Document: []byte("{}"), Anchor: time.UnixMilli(1000)}))
			c, err := l.StartCycle(ctx, 0, ledger.Start{Plan: p, TriggerKey: "k", Occasion: ids.Occasion(p.UID, "k"), MaxActive: 1})
			check(err)
			var done [2]ledger.Completion
			for i, id := range []ids.NodeID{"a", "b"} {
				at := ids.Attempt{Flow: p.Flow, Cycle: c.Cycle, UUID: c.UUID, Node: id, N: 1}
				q, _, err := l.Claim(ctx, ledger.ClaimRequest{Attempt: at, Token: uuid.New(), Worker: "w", Lease: time.Minute})
				check(err)
				done[i] = ledger.Completion{Attempt: at, Token: q.Token, Plan: &p.Nodes[i], Status: task.Succeeded,
					Outputs: map[string]json.RawMessage{"data": json.RawMessage("1")}, Decided: ledger.AllEdges(ledger.Live)}
			}
			_, why, err := l.Claim(ctx, ledger.ClaimRequest{Attempt: done[0].Attempt, Token: uuid.New(), Worker: "v", Lease: time.Minute, Redelivered: true})
			if check(err); why != ledger.Suspected {
				t.Fatalf("a claim of a redelivered message is answered %s", why)
			}
			var next [2][]ledger.Claim
			var errs [2]error
			complete := func(i int, nodes ...ids.NodeID) func() {
				return func() {
					next[i], errs[i] = l.CompleteNext(ctx, done[i], ledger.Next{Token: uuid.New(), Worker: "w", Lease: time.Minute, Nodes: nodes})
				}
			}
			l.Together(complete(0), complete(1, "last"))
			check(errs[0])
			check(errs[1])
			if next[0] != nil || next[1] == nil || next[1][0].Attempt.Node != "last" {
				t.Errorf("claimed with the completions: %v and %v", next[0], next[1])
			}
		})
	}
}
