package plans_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/plans"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

var (
	first, second = uuid.MustParse("11111111-1111-1111-1111-111111111111"), uuid.MustParse("22222222-2222-2222-2222-222222222222")
	slot          = time.UnixMilli(1_700_000_000_000)
)

type store struct {
	cycles map[int64]ledger.CycleState
	plans  map[int64]*plan.Plan
	reads  int
}

func (s *store) Cycle(_ context.Context, _ ids.FlowID, n int64) (ledger.CycleState, error) {
	s.reads++
	if c, ok := s.cycles[n]; ok {
		return c, nil
	}
	return ledger.CycleState{}, ledger.ErrGone
}

func (s *store) ReadPlan(_ context.Context, _ ids.FlowID, rev int64) (*plan.Plan, error) {
	s.reads++
	if p := s.plans[rev]; p != nil {
		return p, nil
	}
	return nil, ledger.ErrGone
}

type now struct{ f *registry.Flow }

func (n *now) Get(ids.FlowID) *registry.Flow { return n.f }

func compiled(uid uuid.UUID, rev int64) *plan.Plan {
	return (&plan.Plan{Flow: "f", UID: uid, Revision: rev, Nodes: []plan.Node{{ID: "a"}}}).Seal()
}

func flow(uid uuid.UUID, rev int64) *registry.Flow {
	f, err := registry.Build(catalog.Record{Flow: "f", UID: uid, Revision: rev,
		Document: []byte(`{"flow_id":"f","schedule_type":"manual","nodes":[{"id":"a","type":"delay"}],"edges":[]}`)})
	if err != nil {
		panic(err)
	}
	return f
}

// runs is the plan that a registered flow runs.
func runs(f *registry.Flow) *plan.Plan {
	p, err := f.Plan()
	if err != nil {
		panic(err)
	}
	return p
}

func bySlot(uid uuid.UUID, n, rev int64) ledger.CycleState {
	occasion := plans.SlotOccasion(uid, slot)
	return ledger.CycleState{Flow: "f", Cycle: n, UUID: ids.CycleUUID(occasion, rev), Revision: rev, Trigger: "slot", Slot: slot, Occasion: occasion}
}

func byHand(uid uuid.UUID, n, rev int64) ledger.CycleState {
	occasion := plans.TriggerOccasion(uid, "k")
	return ledger.CycleState{Flow: "f", Cycle: n, UUID: ids.CycleUUID(occasion, rev), Revision: rev, Trigger: "manual", Slot: slot, Occasion: occasion,
		Raw: map[string]string{"trigger_key": "k"}}
}

func attempt(c ledger.CycleState) ids.Attempt {
	return ids.Attempt{Flow: "f", Cycle: c.Cycle, UUID: c.UUID, Node: "a", N: 1}
}

func TestOfCycle(t *testing.T) {
	s := &store{cycles: map[int64]ledger.CycleState{1: bySlot(first, 1, 1), 2: byHand(first, 2, 2)}, plans: map[int64]*plan.Plan{1: compiled(first, 1)}}
	r := &now{flow(first, 2)}
	c := plans.New(s, r)
	for range 3 {
		if p, err := c.OfCycle(t.Context(), attempt(s.cycles[2])); err != nil || p != runs(r.f) {
			t.Fatalf("current revision: %v, %v", p, err)
		}
		if p, err := c.OfCycle(t.Context(), attempt(s.cycles[1])); err != nil || p != s.plans[1] {
			t.Fatalf("older revision: %v, %v", p, err)
		}
	}
	if s.reads != 3 { // two cycles, one plan
		t.Errorf("%d reads", s.reads)
	}
	c.Forget("f", s.cycles[1].UUID)
	delete(s.cycles, 1)
	if _, err := c.OfCycle(t.Context(), attempt(bySlot(first, 1, 1))); !errors.Is(err, ledger.ErrGone) {
		t.Errorf("a cycle that is gone: %v", err)
	}
	other := attempt(s.cycles[2])
	other.UUID = second
	if _, err := c.OfCycle(t.Context(), other); !errors.Is(err, ledger.ErrGone) {
		t.Errorf("another cycle of that number: %v", err)
	}
}

func TestALearnedCycleIsNotRead(t *testing.T) {
	s, r := &store{}, &now{flow(first, 1)}
	c := plans.New(s, r)
	c.Learn(runs(r.f), bySlot(first, 1, 1).UUID)
	if p, err := c.OfCycle(t.Context(), attempt(bySlot(first, 1, 1))); err != nil || p != runs(r.f) || s.reads > 0 {
		t.Errorf("%v, %v after %d reads", p, err, s.reads)
	}
}

// TestPrefetch asks once for each cycle that is not known, and for no other.
func TestPrefetch(t *testing.T) {
	s := &store{cycles: map[int64]ledger.CycleState{2: byHand(first, 2, 1)}}
	r := &now{flow(first, 1)}
	c := plans.New(s, r)
	c.Learn(runs(r.f), bySlot(first, 1, 1).UUID)
	asked := []ids.Attempt{attempt(byHand(first, 2, 1)), attempt(bySlot(first, 1, 1)), attempt(byHand(first, 2, 1))}
	c.Prefetch(t.Context(), asked)
	if s.reads != 1 {
		t.Errorf("%d reads for one cycle that was not known", s.reads)
	}
	for _, a := range asked {
		if p, err := c.OfCycle(t.Context(), a); err != nil || p != runs(r.f) || s.reads != 1 {
			t.Errorf("%v, %v after %d reads", p, err, s.reads)
		}
	}
}

// TestAFlowMadeAgain: its first revision is not what the cycles of the deleted
// flow ran, though both are number 1.
func TestAFlowMadeAgain(t *testing.T) {
	for name, made := range map[string]func(uuid.UUID, int64, int64) ledger.CycleState{"slot": bySlot, "trigger": byHand} {
		t.Run(name, func(t *testing.T) {
			old := made(first, 1, 1)
			s := &store{cycles: map[int64]ledger.CycleState{1: old}, plans: map[int64]*plan.Plan{1: compiled(first, 1)}}
			r := &now{flow(second, 1)}
			c := plans.New(s, r)
			for _, get := range []func() (*plan.Plan, error){
				func() (*plan.Plan, error) { return c.Of(t.Context(), old) },
				func() (*plan.Plan, error) { return c.OfCycle(t.Context(), attempt(old)) },
			} {
				if p, err := get(); err != nil || p.UID != first {
					t.Errorf("the old cycle runs %v, %v", p, err)
				}
			}
			if p, err := c.Of(t.Context(), made(second, 1, 1)); err != nil || p != runs(r.f) {
				t.Errorf("the new cycle runs %v, %v", p, err)
			}
			s.plans[1] = compiled(second, 1)
			if p, err := plans.New(s, r).Of(t.Context(), old); !errors.Is(err, ledger.ErrGone) {
				t.Errorf("with the plan replaced: %v, %v", p, err)
			}
		})
	}
}

func BenchmarkOfCycle(b *testing.B) {
	s := &store{cycles: map[int64]ledger.CycleState{1: bySlot(first, 1, 1)}, plans: map[int64]*plan.Plan{1: compiled(first, 1)}}
	for name, r := range map[string]*now{"current": {flow(first, 1)}, "older": {flow(first, 2)}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			c := plans.New(s, r)
			a := attempt(s.cycles[1])
			for b.Loop() {
				if p, err := c.OfCycle(b.Context(), a); err != nil || p.Node("a") == nil {
					b.Fatal(err)
				}
			}
		})
	}
}
