package audit_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/tradingflow/weather-station/coordinator/audit"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/ledger/ledgertest"
	"github.com/tradingflow/weather-station/shared/plan"
)

// server is an embedded Redis with a ledger on it.
func server(t testing.TB) (*miniredis.Miniredis, *ledger.Ledger) {
	t.Helper()
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(context.Background(), ledger.Config{URL: "redis://" + m.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	return m, l
}

// source reads a ledger. The suites below retry by rules of their own, so the
// plans shown to the audit allow what they do.
type source struct{ *ledger.Ledger }

func (s source) Plan(ctx context.Context, f ids.FlowID, n int64) (*plan.Plan, error) {
	p, err := s.ReadPlan(ctx, f, n)
	if errors.Is(err, ledger.ErrGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range p.Nodes {
		p.Nodes[i].Delivery, p.Nodes[i].Retry = plan.AtLeastOnce, plan.Retry{Enabled: true, MaxRetries: 2}
	}
	return p, nil
}

func (s source) Grid(ids.FlowID) (audit.Grid, bool) { return audit.Grid{}, false }

// Whatever two leaders and any workers do, late and twice, the scripts let
// nothing through that an audit finds.
func TestWhatTheScriptsLetThroughIsClean(t *testing.T) {
	var records, cycles int64
	ledgertest.Random(t, 20, func(t *testing.T) (ledgertest.Ledger, func()) {
		m, l := server(t)
		return l, func() {
			p, err := audit.Run(t.Context(), source{l}, l, audit.Range{})
			if err != nil {
				t.Error(err)
			}
			if !p.Clean {
				t.Errorf("%d violations, the first: %+v", p.Broken, p.Violations[0])
			}
			records, cycles = records+p.Records, cycles+p.Cycles
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			m.Close()
		}
	})
	if records == 0 || cycles == 0 {
		t.Errorf("%d records of %d cycles", records, cycles)
	}
	t.Logf("%d records, %d whole cycles", records, cycles)
}

// cluster runs a chain of two nodes n times, with a hand-back, a retry and a
// loss among them, and a slot of each cycle.
func cluster(t testing.TB, l *ledger.Ledger, rounds int) {
	t.Helper()
	ctx := t.Context()
	const epoch = 5
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	edge := []plan.Successor{{Target: "b", InDegree: 1, Plain: true, Edges: []plan.Edge{{SourceHandle: "out"}}}}
	p := (&plan.Plan{Flow: "f", Revision: 1, OnFailure: plan.FailCycle, Components: 1, Nodes: []plan.Node{
		{ID: "a", Join: plan.AllSuccess, Delivery: plan.AtLeastOnce, Successors: edge},
		{ID: "b", Join: plan.AllSuccess, Delivery: plan.AtLeastOnce, Inputs: []plan.Input{{Source: "a", SourceHandle: "out"}}},
	}}).Seal()
	_, err := l.Takeover(ctx, epoch)
	ok(err)
	ok(l.WritePlan(ctx, p))
	ok(l.ActivateFlow(ctx, ledger.Activation{Flow: "f", Revision: 1, Document: []byte("{}")}))
	claim := func(a ids.Attempt) ledger.Claim {
		t.Helper()
		c, refusal, err := l.Claim(ctx, ledger.ClaimRequest{Attempt: a, Token: ids.Occasion(a.UUID, a.String()), Worker: "w", Lease: time.Minute})
		ok(err)
		if refusal != ledger.Granted {
			t.Fatalf("claim %s: %s", a, refusal)
		}
		return c
	}
	complete := func(c ledger.Claim) {
		t.Helper()
		ok(l.Complete(ctx, ledger.Completion{Attempt: c.Attempt, Token: c.Token, Plan: p.Node(c.Attempt.Node), Status: "succeeded", Decided: ledger.AllEdges(ledger.Live)}))
	}
	for i := range rounds {
		slot := time.UnixMilli(int64(i+1) * 1000)
		s, err := l.StartCycle(ctx, epoch, ledger.Start{Plan: p, Slot: slot, Occasion: ids.Occasion(p.UID, slot.String()), Overlap: true})
		ok(err)
		at := ids.Attempt{Flow: "f", Cycle: s.Cycle, UUID: s.UUID, Node: "a", N: 1}
		ok(l.Release(ctx, at, claim(at).Token, true))
		at.N++
		lost := claim(at)
		_, err = l.Expire(ctx, epoch, ledger.Expiry{Attempt: at, Token: lost.Token, Plan: p.Node("a"), OnFailure: plan.FailCycle, MaxLost: 3, Cause: "worker gone"})
		ok(err)
		at.N++
		complete(claim(at))
		offers, err := l.Outbox(ctx, "", 100)
		ok(err)
		ok(l.Dispatched(ctx, epoch, slices.DeleteFunc(offers, func(e ledger.Entry) bool { return e.Kind != ledger.KindReady })))
		complete(claim(ids.Attempt{Flow: "f", Cycle: s.Cycle, UUID: s.UUID, Node: "b", N: 1}))
	}
}

// gridSource has the grid of cluster.
type gridSource struct{ source }

func (gridSource) Grid(f ids.FlowID) (audit.Grid, bool) {
	return audit.Grid{Anchor: time.UnixMilli(1000), Interval: time.Second}, f == "f"
}

// What a ledger has written is clean; the same journal with any one record taken
// out is not, but for those that tell of nothing a rule needs.
func TestTheJournalOfALedgerMayNotBeTouched(t *testing.T) {
	m, l := server(t)
	defer m.Close()
	defer func() { _ = l.Close() }()
	cluster(t, l, 3)
	src := gridSource{source{l}}
	run := func() audit.Proof {
		t.Helper()
		p, err := audit.Run(t.Context(), src, l, audit.Range{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := run()
	if !p.Clean || p.Cycles != 3 || p.Open+p.Partial+p.Unplanned+p.Repairs+p.Restored != 0 {
		t.Fatalf("untouched: %+v", p)
	}
	for _, rule := range []string{audit.Slots, audit.Inputs, audit.Offers, audit.Claims, audit.Attempts, audit.Outcomes, audit.Holds, audit.Epochs, audit.Ends} {
		if p.Checked[rule] == 0 {
			t.Errorf("rule %s was not applied", rule)
		}
	}
	const key = "station:journal"
	entries, err := m.Stream(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(all []miniredis.StreamEntry) {
		t.Helper()
		m.Del(key)
		for _, e := range all {
			if _, err := m.XAdd(key, e.ID, e.Values); err != nil {
				t.Fatal(err)
			}
		}
	}
	silent := map[string]int{}
	for i, e := range entries {
		write(slices.Delete(slices.Clone(entries), i, i+1))
		if run().Clean {
			op, _, _ := strings.Cut(e.Values[1], "|")
			silent[op]++
		}
	}
	// What the very first records tell, nothing else does; a real server tells that
	// they were taken out.
	want := map[string]int{"takeover": 1, "flow_activated": 1}
	for op, n := range silent {
		if n != want[op] {
			t.Errorf("%d records of %s can be taken out unnoticed, want %d", n, op, want[op])
		}
	}
	if len(silent) != len(want) {
		t.Errorf("unnoticed: %v, want %v", silent, want)
	}
	write(entries)
	if p := run(); !p.Clean {
		t.Errorf("put back: %+v", p.Violations)
	}
}
