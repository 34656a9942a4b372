package reconcile_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/reconcile"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

var errEtcd = errors.New("etcd is away")

// oracle knows which nodes were started, and hears what nodes wait for.
type oracle struct {
	mu      sync.Mutex
	started map[ids.NodeID]bool
	err     error
	hang    bool // no answer before the end of the context
	asked   int
	named   []string
}

func (o *oracle) Unstarted(ctx context.Context, a ids.Attempt, _ time.Time) (bool, error) {
	o.mu.Lock()
	o.asked++
	started, err, hang := o.started[a.Node], o.err, o.hang
	o.mu.Unlock()
	if hang {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return !started && err == nil, err
}

func (o *oracle) Block(_ context.Context, a ids.Attempt, _ uuid.UUID, blocker string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.named = append(o.named, string(a.Node)+" "+blocker)
	return nil
}

func (o *oracle) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *oracle) blocks(t *testing.T, want ...string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	slices.Sort(o.named)
	if !slices.Equal(o.named, want) {
		t.Errorf("nodes were said to wait for %q, want %q", o.named, want)
	}
}

// oncePlan has nodes n0 to n99 that may be started once, and n100 to n199.
func oncePlan() onePlan {
	p := anyPlan()
	for i := range 100 {
		p.p.Nodes[i].Delivery = plan.AtMostOnce
	}
	return p
}

func keepOnce(t *testing.T, c *claims, o *oracle) *reconcile.Leases {
	k := reconcile.NewLeases(reconcile.LeasesConfig{Ledger: c, Plans: oncePlan(), Epoch: 5, Lease: lease, MaxLost: 3, Log: hclog.NewNullLogger(),
		Once: o, Blocks: o, Holders: c.Holders, Gone: func(context.Context, ledger.Worker) bool { return true }})
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

// The claim of a lost at-most-once node is revoked as started or not, as its
// once-key says.
func TestLostAtMostOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, o := newClaims(), &oracle{started: map[ids.NodeID]bool{"n1": true}}
		start := time.Now()
		c.claim("n1", 1)
		c.claim("n2", 1)
		c.claim("n150", 1)
		keepOnce(t, c, o)
		got := map[ids.NodeID]bool{}
		for range 3 {
			r := within(t, c, start, 600*time.Millisecond)
			got[r.node] = r.unstarted
		}
		if got["n1"] || !got["n2"] || got["n150"] {
			t.Errorf("revoked as unstarted: %v", got)
		}
		if o.asked != 2 {
			t.Errorf("asked %d times", o.asked)
		}
		o.blocks(t)
	})
}

// While etcd gives no answer the node waits, and says so; the others don't.
func TestNoAnswerIsNoAnswer(t *testing.T) {
	for _, hang := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, o := newClaims(), &oracle{err: errEtcd, hang: hang}
			start := time.Now()
			for _, n := range []ids.NodeID{"n1", "n2", "n150"} {
				c.claim(n, 1)
			}
			keepOnce(t, c, o)
			if r := within(t, c, start, 500*time.Millisecond); r.node != "n150" {
				t.Errorf("%s was revoked", r.node)
			}
			none(t, c, 5*lease, "nobody knows whether it was started")
			c.claim("n151", 1)
			within(t, c, time.Now(), 500*time.Millisecond)
			if hang {
				return
			}
			o.blocks(t, "n1 etcd", "n2 etcd")
			c.beat("n2") // its worker is back
			sleep(time.Second)
			o.blocks(t, "n1 etcd", "n2 ", "n2 etcd")
			o.set(func() { o.err = nil })
			if r := <-c.revoked; r.node != "n1" || !r.unstarted {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Many that wait keep nobody from being looked at.
func TestManyThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, o := newClaims(), &oracle{err: errEtcd}
		for i := range 90 {
			c.claim(oncePlan().p.Nodes[i].ID, 1)
		}
		keepOnce(t, c, o)
		none(t, c, 3*lease, "etcd is away")
		c.claim("n150", 1)
		within(t, c, time.Now(), 500*time.Millisecond)
		o.set(func() { o.err = nil })
		for range 90 {
			<-c.revoked
		}
	})
}

// A suspect is looked at by itself: without an answer it is left for later.
func TestSuspectedAtMostOnce(t *testing.T) {
	c, o := newClaims(), &oracle{err: errEtcd}
	c.claim("n1", 1)
	k := reconcile.NewLeases(reconcile.LeasesConfig{Ledger: c, Plans: oncePlan(), Epoch: 5, Lease: lease, Log: hclog.NewNullLogger(),
		Once: o, Blocks: o, Holders: c.Holders, Gone: func(context.Context, ledger.Worker) bool { return true }})
	a := at("n1")
	a.N = 1
	if err := k.Suspect(t.Context(), a); !errors.Is(err, errEtcd) || len(c.revoked) > 0 {
		t.Fatalf("got %v, %d revoked", err, len(c.revoked))
	}
	o.err = nil
	if err := k.Suspect(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if r := <-c.revoked; !r.unstarted {
		t.Errorf("%+v", r)
	}
}
