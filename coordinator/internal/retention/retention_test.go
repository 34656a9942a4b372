package retention_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/internal/retention"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store keeps the cycles of one flow.
type store struct {
	mu       sync.Mutex
	flow     string // its status; "" = gone
	cycles   map[int64]*ledger.CycleState
	down     error
	calls    int
	reads    int
	noPlan   bool
	purged   []string // entries
	nodes    map[int64]int
	interupt int64 // archiving this cycle fails halfway
	bad      int64 // nothing can be done with this cycle
}

func newStore(n int64) *store {
	s := &store{flow: "active", cycles: map[int64]*ledger.CycleState{}, nodes: map[int64]int{}}
	for i := int64(1); i <= n; i++ {
		s.cycles[i] = &ledger.CycleState{UUID: uuid.New(), Flow: "f", Cycle: i, Status: "completed", Revision: 1}
	}
	return s
}

func (s *store) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

var errBad = errors.New("a key has a wrong type")

func (s *store) spoilt(numbers []int64) bool { return s.bad != 0 && slices.Contains(numbers, s.bad) }

func (s *store) Flow(context.Context, ids.FlowID) (ledger.FlowState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flow == "" {
		return ledger.FlowState{}, ledger.ErrGone
	}
	return ledger.FlowState{Status: s.flow}, s.down
}

func (s *store) CycleNumbers(context.Context, ids.FlowID) ([]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	var out []int64
	for n := range s.cycles {
		out = append(out, n)
	}
	slices.Sort(out)
	return out, s.down
}

func (s *store) CyclesAt(_ context.Context, _ ids.FlowID, numbers []int64) ([]ledger.CycleState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spoilt(numbers) {
		return nil, errBad
	}
	s.reads += len(numbers)
	out := make([]ledger.CycleState, len(numbers))
	for i, n := range numbers {
		if c := s.cycles[n]; c != nil {
			out[i] = *c
		}
	}
	return out, s.down
}

func (s *store) ArchiveCycles(_ context.Context, _ ids.Epoch, cycles []ledger.CycleState, nodes [][]ids.NodeID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range cycles {
		if s.interupt == c.Cycle {
			s.interupt, s.cycles[c.Cycle].Archiving = 0, true
			return fmt.Errorf("crash: %w", ledger.ErrUnavailable)
		}
		s.cycles[c.Cycle].Archived, s.nodes[c.Cycle] = true, len(nodes[i])
	}
	return nil
}

func (s *store) DeleteArchived(_ context.Context, _ ids.Epoch, _ ids.FlowID, numbers []int64) (others []int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spoilt(numbers) {
		return nil, errBad
	}
	for _, n := range numbers {
		if c := s.cycles[n]; c != nil && !c.Archived {
			others = append(others, n)
		} else {
			delete(s.cycles, n)
		}
	}
	return others, s.down
}

func (s *store) DeleteCycles(_ context.Context, _ ids.Epoch, _ ids.FlowID, numbers []int64, nodes [][]ids.NodeID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var faults []error
	for i, n := range numbers {
		if c := s.cycles[n]; c != nil && !c.Ended() && s.flow != "deleting" {
			faults = append(faults, ledger.ErrBusy)
			continue
		}
		delete(s.cycles, n)
		s.nodes[n] = len(nodes[i])
	}
	return errors.Join(faults...)
}

func (s *store) PurgeFlow(_ context.Context, _ ids.Epoch, _ ids.FlowID, entry string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flow == "deleting" && len(s.cycles) > 0 {
		return int64(len(s.cycles)), nil
	}
	s.purged = append(s.purged, entry)
	if s.flow == "deleting" {
		s.flow = ""
	}
	return 0, nil
}

func (s *store) Of(context.Context, ledger.CycleState) (*plan.Plan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noPlan {
		return nil, ledger.ErrGone
	}
	return &plan.Plan{Nodes: make([]plan.Node, 3)}, nil
}

func (s *store) shape() (whole, archived []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, c := range s.cycles {
		if c.Archived {
			archived = append(archived, n)
		} else {
			whole = append(whole, n)
		}
	}
	slices.Sort(whole)
	slices.Sort(archived)
	return whole, archived
}

func keep(t *testing.T, s *store) *retention.Keeper { return keepWith(t, s, 1) }

func keepWith(t *testing.T, s *store, slack int) *retention.Keeper {
	k := retention.New(retention.Config{Ledger: s, Plans: s, Epoch: 1, Detailed: 3, Kept: 6, Slack: slack, Log: hclog.NewNullLogger()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return k
}

func want(t *testing.T, s *store, whole, archived []int64) {
	t.Helper()
	synctest.Wait()
	w, a := s.shape()
	if d := cmp.Diff(whole, w); d != "" {
		t.Errorf("whole cycles differ (-want +got):\n%s", d)
	}
	if d := cmp.Diff(archived, a); d != "" {
		t.Errorf("archived cycles differ (-want +got):\n%s", d)
	}
}

func TestOldCyclesAreArchivedThenRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(10)
		k := keep(t, s)
		k.Tidy("f")
		want(t, s, []int64{8, 9, 10}, []int64{5, 6, 7})
		if s.nodes[1] != 3 || s.nodes[5] != 3 {
			t.Errorf("nodes named: %v", s.nodes)
		}
		reads := s.reads
		s.set(func() { s.cycles[11] = &ledger.CycleState{UUID: uuid.New(), Flow: "f", Cycle: 11, Status: "failed"} })
		k.Tidy("f")
		want(t, s, []int64{9, 10, 11}, []int64{6, 7, 8})
		if s.reads-reads != 1 { // and the one that goes is archived
			t.Errorf("%d cycles were read for one that is new", s.reads-reads)
		}
	})
}

// TestAFewCyclesNeedNoPass: the flow is looked at again when it can have one too many.
func TestAFewCyclesNeedNoPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(1)
		k := keep(t, s)
		k.Ended("f")
		want(t, s, []int64{1}, nil)
		for n := int64(2); n <= 9; n++ {
			s.set(func() {
				s.cycles[n] = &ledger.CycleState{UUID: uuid.New(), Flow: "f", Cycle: n, Status: "completed", Revision: 1}
			})
			k.Ended("f")
			synctest.Wait()
			if calls := []int{1, 1, 2, 3, 4, 5, 6, 7}[n-2]; s.calls != calls {
				t.Errorf("after cycle %d: %d passes, want %d", n, s.calls, calls)
			}
		}
		want(t, s, []int64{7, 8, 9}, []int64{4, 5, 6})
	})
}

// TestSlack: passes are made when some cycles have gathered; what is to be kept is, and of
// the rest never more than the slack is left.
func TestSlack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const last, slack = 60, 4
		s := newStore(0)
		k := keepWith(t, s, slack)
		for n := int64(1); n <= last; n++ {
			s.set(func() { s.cycles[n] = &ledger.CycleState{UUID: uuid.New(), Flow: "f", Cycle: n, Status: "completed"} })
			k.Ended("f")
			synctest.Wait()
			whole, archived := s.shape()
			if len(whole) < min(int(n), 3) || len(whole) >= 3+slack || whole[len(whole)-1] != n {
				t.Fatalf("after cycle %d these are whole: %v", n, whole)
			}
			if all := len(whole) + len(archived); all < min(int(n), 6) || all >= 6+slack {
				t.Fatalf("after cycle %d there are %v and %v", n, whole, archived)
			}
		}
		if most := last/slack + 1; s.calls > most {
			t.Errorf("%d passes for %d cycles, want at most %d", s.calls, last, most)
		}
	})
}

// TestSlackWaitsForNoneThatRan: one that a pass met running is archived when it ends.
func TestSlackWaitsForNoneThatRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(6)
		s.cycles[2].Status = "running"
		k := keepWith(t, s, 4)
		k.Ended("f")
		want(t, s, []int64{2, 4, 5, 6}, []int64{1, 3})
		s.set(func() { s.cycles[2].Status = "completed" })
		k.Ended("f")
		want(t, s, []int64{4, 5, 6}, []int64{1, 2, 3})
	})
}

// TestARunningCycleIsPassedOver and archived when it has ended, however many
// newer ones were archived before.
func TestARunningCycleIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(6)
		s.cycles[1].Status = "running"
		k := keep(t, s)
		k.Tidy("f")
		want(t, s, []int64{1, 4, 5, 6}, []int64{2, 3})
		s.set(func() { s.cycles[7] = &ledger.CycleState{UUID: uuid.New(), Flow: "f", Cycle: 7, Status: "completed"} })
		k.Tidy("f")
		want(t, s, []int64{1, 5, 6, 7}, []int64{2, 3, 4}) // past what is kept, and still there
		s.set(func() {
			delete(s.cycles, 7)
			s.cycles[1].Status = "completed"
		})
		k.Tidy("f")
		want(t, s, []int64{5, 6}, []int64{1, 2, 3, 4})
	})
}

func TestAHalfArchivedCycleIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(5)
		s.interupt = 1
		k := keep(t, s)
		k.Tidy("f")
		want(t, s, []int64{1, 2, 3, 4, 5}, nil)
		<-time.After(6 * time.Second)
		want(t, s, []int64{3, 4, 5}, []int64{1, 2})
	})
}

// TestABadCycleKeepsNoOther: it is tried again, and the others are archived and removed; once it is well, it is too.
func TestABadCycleKeepsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(40)
		s.bad = 20 // is to be removed
		k := keep(t, s)
		k.Tidy("f")
		want(t, s, []int64{20, 38, 39, 40}, []int64{35, 36, 37})
		s.set(func() {
			s.bad = 41 // is to be archived
			for n := range int64(5) {
				s.cycles[41+n] = &ledger.CycleState{UUID: uuid.New(), Flow: "f", Cycle: 41 + n, Status: "completed", Revision: 1}
			}
		})
		<-time.After(6 * time.Second)
		want(t, s, []int64{41, 43, 44, 45}, []int64{40, 42})
		s.set(func() { s.bad = 0 })
		<-time.After(6 * time.Second)
		want(t, s, []int64{43, 44, 45}, []int64{40, 41, 42})
	})
}

// TestAnOutageIsWaitedOut: no flow's pass is forgotten, and nothing spins.
func TestAnOutageIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(4)
		s.down = ledger.ErrUnavailable
		k := keep(t, s)
		k.Tidy("f", "g", "h")
		<-time.After(time.Minute)
		s.set(func() {
			s.down = nil
			if s.calls > 3*13 {
				t.Errorf("%d passes were tried in a minute", s.calls)
			}
		})
		<-time.After(6 * time.Second)
		want(t, s, []int64{2, 3, 4}, []int64{1})
	})
}

func TestAFencedKeeperEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(4)
		s.down = &ledger.FencedError{Own: 1, Higher: 2}
		k := retention.New(retention.Config{Ledger: s, Plans: s, Epoch: 1, Log: hclog.NewNullLogger()})
		k.Tidy("f")
		if err := k.Run(t.Context()); !ledger.Fenced(err) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestPurge(t *testing.T) {
	s := newStore(5)
	s.cycles[5].Status, s.flow = "running", "deleting"
	k := retention.New(retention.Config{Ledger: s, Plans: s, Epoch: 1, Log: hclog.NewNullLogger()})
	if err := k.Purge(t.Context(), "f", "7-0"); err != nil {
		t.Fatal(err)
	}
	if len(s.cycles) > 0 || s.flow != "" || !slices.Equal(s.purged, []string{"7-0"}) || s.nodes[3] != 3 {
		t.Errorf("left: %v, flow %q, entries %v", s.cycles, s.flow, s.purged)
	}
	if err := k.Purge(t.Context(), "f", "8-0"); err != nil || len(s.purged) != 2 {
		t.Errorf("a flow that is gone: %v, %v", err, s.purged)
	}
}

// TestPurgeOfAFlowMadeAgain: an entry that is met late removes nothing of the flow
// that has the id now.
// TestPurgeWithABadCycle: it alone is left, and the flow, until it is well.
func TestPurgeWithABadCycle(t *testing.T) {
	s := newStore(40)
	s.flow, s.bad = "deleting", 20
	k := retention.New(retention.Config{Ledger: s, Plans: s, Epoch: 1, Log: hclog.NewNullLogger()})
	if err := k.Purge(t.Context(), "f", "e1"); !errors.Is(err, errBad) {
		t.Errorf("Purge returned %v", err)
	}
	if whole, _ := s.shape(); !slices.Equal(whole, []int64{20}) || s.flow != "deleting" {
		t.Errorf("left are %v of a flow that is %q", whole, s.flow)
	}
	s.bad = 0
	if err := k.Purge(t.Context(), "f", "e1"); err != nil || s.flow != "" {
		t.Errorf("Purge returned %v, the flow is %q", err, s.flow)
	}
}

func TestPurgeOfAFlowMadeAgain(t *testing.T) {
	s := newStore(5)
	k := retention.New(retention.Config{Ledger: s, Plans: s, Epoch: 1, Log: hclog.NewNullLogger()})
	if err := k.Purge(t.Context(), "f", "7-0"); err != nil {
		t.Fatal(err)
	}
	if len(s.cycles) != 5 || !slices.Equal(s.purged, []string{"7-0"}) {
		t.Errorf("%d of 5 cycles are left; entries removed: %v", len(s.cycles), s.purged)
	}
}
