package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/reconcile"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

func TestAllClaimsOfOneWorkerAreNotDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClaims()
		for i := range 50 {
			c.claim(ids.NodeID(fmt.Sprintf("n%d", i)), 1)
		}
		start := time.Now()
		keep(t, c, false)
		for range 50 {
			if r := <-c.revoked; r.when.Sub(start) > lease+500*time.Millisecond {
				t.Fatalf("%s was revoked only after %s", r.node, r.when.Sub(start))
			}
		}
	})
}

func TestAWorkerWhoseProcessIsGone(t *testing.T) {
	c := newClaims()
	for i, w := range []string{"w1", "w2", "w1", "w1", "w2"} {
		c.claim(ids.NodeID(fmt.Sprintf("n%d", i)), 1)
		c.nodes[ids.NodeID(fmt.Sprintf("n%d", i))].Worker = w
	}
	c.nodes["n3"].Status = task.Succeeded // reported before it died
	c.poison = "n0"                       // and one can't be revoked now
	k := reconcile.NewLeases(reconcile.LeasesConfig{Ledger: c, Plans: anyPlan(), Epoch: 5, Lease: lease, Log: hclog.NewNullLogger(), Holders: c.Holders})
	if err := k.WorkerGone(t.Context(), "w1"); err != nil {
		t.Fatal(err)
	}
	if r := <-c.revoked; r.node != "n2" || r.cause != "worker gone" || len(c.revoked) != 0 {
		t.Errorf("revoked %s for %q, and %d more", r.node, r.cause, len(c.revoked))
	}
	c.down = ledger.ErrUnavailable
	if err := k.WorkerGone(t.Context(), "w2"); err != nil {
		t.Errorf("without Redis: %v", err)
	}
	c.down, c.fenced = nil, true
	if err := k.WorkerGone(t.Context(), "w2"); !ledger.Fenced(err) {
		t.Errorf("fenced: %v", err)
	}
}

// bench is a node that is offered, and the queue it is offered to.
type bench struct {
	state ledger.NodeState
	ready int
	deaf  bool
	made  []time.Time
	err   error
}

func (b *bench) Nodes(context.Context, ids.FlowID, int64, []ids.NodeID) ([]ledger.NodeState, error) {
	return []ledger.NodeState{b.state}, nil
}

func (b *bench) OfferAgain(_ context.Context, _ ids.Epoch, _ ids.Attempt, why string) (bool, error) {
	if why != "swallowed" {
		return false, errors.New("offered again for " + why)
	}
	b.made = append(b.made, time.Now())
	return b.err == nil, b.err
}

func (b *bench) Depth(context.Context, string) (taskqueue.Depth, error) {
	if b.deaf {
		return taskqueue.Depth{}, taskqueue.ErrDisconnected
	}
	return taskqueue.Depth{Ready: b.ready}, nil
}

func TestOffersThatAFrozenWorkerSwallows(t *testing.T) {
	dispatched := ledger.NodeState{Node: "n1", Status: task.Dispatched, Attempt: 2}
	for name, c := range map[string]struct {
		change func(b *bench)
		least  int
		most   int
	}{
		"swallowed":            {func(*bench) {}, 100, 160},
		"waits in its queue":   {func(b *bench) { b.ready = 1 }, 0, 0},
		"the broker is deaf":   {func(b *bench) { b.deaf = true }, 0, 0},
		"claimed":              {func(b *bench) { b.state.Status = task.Running }, 0, 0},
		"another attempt":      {func(b *bench) { b.state.Attempt = 3 }, 0, 0},
		"not yet published":    {func(b *bench) { b.state.Status = task.Ready }, 0, 0},
		"held for some reason": {func(b *bench) { b.state.Blocker = "paused" }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bench{state: dispatched}
				c.change(b)
				o := reconcile.NewOffers(reconcile.OffersConfig{Ledger: b, Plans: anyPlan(), Depths: b, Prefix: "station", Log: hclog.NewNullLogger()})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- o.Run(ctx) }()
				sleep(time.Hour)
				began := time.Now()
				a := at("n1")
				a.N = 2
				o.Watch(a)
				sleep(time.Minute)
				if len(b.made) < c.least || len(b.made) > c.most {
					t.Errorf("offered again %d times", len(b.made))
				}
				if len(b.made) > 63 && b.made[61].Sub(began) > 350*time.Millisecond { // all slots of a worker
					t.Errorf("the 62nd offer comes after %s", b.made[61].Sub(began))
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAFencedKeeperOfOffersEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{state: ledger.NodeState{Node: "n1", Status: task.Dispatched, Attempt: 2}, err: &ledger.FencedError{}}
		o := reconcile.NewOffers(reconcile.OffersConfig{Ledger: b, Plans: anyPlan(), Depths: b, Log: hclog.NewNullLogger()})
		a := at("n1")
		a.N = 2
		o.Watch(a)
		if err := o.Run(t.Context()); !ledger.Fenced(err) {
			t.Errorf("Run: %v", err)
		}
	})
}
