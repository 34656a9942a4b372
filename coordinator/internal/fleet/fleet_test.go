package fleet_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/internal/fleet"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/nodetype"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type yard struct {
	mu       sync.Mutex
	workers  []ledger.Worker
	holds    []string
	released []string
	pruned   []string
	err      error
	looks    int
}

func (y *yard) set(change func()) {
	y.mu.Lock()
	defer y.mu.Unlock()
	change()
}

func (y *yard) Workers(context.Context) ([]ledger.Worker, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.looks++
	return slices.Clone(y.workers), y.err
}

func (y *yard) Holds(context.Context) ([]string, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return slices.Clone(y.holds), y.err
}

func (y *yard) ReleaseHeld(_ context.Context, _ ids.Epoch, waitsFor, _ string) (int64, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.released = append(y.released, waitsFor)
	y.holds = slices.DeleteFunc(y.holds, func(h string) bool { return h == waitsFor })
	return 1, y.err
}

func (y *yard) PruneHold(_ context.Context, _ ids.Epoch, waitsFor string) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.pruned = append(y.pruned, waitsFor)
	return y.err
}

func worker(id, pool string, types ...string) ledger.Worker {
	return ledger.Worker{ID: ids.WorkerID(id), Pool: pool, Types: types}
}

func run(t *testing.T, y *yard, paused func(ids.FlowID) bool, lost func()) *fleet.Fleet {
	f := fleet.New(y, paused, lost, hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, 5, time.Second) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
	return f
}

func never(ids.FlowID) bool { return false }

func TestCarries(t *testing.T) {
	y := &yard{workers: []ledger.Worker{worker("w1", "default", "own"), worker("w2", "gpu", "model")}}
	f := fleet.New(y, never, func() {}, hclog.NewNullLogger())
	if !f.Carries("default", "anything") {
		t.Error("before anybody looked, a node is set aside")
	}
	if err := f.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pool, kind string
		want       bool
	}{
		{"default", "own", true}, {"gpu", "model", true}, {"gpu", "own", false}, {"none", "own", false}, {"default", "anything", false},
		{"none", nodetype.Always()[0], true},
	} {
		if got := f.Carries(c.pool, c.kind); got != c.want {
			t.Errorf("%s in %s: %v", c.kind, c.pool, got)
		}
	}
}

func TestHeldNodesAreReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{holds: []string{ledger.HeldByType("default", "own:v2"), "flow:p", "flow:q"}}
		run(t, y, func(f ids.FlowID) bool { return f == "p" }, func() {})
		y.set(func() {
			if d := cmp.Diff([]string{"flow:q"}, y.released); d != "" {
				t.Errorf("released (-want +got):\n%s", d)
			}
			y.workers = []ledger.Worker{worker("w1", "default", "own:v2")}
		})
		<-time.After(time.Second)
		synctest.Wait()
		if d := cmp.Diff([]string{"flow:q", "type:default:own:v2"}, y.released); d != "" {
			t.Errorf("released (-want +got):\n%s", d)
		}
	})
}

func TestALostWorkerIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drained := worker("w3", "default")
		drained.Draining = true
		y := &yard{workers: []ledger.Worker{worker("w1", "default"), worker("w2", "default"), drained}}
		lost := make(chan struct{}, 10)
		run(t, y, never, func() { lost <- struct{}{} })
		y.set(func() { y.err = ledger.ErrUnavailable })
		<-time.After(5 * time.Second) // an outage is no loss
		y.set(func() { y.err, y.workers = nil, y.workers[:1] })
		<-time.After(2 * time.Second)
		synctest.Wait()
		if len(lost) != 1 {
			t.Errorf("told %d times of one lost worker and one that drained", len(lost))
		}
	})
}

func TestAFencedFleetEnds(t *testing.T) {
	y := &yard{err: &ledger.FencedError{Own: 5, Higher: 6}}
	if err := fleet.New(y, never, func() {}, hclog.NewNullLogger()).Run(t.Context(), 5, time.Second); !ledger.Fenced(err) {
		t.Errorf("Run returned %v", err)
	}
}
