package reconcile_test

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/tradingflow/weather-station/shared/task"
)

const lease = 10 * time.Second

var cycleID = uuid.MustParse("11111111-1111-1111-1111-111111111111")

func at(node string) ids.Attempt {
	return ids.Attempt{Flow: "f", Cycle: 1, UUID: cycleID, Node: ids.NodeID(node)}
}

// claims is a ledger of running claims, with a clock that can be set.
type claims struct {
	mu      sync.Mutex
	skew    time.Duration
	nodes   map[ids.NodeID]*ledger.NodeState
	ends    map[ids.NodeID]time.Time
	down    error         // of every call
	stuck   chan struct{} // while not nil, reads wait for it
	poison  ids.NodeID    // whose revocation fails
	before  func(ids.NodeID)
	revoked chan revocation
	fenced  bool
	many    bool // the claims are of many workers
}

type revocation struct {
	node  ids.NodeID
	n     int
	cause string
	when  time.Time

	unstarted bool
}

func newClaims() *claims {
	return &claims{nodes: map[ids.NodeID]*ledger.NodeState{}, ends: map[ids.NodeID]time.Time{}, revoked: make(chan revocation, 1000)}
}

func (c *claims) Holders(_ context.Context, all []ids.Attempt) ([]ids.WorkerID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]ids.WorkerID, len(all))
	for i, a := range all {
		out[i] = ids.WorkerID(c.nodes[a.Node].Worker)
		if c.many {
			out[i] = ids.WorkerID(fmt.Sprint("w", len(a.Node)))
		}
	}
	return out, nil
}

func (c *claims) clock() time.Time { return time.Now().Add(c.skew).Truncate(time.Millisecond) }

func (c *claims) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// claim begins a claim; beat renews it.
func (c *claims) claim(node ids.NodeID, n int) {
	c.set(func() {
		c.nodes[node] = &ledger.NodeState{Node: node, Status: task.Running, Attempt: n, Token: uuid.NewString(), Worker: "w1", StartedAt: c.clock()}
		c.ends[node] = c.clock().Add(lease)
	})
}

func (c *claims) beat(node ids.NodeID) {
	c.set(func() {
		if c.nodes[node].Status == task.Running {
			c.ends[node] = c.clock().Add(lease)
		}
	})
}

func (c *claims) wait() error {
	c.mu.Lock()
	stuck, down := c.stuck, c.down
	c.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	return down
}

func (c *claims) Now(context.Context) (time.Time, error) {
	err := c.wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clock(), err
}

func (c *claims) Leases(context.Context) ([]ledger.Lease, error) {
	if err := c.wait(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []ledger.Lease
	for n, e := range c.ends {
		out = append(out, ledger.Lease{Attempt: at(string(n)), Ends: e})
	}
	return out, nil
}

func (c *claims) Nodes(_ context.Context, _ ids.FlowID, _ int64, nodes []ids.NodeID) ([]ledger.NodeState, error) {
	if c.before != nil {
		c.before(nodes[0])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return []ledger.NodeState{*c.nodes[nodes[0]]}, nil
}

func (c *claims) Expire(_ context.Context, epoch ids.Epoch, x ledger.Expiry) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.fenced:
		return false, &ledger.FencedError{Verb: "expire", Own: epoch, Higher: epoch + 1}
	case x.Node == c.poison:
		return false, errors.New("WRONGTYPE")
	}
	s := c.nodes[x.Node]
	if s.Status != task.Running || s.Attempt != x.N || s.Token != x.Token.String() {
		return false, nil
	}
	delete(c.ends, x.Node)
	s.Status = task.Ready
	c.revoked <- revocation{x.Node, x.N, x.Cause, time.Now(), x.Unstarted}
	return true, nil
}

func (c *claims) Worker(_ context.Context, id ids.WorkerID) (ledger.Worker, error) {
	if id == "forgotten" {
		return ledger.Worker{}, ledger.ErrGone
	}
	return ledger.Worker{ID: id}, nil
}

type onePlan struct{ p *plan.Plan }

func (o onePlan) OfCycle(context.Context, ids.Attempt) (*plan.Plan, error) { return o.p, nil }

func anyPlan() onePlan {
	p := &plan.Plan{Flow: "f", OnFailure: plan.FailCycle}
	for i := range 200 {
		p.Nodes = append(p.Nodes, plan.Node{ID: ids.NodeID(fmt.Sprintf("n%d", i)), Pool: "default"})
	}
	return onePlan{p.Seal()}
}

func keep(t *testing.T, c *claims, gone bool) *reconcile.Leases {
	k := reconcile.NewLeases(reconcile.LeasesConfig{Ledger: c, Plans: anyPlan(), Epoch: 5, Lease: lease, MaxLost: 3, Log: hclog.NewNullLogger(), Holders: c.Holders,
		Gone: func(context.Context, ledger.Worker) bool { return gone }})
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

// none fails when anything is revoked within d.
func none(t *testing.T, c *claims, d time.Duration, why string) {
	t.Helper()
	select {
	case r := <-c.revoked:
		t.Fatalf("%s: %s#%d was revoked", why, r.node, r.n)
	case <-time.After(d):
	}
}

// within fails unless the next revocation comes in [lease, lease+slack] of a
// worker's last sign of life.
func within(t *testing.T, c *claims, last time.Time, slack time.Duration) revocation {
	t.Helper()
	select {
	case r := <-c.revoked:
		if d := r.when.Sub(last); d < lease || d > lease+slack {
			t.Errorf("%s was revoked %s after its last sign of life", r.node, d)
		}
		return r
	case <-time.After(time.Minute):
		t.Fatal("nothing was revoked")
		return revocation{}
	}
}

func sleep(d time.Duration) { <-time.After(d) } // in a bubble: time itself passes

// beats keeps claims alive until stop is called.
func beats(c *claims, nodes ...ids.NodeID) (stop func() time.Time) {
	quit, last := make(chan struct{}), make(chan time.Time, 1)
	go func() {
		t := time.NewTicker(lease / 5)
		defer t.Stop()
		at := time.Now()
		for {
			select {
			case <-t.C:
				at = time.Now()
				for _, n := range nodes {
					c.beat(n)
				}
			case <-quit:
				last <- at
				return
			}
		}
	}()
	return func() time.Time { close(quit); return <-last }
}

func TestAFrozenWorkerLosesItsClaim(t *testing.T) {
	for offset := range 20 {
		synctest.Test(t, func(t *testing.T) {
			c := newClaims()
			k := keep(t, c, false)
			sleep(3*lease + time.Duration(offset)*17*time.Millisecond)
			k.Nudge() // as a confirmed offer does
			c.claim("n1", 1)
			stop := beats(c, "n1")
			none(t, c, 7*lease/2+time.Duration(offset)*61*time.Millisecond, "alive")
			within(t, c, stop(), 500*time.Millisecond)
		})
	}
}

func TestAClaimThatIsNeverRenewedIsRevoked(t *testing.T) {
	for offset := range 20 {
		synctest.Test(t, func(t *testing.T) {
			c := newClaims()
			k := keep(t, c, false)
			sleep(2*lease + time.Duration(offset)*53*time.Millisecond)
			k.Nudge()
			claimed := time.Now()
			c.claim("n1", 1)
			if r := within(t, c, claimed, 500*time.Millisecond); r.n != 1 || r.cause != "lease over" {
				t.Errorf("revoked as %+v", r)
			}
		})
	}
}

// TestASuspicionIsNoSignOfLife: a redelivered message shortens the lease; that
// must not make the claim live longer.
func TestASuspicionIsNoSignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClaims()
		k := keep(t, c, false)
		sleep(2 * lease)
		k.Nudge()
		claimed := time.Now()
		c.claim("n1", 1)
		sleep(3 * time.Second)
		c.set(func() { c.ends["n1"] = c.clock().Add(lease * 2 / 5) })
		within(t, c, claimed, 500*time.Millisecond)
	})
}

func TestGrace(t *testing.T) {
	t.Run("after a takeover", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newClaims()
			c.claim("n1", 1)
			c.ends["n1"] = time.Now().Add(-time.Hour)
			start := time.Now()
			keep(t, c, false)
			within(t, c, start, 500*time.Millisecond)
		})
	})
	t.Run("asked for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newClaims()
			c.claim("n1", 1)
			k := keep(t, c, false)
			sleep(lease - time.Second)
			start := time.Now()
			k.Grace()
			within(t, c, start, 500*time.Millisecond)
		})
	})
	t.Run("after an outage", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newClaims()
			c.claim("n1", 1)
			keep(t, c, false)
			sleep(lease - time.Second)
			c.set(func() { c.down = fmt.Errorf("%w: away", ledger.ErrUnavailable) })
			sleep(6 * lease)
			c.set(func() { c.down = nil })
			within(t, c, time.Now().Add(-250*time.Millisecond), 750*time.Millisecond)
		})
	})
	t.Run("after Redis stood still", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newClaims()
			c.claim("n1", 1)
			stop := beats(c, "n1")
			keep(t, c, false)
			sleep(2 * lease)
			stop()
			stuck := make(chan struct{})
			c.set(func() { c.stuck = stuck })
			sleep(2 * lease) // no worker can renew meanwhile
			c.set(func() { c.stuck = nil })
			close(stuck)
			none(t, c, 3*time.Second, "Redis is back for a moment")
			c.beat("n1")
			none(t, c, lease-time.Second, "renewed")
		})
	})
	t.Run("after Redis's clock jumped", func(t *testing.T) {
		for _, by := range []time.Duration{time.Hour, -time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				c := newClaims()
				c.claim("n1", 1)
				keep(t, c, false)
				sleep(2*lease - lease - time.Second)
				jumped := time.Now()
				c.set(func() { c.skew = by })
				within(t, c, jumped, time.Second) // dead all the time, yet granted one lease from the jump
			})
		}
	})
}

// TestAJumpOfTheClockRevokesNoLivingClaim, forward or back.
func TestAJumpOfTheClockRevokesNoLivingClaim(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour, 2 * lease, -lease / 2} {
		synctest.Test(t, func(t *testing.T) {
			c := newClaims()
			c.claim("n1", 1)
			stop := beats(c, "n1")
			keep(t, c, false)
			sleep(2*lease + time.Second)
			c.set(func() { c.skew = by })
			none(t, c, 3*lease, fmt.Sprintf("clock set by %s", by))
			within(t, c, stop(), 500*time.Millisecond)
		})
	}
}

func TestAMassExpiryIsDoubtedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClaims()
		c.many = true
		for i := range 150 {
			c.claim(ids.NodeID(fmt.Sprintf("n%d", i)), 1)
		}
		start := time.Now()
		keep(t, c, false)
		none(t, c, 2*lease-time.Second, "all at once")
		for range 150 {
			if r := <-c.revoked; r.when.Sub(start) > 2*lease+time.Second {
				t.Fatalf("%s was revoked only after %s", r.node, r.when.Sub(start))
			}
		}
	})
}

// TestARenewalDuringAPassCounts: the pass has read the lease as over, but by the
// time its turn comes another claim holds the node.
func TestARenewalDuringAPassCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClaims()
		c.claim("n1", 1)
		once := sync.OnceFunc(func() { c.claim("n1", 2) })
		c.before = func(ids.NodeID) { once() }
		keep(t, c, false)
		none(t, c, 2*lease-time.Second, "claimed anew a moment ago")
		if r := <-c.revoked; r.n != 2 {
			t.Errorf("attempt %d was revoked in the end", r.n)
		}
	})
}

func TestOneClaimThatCantBeRevokedHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClaims()
		c.poison = "n0"
		for i := range 8 {
			c.claim(ids.NodeID(fmt.Sprintf("n%d", i)), 1)
		}
		start := time.Now()
		keep(t, c, false)
		for range 7 {
			within(t, c, start, 500*time.Millisecond)
		}
		c.set(func() { c.poison = "" })
		if r := <-c.revoked; r.node != "n0" || r.when.Sub(start) > 3*lease {
			t.Errorf("%+v was revoked in the end, after %s", r, r.when.Sub(start))
		}
	})
}

func TestAFencedKeeperEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClaims()
		c.fenced = true
		c.claim("n1", 1)
		k := reconcile.NewLeases(reconcile.LeasesConfig{Ledger: c, Plans: anyPlan(), Epoch: 5, Lease: lease, Log: hclog.NewNullLogger(), Holders: c.Holders})
		if err := k.Run(t.Context()); !ledger.Fenced(err) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestSuspect(t *testing.T) {
	for _, c := range []struct {
		name   string
		gone   bool
		n      int
		change func(*ledger.NodeState)
		want   bool
	}{
		{"proven gone", true, 1, func(*ledger.NodeState) {}, true},
		{"alive", false, 1, func(*ledger.NodeState) {}, false},
		{"another attempt by now", true, 2, func(*ledger.NodeState) {}, false},
		{"done by now", true, 1, func(s *ledger.NodeState) { s.Status = task.Succeeded }, false},
		{"a worker without a record", true, 1, func(s *ledger.NodeState) { s.Worker = "forgotten" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newClaims()
			l.claim("n1", 1)
			c.change(l.nodes["n1"])
			k := reconcile.NewLeases(reconcile.LeasesConfig{Ledger: l, Plans: anyPlan(), Epoch: 5, Lease: lease, Log: hclog.NewNullLogger(),
				Gone: func(context.Context, ledger.Worker) bool { return c.gone }})
			a := at("n1")
			a.N = c.n
			if err := k.Suspect(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			if got := len(l.revoked) == 1; got != c.want {
				t.Errorf("revoked: %v", got)
			}
		})
	}
}
