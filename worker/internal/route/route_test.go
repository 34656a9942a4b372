package route_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/partition"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/worker/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, m *miniredis.Miniredis, partitions int) *ledger.Set {
	t.Helper()
	s, err := ledger.OpenSet(t.Context(), ledger.Config{URL: "redis://" + m.Addr()}, partitions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A worker that starts before any coordinator reports itself in every partition as soon
// as it hears how many there are.
func TestAWorkerIsKnownInEveryPartition(t *testing.T) {
	m := miniredis.RunT(t)
	l := route.New(open(t, m, 0))
	w := ledger.Worker{ID: "w", Pool: "default", StartedAt: time.Now()}
	coordinator := open(t, m, 4)
	if err := l.BeatWorker(t.Context(), w, time.Minute); err != nil {
		t.Fatal(err)
	}
	for p, in := range coordinator.All() {
		if ws, err := in.Workers(t.Context()); err != nil || len(ws) != 0 {
			t.Fatalf("partition %d has %v before the worker heard of it, %v", p, ws, err)
		}
	}
	if err := coordinator.Tell(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.BeatWorker(t.Context(), w, time.Minute); err != nil {
		t.Fatal(err)
	}
	for p, in := range coordinator.All() {
		if ws, err := in.Workers(t.Context()); err != nil || len(ws) != 1 {
			t.Errorf("partition %d has workers %v, %v", p, ws, err)
		}
	}
	if err := l.LeaveWorker(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	for p, in := range coordinator.All() {
		if ws, err := in.Workers(t.Context()); err != nil || len(ws) != 0 {
			t.Errorf("partition %d has workers %v after they left, %v", p, ws, err)
		}
	}
}

func TestCoordinatorsAreFoundWhereTheyAre(t *testing.T) {
	m := miniredis.RunT(t)
	set := open(t, m, 4)
	if err := set.All()[2].BeatCoordinator(t.Context(), ledger.Coordinator{ID: "c", URL: "http://c"}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if found, err := route.New(set).Coordinators(t.Context()); err != nil || len(found) != 1 {
		t.Errorf("found %v, %v", found, err)
	}
}

// Each flow's claim is granted, renewed and reported in its own partition.
func TestAClaimIsInItsFlowsPartition(t *testing.T) {
	m := miniredis.RunT(t)
	set := open(t, m, 4)
	l := route.New(set)
	seen := map[int]bool{}
	for _, f := range []ids.FlowID{"a", "b", "flow-1", "btc-momentum", "x2", "x3", "x4", "x5", "x6"} {
		own := set.All()[partition.Of(f, 4)]
		seen[l.Partition(f)] = true
		p := (&plan.Plan{Flow: f, UID: uuid.New(), Revision: 1, OnFailure: plan.Continue, Components: 1, Nodes: []plan.Node{{ID: "n", Type: "delay",
			Pool: plan.DefaultPool, Join: plan.AllSuccess, Aggregate: plan.AggregateList, Timeout: time.Minute, Delivery: plan.AtLeastOnce}}}).Seal()
		if err := own.WritePlan(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := own.ActivateFlow(t.Context(), ledger.Activation{Flow: f, UID: p.UID, Revision: 1, Document: []byte("{}"), Anchor: time.UnixMilli(1000)}); err != nil {
			t.Fatal(err)
		}
		c, err := own.StartCycle(t.Context(), 0, ledger.Start{Plan: p, TriggerKey: "k", Occasion: ids.Occasion(p.UID, "k")})
		if err != nil {
			t.Fatal(err)
		}
		a := ids.Attempt{Flow: f, Cycle: c.Cycle, UUID: c.UUID, Node: "n", N: 1}
		claim, refusal, err := l.Claim(t.Context(), ledger.ClaimRequest{Attempt: a, Token: uuid.New(), Worker: "w", Lease: time.Minute})
		if err != nil || refusal != ledger.Granted {
			t.Fatalf("claim in %s: %v, %v", f, refusal, err)
		}
		beats, err := l.Heartbeat(t.Context(), "w", time.Minute, []ledger.HeldClaim{{Attempt: a, Token: claim.Token}})
		if err != nil || len(beats) != 1 || beats[0] != ledger.Renewed {
			t.Errorf("heartbeat in %s: %v, %v", f, beats, err)
		}
		if _, err := l.CompleteNext(t.Context(), ledger.Completion{Attempt: a, Token: claim.Token, Plan: &claim.Node, Status: task.Succeeded}, ledger.Next{}); err != nil {
			t.Errorf("complete in %s: %v", f, err)
		}
	}
	if len(seen) != 4 {
		t.Errorf("flows of %d partitions were tried", len(seen))
	}
	if _, err := l.Heartbeat(t.Context(), "w", time.Minute, nil); err != nil {
		t.Error(err)
	}
}
