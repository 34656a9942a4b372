package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	unlisted bool
	untimed  bool
	planless int64
	timeout  time.Duration
	within   time.Duration
	closing  []ledger.ActiveCycle
	looks    map[ids.FlowID]ledger.FlowLook
	poison   int64
	down     error
	reads    map[int64]int // of node states, by cycle
	between  func(n int64) // runs after the node states were read
	acts     []string
	outbox   []ledger.Entry
	posted   int // how often it was read
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
	return slices.DeleteFunc(slices.Clone(c.active), func(a ledger.ActiveCycle) bool { // an end takes its cycle out in the same step
		s := c.state[a.Cycle]
		return s.UUID == a.UUID && s.Ended()
	}), c.down
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

func (c *cycles) ReadPosted(context.Context) (ledger.Posted, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posted++
	return ledger.PostedOf(c.outbox), nil
}

func (c *cycles) Protections(context.Context, ledger.ActiveCycle, int64, []ledger.NodeState) (ledger.Protection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ledger.Protection{Leased: map[ids.NodeID]bool{"n0": !c.unleased}, Listed: !c.unlisted, Deadline: !c.untimed, Plan: 6 - c.planless}, nil
}

func (c *cycles) Progresses(_ context.Context, all []ledger.ActiveCycle) ([]ledger.Progress, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []ledger.Progress
	for _, a := range all {
		s := c.state[a.Cycle]
		out = append(out, ledger.Progress{Open: s.UUID == a.UUID && !s.Ended(), Completed: s.Completed})
	}
	return out, c.down
}

func (c *cycles) Closing(context.Context, time.Time) ([]ledger.ActiveCycle, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing, nil
}

func (c *cycles) MendActive(_ context.Context, _ ids.Epoch, a ledger.ActiveCycle) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note("stray %d", a.Cycle)
	c.active = slices.DeleteFunc(c.active, func(x ledger.ActiveCycle) bool { return x.Cycle == a.Cycle })
	return true, nil
}

func (c *cycles) MendClosed(_ context.Context, _ ids.Epoch, a ledger.ActiveCycle) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note("closed %d", a.Cycle)
	c.closing = nil
	return true, nil
}

func (c *cycles) FlowIDs(context.Context) ([]ids.FlowID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.looks)), nil
}

func (c *cycles) LookAtFlows(context.Context, map[ids.FlowID]int64) (map[ids.FlowID]ledger.FlowLook, map[ids.FlowID]bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looks, map[ids.FlowID]bool{"f": true}, nil
}

func (c *cycles) MendFlow(_ context.Context, _ ids.Epoch, f ids.FlowID, seen string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note("count %s seen %s", f, seen)
	return true, nil
}

func (c *cycles) MendPurge(_ context.Context, _ ids.Epoch, f ids.FlowID) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note("purge %s", f)
	return true, nil
}

func (c *cycles) MendDeadlineOf(_ context.Context, _ ids.Epoch, a ledger.ActiveCycle, due time.Time) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note("deadline %d %d", a.Cycle, due.Unix())
	c.untimed = false
	return true, nil
}

func (c *cycles) WritePlan(context.Context, *plan.Plan) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note("plan")
	c.planless = 0
	return nil
}

func (c *cycles) NoteRepair(context.Context, ids.Epoch, ids.Attempt, string, string) error {
	return nil
}

// flowList is what the ledger has to have.
type flowList struct {
	c    *cycles
	want map[ids.FlowID]reconcile.Flow
}

func (l flowList) Len() int { return len(l.want) }

func (l flowList) Has(f ids.FlowID) bool { _, ok := l.want[f]; return ok }

func (l flowList) Names() []ids.FlowID { return slices.Collect(maps.Keys(l.want)) }

func (l flowList) Get(f ids.FlowID) (reconcile.Flow, bool) {
	w, ok := l.want[f]
	return w, ok
}

func (l flowList) Restore(_ context.Context, f ids.FlowID) error {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.c.note("restore %s", f)
	return nil
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
	c.note("sweep %d by %s %s %s %v", e.Cycle, e.Node, status, reason, nodes)
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
	p := &plan.Plan{Flow: "f", OnFailure: plan.FailCycle, CycleTimeout: c.timeout, Nodes: []plan.Node{
		{ID: "n0", Pool: "default", Successors: []plan.Successor{{Target: "n1", InDegree: 1, Plain: true, Edges: []plan.Edge{{}}}}},
		{ID: "n1", Pool: "default", Join: plan.AllSuccess, Inputs: []plan.Input{{Source: "n0"}}},
	}}
	want := map[ids.FlowID]reconcile.Flow{}
	for f := range c.looks {
		if f != "gone" && f != "foreign" {
			want[f] = reconcile.Flow{UID: cycleID, Revision: 1, Fields: ledger.PlanFields(&plan.Plan{})}
		}
	}
	return reconcile.NewAudit(reconcile.AuditConfig{Ledger: c, Flows: flowList{c, want}, Plans: onePlan{p.Seal()}, Depths: c, Prefix: "station", Epoch: 5, Lease: lease, Within: c.within, Log: hclog.NewNullLogger()})
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
		sleep(time.Second + time.Millisecond)
		looked(2, 1) // only what stands still
		sleep(time.Second)
		looked(3, 3) // everything; what looks wrong, twice
		a.Whole()
		looked(4, 5)
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
			expect(t, c, "sweep 1 by n0 skipped upstream_failed [n0 n1]")
		})
	})
	t.Run("a sweep of all", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			s := c.state[1]
			s.Status, s.Raw = "cancelling", map[string]string{"cause": "timeout"}
			c.state[1] = s
			audit(t, c)
			expect(t, c, "sweep 1 by  cancelled timeout [n0 n1]")
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
	t.Run("what a cycle as a whole needs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			s := c.state[1]
			s.Deadline = time.Unix(1234, 0)
			c.state[1] = s
			c.untimed, c.planless, c.unlisted = true, 1, true
			audit(t, c)
			expect(t, c, "plan", "deadline 1 1234", "mend 1/  cycle")
		})
	})
	t.Run("the deadline of a torn start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			s := c.state[1]
			s.StartedAt = time.Unix(1000, 0)
			c.state[1] = s
			c.untimed, c.timeout = true, time.Minute
			audit(t, c)
			expect(t, c, "deadline 1 1060")
		})
	})
	t.Run("the record of a cycle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1, 2)
			delete(c.state, 1)
			audit(t, c)
			expect(t, c, "stray 1")
			sleep(time.Minute)
			expect(t, c)
		})
	})
	t.Run("the word of an end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles()
			c.closing = []ledger.ActiveCycle{{Flow: "f", Cycle: 9}}
			audit(t, c)
			expect(t, c, "closed 9")
		})
	})
	t.Run("flows", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCycles(1)
			sound := ledger.FlowLook{Known: true, Status: "active", UID: cycleID, Revision: 1, Active: "0", Config: true, Plan: 1}
			deleting, empty, other, planless, unlisted := sound, ledger.FlowLook{}, sound, sound, sound
			deleting.Status, other.Revision, planless.Plan = "deleting", 2, 0
			c.looks = map[ids.FlowID]ledger.FlowLook{"f": sound, "gone": deleting, "lost": empty, "young": other, "plan": planless, "unlisted": unlisted, "foreign": sound}
			c.looks["f"] = ledger.FlowLook{Known: true, Status: "active", UID: cycleID, Revision: 1, Active: "3", Config: true, Plan: 1}
			audit(t, c)
			expect(t, c, "count f seen 3") // what is missing may be on its way
			sleep(2*time.Second + time.Millisecond)
			got := c.did()
			slices.Sort(got)
			if d := cmp.Diff([]string{"count f seen 3", "purge gone", "restore lost", "restore plan", "restore unlisted"}, got); d != "" {
				t.Errorf("repairs differ (-want +got):\n%s", d)
			}
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

// TestManyCyclesWaitForTheirTurn: the outbox is read once a pass for all of them, and what
// is missing in it is found all the same.
func TestManyCyclesWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCycles(1, 2, 3, 4, 5)
		for _, a := range c.active {
			c.nodes[a.Cycle][0] = ledger.NodeState{Node: "n0", Status: task.Ready, Attempt: 1}
			if a.Cycle != 4 {
				c.outbox = append(c.outbox, ledger.Entry{Kind: ledger.KindReady, Attempt: ids.Attempt{Flow: a.Flow, Cycle: a.Cycle, UUID: a.UUID, Node: "n0", N: 1}})
			}
		}
		audit(t, c)
		expect(t, c, "mend 4/n0 ready offer")
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.posted != 3 { // for the first one, and for each look at the one that lacks its entry
			t.Errorf("the outbox was read %d times", c.posted)
		}
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
			sleep(time.Second + time.Millisecond)
			expect(t, c, "offer 1/n0")
			dispatched(c, time.Now()) // the offer was made
			sleep(time.Second)
			expect(t, c)
		})
	}
}

// TestALostMessageBehindABacklog: the queue is never empty, but what was offered
// later has been claimed, and an offer that was made twice proves nothing.
func TestALostMessageBehindABacklog(t *testing.T) {
	for name, again := range map[string]bool{"passed": false, "a copy passed": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCycles(1, 2)
				c.depth = 100
				now := time.Now()
				dispatched(c, now)
				c.nodes[2][0] = ledger.NodeState{Node: "n0", Status: task.Running, Attempt: 1, Again: again,
					ReadyAt: now.Add(10 * time.Millisecond), DispatchedAt: now.Add(20 * time.Millisecond), StartedAt: now.Add(30 * time.Millisecond)}
				audit(t, c)
				sleep(3*time.Second + time.Millisecond)
				if again {
					sleep(time.Minute)
					expect(t, c)
				} else {
					expect(t, c, "offer 1/n0")
				}
			})
		})
	}
}

// TestALostQueue: what was offered before a queue was lost is offered again at once,
// whatever is in the queue by now and whatever Redis's clock shows, and only that; also
// when Redis is away just then.
func TestALostQueue(t *testing.T) {
	queue := taskqueue.Queue("station", "default")
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		for _, away := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				c := newCycles(1, 2)
				c.skew, c.depth = skew, 100
				dispatched(c, time.Now())
				a := audit(t, c)
				sleep(time.Second / 2) // between two looks
				lost := time.Now()
				sleep(time.Millisecond)
				c.mu.Lock()
				c.nodes[2][0] = ledger.NodeState{Node: "n0", Status: task.Dispatched, Attempt: 1, DispatchedAt: time.Now().Add(skew)}
				if away {
					c.down = ledger.ErrUnavailable
				}
				c.mu.Unlock()
				a.QueueLost(taskqueue.Queue("station", "other"), time.Now())
				a.QueueLost(queue, lost)
				if away {
					sleep(10 * time.Second)
					c.mu.Lock()
					c.down = nil
					c.mu.Unlock()
					expect(t, c)
					sleep(time.Second)
				} else {
					sleep(100 * time.Millisecond)
				}
				expect(t, c, "offer 1/n0")
				dispatched(c, time.Now())
				sleep(time.Minute)
				expect(t, c)
			})
		}
	}
}

// TestAMissingQueue has lost all that was offered in it, at the first look.
func TestAMissingQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCycles(1)
		c.deaf = taskqueue.ErrUnroutable
		dispatched(c, time.Now().Add(-time.Millisecond))
		audit(t, c)
		expect(t, c, "offer 1/n0")
	})
}

// TestTheBound: whatever is missing at whatever time, it is put back in time.
func TestTheBound(t *testing.T) {
	for _, within := range []time.Duration{reconcile.MinWithin, reconcile.DefaultWithin, time.Minute} {
		for ms := time.Duration(0); ms < within; ms += within / 37 {
			synctest.Test(t, func(t *testing.T) {
				c := newCycles(1, 2)
				c.within = within
				audit(t, c)
				sleep(within + ms) // somewhere between two looks
				c.mu.Lock()
				s := c.state[1]
				s.Completed, s.Counts = 1, map[task.Status]int64{task.Succeeded: 1} // it has just gone on
				c.state[1] = s
				c.nodes[1] = []ledger.NodeState{{Node: "n0", Status: task.Succeeded, Attempt: 1}, {Node: "n1", Status: task.Dispatched, Attempt: 1, DispatchedAt: time.Now()}}
				c.unleased = true // cycle 2's
				c.mu.Unlock()
				sleep(within)
				got := c.did()
				for _, want := range []string{"offer 1/n1", "mend 2/n0 running lease"} {
					if !slices.Contains(got, want) {
						t.Errorf("within %s, %s after a look: %q is missing in %q", within, ms, want, got)
					}
				}
			})
		}
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
			sleep(time.Minute + time.Second/2) // between two looks
			c.mu.Lock()
			c.down = nil
			c.mu.Unlock()
			sleep(time.Second) // one look: the worker that holds it needs a moment
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
