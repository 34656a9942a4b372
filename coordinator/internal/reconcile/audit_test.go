package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/reconcile"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// cycles is a ledger of running cycles of one plan: n0 → n1.
type cycles struct {
	mu       sync.Mutex
	skew     time.Duration // of Redis's clock
	active   []ledger.ActiveCycle
	state    map[int64]ledger.CycleState
	nodes    map[int64][]ledger.NodeState
	unleased bool
	poison   int64
	down     error
	reads    map[int64]int // of node states, by cycle
	between  func(n int64) // runs after the node states were read
	acts     []string
	depth    int
	deaf     error
}

func newCycles(numbers ...int64) *cycles {
	c := &cycles{state: map[int64]ledger.CycleState{}, nodes: map[int64][]ledger.NodeState{}, reads: map[int64]int{}}
	for _, n := range numbers {
		id := uuid.NewSHA1(cycleID, fmt.Append(nil, n))
		c.active = append(c.active, ledger.ActiveCycle{Flow: "f", Cycle: n, UUID: id})
		c.state[n] = ledger.CycleState{Flow: "f", Cycle: n, UUID: id, Status: "running", OnFailure: plan.FailCycle, Total: 2,
			Counts: map[task.Status]int64{}, Components: map[string]string{}, Raw: map[string]string{}}
		c.nodes[n] = []ledger.NodeState{{Node: "n0", Status: task.Running, Attempt: 1}, {Node: "n1", Status: task.Waiting}}
	}
	return c
}

func (c *cycles) note(format string, args ...any) {
	c.acts = append(c.acts, fmt.Sprintf(format, args...))
}

func (c *cycles) did() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.acts
	c.acts = nil
	return out
}

func (c *cycles) Now(context.Context) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew), c.down
}

func (c *cycles) Active(context.Context) ([]ledger.ActiveCycle, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.active, c.down
}

func (c *cycles) Cycle(_ context.Context, _ ids.FlowID, n int64) (ledger.CycleState, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state[n], c.down
}

func (c *cycles) Nodes(_ context.Context, _ ids.FlowID, n int64, _ []ids.NodeID) ([]ledger.NodeState, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads[n]++
	out := append([]ledger.NodeState(nil), c.nodes[n]...)
	if c.between != nil {
		c.between(n)
	}
	if n == c.poison {
		return nil, errors.New("WRONGTYPE")
	}
	return out, c.down
}

func (c *cycles) Joins(context.Context, ids.FlowID, int64) (map[string]string, error) {
	return map[string]string{}, nil
}

func (c *cycles) ReadPosted(context.Context) (ledger.Posted, error) { return ledger.Posted{}, nil }

func (c *cycles) Protections(context.Context, ledger.ActiveCycle, []ledger.NodeState) (leases, timers map[ids.NodeID]bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return map[ids.NodeID]bool{"n0": !c.unleased}, nil, nil
}

func (c *cycles) MendNode(_ context.Context, _ ids.Epoch, a ids.Attempt, status, repair string, _ time.Duration) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note("mend %d/%s %s %s", a.Cycle, a.Node, status, repair)
	return true, nil
}

func (c *cycles) MendCounts(_ context.Context, _ ids.Epoch, a ledger.ActiveCycle, seen int64, counters map[string]int, joins []ledger.JoinFix) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note("counts %d seen %d: %v %v", a.Cycle, seen, counters, joins)
	return true, nil
}

func (c *cycles) Sweep(_ context.Context, _ ids.Epoch, e ledger.Entry, status, reason string, nodes []ids.NodeID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note("sweep %d %s %s %v", e.Cycle, status, reason, nodes)
	return nil
}

func (c *cycles) OfferAgain(_ context.Context, _ ids.Epoch, a ids.Attempt, _ string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note("offer %d/%s", a.Cycle, a.Node)
	return true, nil
}

func (c *cycles) Depth(context.Context, string) (taskqueue.Depth, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return taskqueue.Depth{Ready: c.depth}, c.deaf
}

func auditor(c *cycles) *reconcile.Audit {
	p := &plan.Plan{Flow: "f", OnFailure: plan.FailCycle, Nodes: []plan.Node{
		{ID: "n0", Pool: "default", Successors: []plan.Successor{{Target: "n1", InDegree: 1, Plain: true, Edges: []plan.Edge{{}}}}},
		{ID: "n1", Pool: "default", Join: plan.AllSuccess, Inputs: []plan.Input{{Source: "n0"}}},
	}}
	return reconcile.NewAudit(reconcile.AuditConfig{Ledger: c, Plans: onePlan{p.Seal()}, Depths: c, Prefix: "station", Epoch: 5, Lease: lease, Log: hclog.NewNullLogger()})
}

func audit(t *testing.T, c *cycles) *reconcile.Audit {
	a := auditor(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
	return a
}

func expect(t *testing.T, c *cycles, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, c.did()); d != "" {
		t.Errorf("repairs differ (-want +got):\n%s", d)
	}
}

func TestAuditCadence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCycles(1, 2)
		a := audit(t, c)
		looked := func(want1, want2 int) {
			t.Helper()
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.reads[1] != want1 || c.reads[2] != want2 {
				t.Errorf("looked %d and %d times, want %d and %d", c.reads[1], c.reads[2], want1, want2)
			}
		}
		looked(1, 1) // everything, at once
		c.mu.Lock()
		s := c.state[2]
		s.Completed, s.Counts = 1, map[task.Status]int64{task.Succeeded: 1}
		c.state[2] = s
		c.nodes[2] = []ledger.NodeState{{Node: "n0", Status: task.Succeeded, Attempt: 1}, {Node: "n1", Status: task.Running, Attempt: 1}}
		c.mu.Unlock()
		sleep(5*time.Second + time.Millisecond)
		looked(2, 1) // only what stands still
		a.Whole()
		synctest.Wait()
		c.mu.Lock()
		n1 := c.reads[1]
		c.mu.Unlock()
		if n1 != 3 {
			t.Errorf("Whole made %d looks at cycle 1, want 3", n1)
		}
	})
}

// TestTheMiddleOfAStepIsNoLoss: between the reads of one look the cycle goes on.
func TestTheMiddleOfAStepIsNoLoss(t *testing.T) {
	for name, between := range map[string]func(c *cycles, n int64){
		"a component is swept": func(c *cycles, n int64) { // its entry is gone by the time the outbox is read
			c.nodes[n][0].Status, c.nodes[n][1].Status = task.Failed, task.Skipped
			s := c.state[n]
			s.Status, s.Completed = "failed", 2
			c.state[n] = s
		},
		"a claim ends": func(c *cycles, n int64) {
			c.unleased = true
			c.nodes[n] = []ledger.NodeState{{Node: "n0", Status: task.Retrying, Attempt: 1, Blocker: "x"}, {Node: "n1", Status: task.Waiting}}
			s := c.state[n]
			s.Status = "completed"
			c.state[n] = s
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCycles(1)
				if name == "a component is swept" {
					c.nodes[1][0].Status = task.Failed
					s := c.state[1]
					s.Completed, s.Counts, s.Components = 1, map[task.Status]int64{task.Failed: 1}, map[string]string{"0": "failed"}
					c.state[1] = s
				}
				once := sync.OnceFunc(func() { between(c, 1) })
				c.between = func(int64) { once() }
				audit(t, c)
				sleep(20 * time.Second)
				expect(t, c)
			})
		})
	}
}

func TestWhatIsLostIsRepaired(t *testing.T) {
	t.Run("a sweep", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			c.nodes[1][0].Status = task.Failed
			s := c.state[1]
			s.Completed, s.Counts, s.Components = 1, map[task.Status]int64{task.Failed: 1}, map[string]string{"0": "failed"}
			c.state[1] = s
			audit(t, c)
			expect(t, c, "sweep 1 skipped upstream_failed [n0 n1]")
		})
	})
	t.Run("a sweep of all", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			s := c.state[1]
			s.Status, s.Raw = "cancelling", map[string]string{"cause": "timeout"}
			c.state[1] = s
			audit(t, c)
			expect(t, c, "sweep 1 cancelled timeout [n0 n1]")
		})
	})
	t.Run("a lease", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			c.unleased = true
			audit(t, c)
			expect(t, c, "mend 1/n0 running lease")
		})
	})
	t.Run("the counters", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			c.nodes[1] = []ledger.NodeState{{Node: "n0", Status: task.Succeeded, Attempt: 1}, {Node: "n1", Status: task.Running, Attempt: 1}}
			c.unleased = false
			s := c.state[1]
			s.Completed = 5
			c.state[1] = s
			a := audit(t, c)
			_ = a
			got := c.did()
			if len(got) == 0 || got[len(got)-1] != "counts 1 seen 5: map[completed_nodes:1 succeeded_nodes:1] []" {
				t.Errorf("repairs: %q", got)
			}
		})
	})
}

func TestACycleThatCantBeAuditedHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCycles(1, 2, 3)
		c.poison, c.unleased = 2, true
		audit(t, c)
		expect(t, c, "mend 1/n0 running lease", "mend 3/n0 running lease")
	})
}

func dispatched(c *cycles, when time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[1][0] = ledger.NodeState{Node: "n0", Status: task.Dispatched, Attempt: 1, DispatchedAt: when.Add(c.skew)}
}

func TestALostMessageIsOfferedAgain(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			c.skew = skew
			dispatched(c, time.Now().Add(-time.Second))
			audit(t, c)
			expect(t, c)
			sleep(5*time.Second + time.Millisecond)
			expect(t, c, "offer 1/n0")
			dispatched(c, time.Now()) // the offer was made
			sleep(5 * time.Second)
			expect(t, c)
		})
	}
}

// TestAMessageIsNotLost while it waits, is being claimed, or the broker does not
// tell; nor right after a time in which nobody could claim.
func TestAMessageIsNotLost(t *testing.T) {
	t.Run("in the queue", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			c.depth = 1
			dispatched(c, time.Now().Add(-time.Second))
			audit(t, c)
			sleep(time.Hour)
			expect(t, c)
		})
	})
	t.Run("being claimed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			dispatched(c, time.Now().Add(-time.Millisecond))
			a := audit(t, c)
			sleep(10 * time.Millisecond)
			a.Whole()
			sleep(10 * time.Millisecond)
			a.Whole()
			synctest.Wait()
			expect(t, c)
		})
	})
	t.Run("unknown", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			c.deaf, c.unleased = taskqueue.ErrDisconnected, false
			dispatched(c, time.Now().Add(-time.Second))
			audit(t, c)
			sleep(time.Minute)
			expect(t, c)
			c.mu.Lock()
			reads := c.reads[1]
			c.mu.Unlock()
			if reads < 12 {
				t.Errorf("without the broker the cycle was looked at %d times", reads)
			}
		})
	})
	t.Run("after an outage", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			dispatched(c, time.Now().Add(-time.Second))
			audit(t, c)
			c.mu.Lock()
			c.down = ledger.ErrUnavailable
			c.mu.Unlock()
			sleep(time.Minute + time.Second) // between two looks
			c.mu.Lock()
			c.down = nil
			c.mu.Unlock()
			sleep(5 * time.Second) // one look: the worker that holds it needs a moment
			expect(t, c)
		})
	})
}

func TestAFencedAuditEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCycles(1)
		c.down = &ledger.FencedError{Own: 5, Higher: 6}
		if err := auditor(c).Run(t.Context()); !ledger.Fenced(err) {
			t.Errorf("Run returned %v", err)
		}
	})
}
