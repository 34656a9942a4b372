package leader_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/internal/plans"
	"github.com/tradingflow/weather-station/coordinator/internal/reconcile"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Times of a scene: without a loss its cycle ends when the retry has been made.
const (
	within     = reconcile.MinWithin
	retryDelay = time.Second
)

// A node of each kind that has something to lose, and one that waits for all.
const everyState = `"schedule_type":"manual","cycle_timeout":"30s","nodes":[{"id":"d","type":"delay"},{"id":"r","type":"delay"},{"id":"t","type":"delay"},
{"id":"h","type":"special","retry":{"enabled":false}},{"id":"x","type":"delay"},{"id":"w","type":"delay"}],
"edges":[{"source":"d","target":"w"},{"source":"r","target":"w"},{"source":"t","target":"w"},{"source":"h","target":"w"},{"source":"x","target":"w"}]`

// scene is a cycle under a leader and without workers: d is dispatched, r runs on
// a worker that beats, t waits to be retried, h is held, x has ended, w waits.
type scene struct {
	*cluster
	uid  uuid.UUID
	at   ledger.Started
	held ledger.Claim // of r
}

func (s *scene) attempt(n ids.NodeID) ids.Attempt {
	return ids.Attempt{Flow: "f", Cycle: s.at.Cycle, UUID: s.at.UUID, Node: n, N: 1}
}

func (s *scene) key(node string) string { return "station:flow:f:cycle:1:node:" + node + ":state" }

func (s *scene) claim(n ids.NodeID) ledger.Claim {
	s.Helper()
	claim, refusal, err := s.ledger.Claim(s.Context(), ledger.ClaimRequest{Attempt: s.attempt(n), Token: uuid.New(), Worker: "w1", Lease: 2 * time.Second})
	if err != nil || refusal != ledger.Granted {
		s.Fatalf("claim %s: %s, %v", n, refusal, err)
	}
	return claim
}

func (s *scene) complete(claim ledger.Claim) error {
	return s.ledger.Complete(s.Context(), ledger.Completion{Attempt: claim.Attempt, Token: claim.Token, Plan: &claim.Node, Status: task.Succeeded, Decided: ledger.AllEdges(ledger.Live)})
}

func (s *scene) run(key string) ledger.Started {
	s.Helper()
	p, err := s.flows.Get("f").Plan()
	if err != nil {
		s.Fatal(err)
	}
	started, err := s.ledger.StartCycle(s.Context(), 1, ledger.Start{Plan: p, TriggerKey: key, Occasion: plans.TriggerOccasion(p.UID, key), Overlap: true})
	if err != nil {
		s.Fatal(err)
	}
	return started
}

func (s *scene) node(n ids.NodeID) ledger.NodeState {
	s.Helper()
	states, err := s.ledger.Nodes(s.Context(), "f", s.at.Cycle, []ids.NodeID{n})
	if err != nil {
		s.Fatal(err)
	}
	return states[0]
}

func (s *scene) beat(id ids.WorkerID, types ...string) {
	s.Helper()
	if err := s.ledger.BeatWorker(s.Context(), ledger.Worker{ID: id, Pool: "default", Types: types}, time.Minute); err != nil {
		s.Fatal(err)
	}
}

func setScene(t *testing.T) *scene {
	c := bare(t)
	c.cfg.Within = within
	s := &scene{cluster: c, uid: uuid.New()}
	s.beat("w1", "delay")
	stop, _ := c.lead(1)
	t.Cleanup(func() { _ = stop() })
	c.put("f", 1, s.uid, everyState)
	c.until("the flow", func() bool { _, err := c.ledger.Flow(t.Context(), "f"); return err == nil })
	s.at = s.run("k")
	c.until("offers", func() bool {
		if h := s.node("h"); h.Status == task.Dispatched && h.Blocker == "" { // it was offered before anybody knew what the workers carry
			_ = s.ledger.Decline(t.Context(), s.attempt("h"), "w1", time.Second)
		}
		return s.node("d").Status == task.Dispatched && s.node("r").Status == task.Dispatched && s.node("t").Status == task.Dispatched &&
			s.node("x").Status == task.Dispatched && s.node("h").Blocker != ""
	})
	s.held = s.claim("r")
	if err := s.complete(s.claim("x")); err != nil {
		t.Fatal(err)
	}
	claim := s.claim("t")
	if _, err := s.ledger.Fail(t.Context(), ledger.Failure{Attempt: claim.Attempt, Token: claim.Token, Plan: &claim.Node, Class: task.Retryable,
		Error: "x", Retries: 1, Delay: retryDelay, OnFailure: claim.OnFailure}); err != nil {
		t.Fatal(err)
	}
	return s
}

// goOn lets the workers come and demands that all ends in time.
func (s *scene) goOn(limit time.Duration, ends bool) {
	s.Helper()
	began := time.Now()
	stop := make(chan struct{})
	beaten := make(chan struct{})
	go func() { // the worker of r lives, and completes it later
		defer close(beaten)
		t := time.NewTicker(200 * time.Millisecond)
		defer t.Stop()
		for range 5 {
			if b, err := s.ledger.Heartbeat(s.Context(), "w1", 2*time.Second, []ledger.HeldClaim{{Attempt: s.held.Attempt, Token: s.held.Token}}); err != nil || b[0] == ledger.Lost {
				return
			}
			select {
			case <-t.C:
			case <-stop:
				return
			}
		}
		_ = s.complete(s.held) // refused when the loss has taken the claim
	}()
	defer func() { close(stop); <-beaten }()
	s.beat("w2", "delay", "special")
	s.work(4)
	if ends {
		last := s.next(1)
		if last.UUID != s.at.UUID || last.Status != "completed" || last.Completed != 6 {
			s.Errorf("cycle %d ended %s with %d nodes", last.Cycle, last.Status, last.Completed)
		}
	} else {
		s.until("the loss of the cycle", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return slices.Contains(s.mended, "stray") })
	}
	took := time.Since(began)
	s.mu.Lock()
	s.Logf("after %s: %v", took.Round(time.Millisecond), s.mended)
	s.mu.Unlock()
	if took > limit {
		s.Errorf("it took %s, %s are allowed", took, limit)
	}
	s.until("the count of open cycles", func() bool { f, err := s.ledger.Flow(s.Context(), "f"); return err == nil && f.Active == 0 })
	again := s.run("again") // the flow goes on
	for {
		if last := s.next(1); last.UUID == again.UUID {
			if last.Status != "completed" || last.Completed != 6 {
				s.Errorf("the next cycle ended %s with %d nodes", last.Status, last.Completed)
			}
			return
		}
	}
}

const slack = time.Second

// TestEachKeyIsLost deletes each key that a scene has, one in each run.
func TestEachKeyIsLost(t *testing.T) {
	first := setScene(t)
	keys := first.redis.Keys()
	first.goOn(retryDelay+within+slack, true)
	if len(first.mended) > 0 {
		t.Errorf("repairs without a loss: %v", first.mended)
	}
	for _, key := range keys {
		t.Run(strings.TrimPrefix(key, "station:"), func(t *testing.T) {
			t.Parallel()
			s := setScene(t)
			s.redis.Del(key)
			s.goOn(retryDelay+within+slack, !strings.HasSuffix(key, "cycle:1:status"))
		})
	}
}

// losses are single entries, members and fields.
var losses = map[string]struct {
	lose   func(s *scene)
	repair string
	extra  time.Duration // what the natural course takes beyond a repair
}{
	"the message of an offer": {func(s *scene) { s.swallow("d") }, "message", 0},
	"an entry of an offer":    {func(s *scene) { s.swallow("d"); s.redis.HSet(s.key("d"), "status", "ready") }, "offer", 0},
	"a lease":                 {func(s *scene) { _, _ = s.redis.ZRem("station:leases", s.member("r")) }, "", 0},
	"the lease of a lost worker": {func(s *scene) {
		s.redis.HSet(s.key("r"), "token", uuid.NewString())
		_, _ = s.redis.ZRem("station:leases", s.member("r"))
	}, "lease", 2*time.Second + 500*time.Millisecond},
	"a retry timer":        {func(s *scene) { _, _ = s.redis.ZRem("station:timers", "retry|"+s.member("t")+"|1") }, "timer", 0},
	"the deadline's timer": {func(s *scene) { _, _ = s.redis.ZRem("station:timers", "deadline|"+s.member("")+"|0") }, "deadline", 0},
	"the deadline, torn": {func(s *scene) {
		_, _ = s.redis.ZRem("station:timers", "deadline|"+s.member("")+"|0")
		s.redis.HDel("station:flow:f:cycle:1:status", "deadline")
	}, "deadline", 0},
	"the timer of a declined offer": {func(s *scene) { s.swallow("d"); s.redis.HSet(s.key("d"), "blocker", "declined") }, "declined", 0},
	"a held node's place":           {func(s *scene) { s.redis.Del("station:held:type:default:special") }, "held", 0},
	"the name of a hold":            {func(s *scene) { s.redis.Del("station:holds") }, "held", 0},
	"why a node is held":            {func(s *scene) { s.redis.HDel(s.key("h"), "held") }, "offer", 0},
	"a counter of a join":           {func(s *scene) { s.redis.HDel("station:flow:f:cycle:1:joins", "w:live") }, "counts", 0},
	"a counter of a cycle":          {func(s *scene) { s.redis.HSet("station:flow:f:cycle:1:status", "completed_nodes", "0") }, "counts", 0},
	"an open cycle in the list":     {func(s *scene) { _, _ = s.redis.ZRem("station:active", s.cycle()) }, "active", 0},
	"an open cycle in its flow":     {func(s *scene) { _, _ = s.redis.ZRem("station:flow:f:cycles", "1") }, "cycle", 0},
	"the count of open cycles":      {func(s *scene) { s.redis.HSet("station:flow:f:state", "active", "5") }, "active", 0},
	"a node of the plan":            {func(s *scene) { s.redis.HDel("station:flow:f:plan:1", "w") }, "plan", 0},
	"a flow in the list":            {func(s *scene) { _, _ = s.redis.SRem("station:flows", "f") }, "listing", 0},
	"the mirrored definition":       {func(s *scene) { s.redis.Del("station:flow:f:config") }, "config", 0},
}

// swallow takes the message of a node out of the queue.
func (s *scene) swallow(node ids.NodeID) {
	s.Helper()
	slot, err := s.broker.Consumer().Slot(taskqueue.Queue("station", "default"))
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = slot.Close() }()
	for {
		d, err := slot.Receive(s.Context())
		if err != nil {
			s.Fatal(err)
		}
		t, err := task.Decode(d.Body())
		if err != nil {
			s.Fatal(err)
		}
		_ = d.Ack()
		if t.Node == node {
			return
		}
	}
}

// cycle and member name the cycle and one of its nodes as sorted sets do.
func (s *scene) cycle() string             { return "f|1|" + s.at.UUID.String() }
func (s *scene) member(node string) string { return s.cycle() + "|" + node }

// TestEachEntryIsLost takes away one thing in each run.
func TestEachEntryIsLost(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(losses)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := losses[name]
			s := setScene(t)
			l.lose(s)
			repaired := func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return slices.Contains(s.mended, l.repair)
			}
			if l.repair != "" && l.repair != "message" { // messages are missed only when workers have emptied the queue
				began := time.Now()
				s.until("the repair "+l.repair, repaired)
				if took := time.Since(began); took > within+slack {
					t.Errorf("the repair took %s", took)
				}
			}
			s.goOn(retryDelay+within+slack+l.extra, true)
			if l.repair == "" {
				return
			}
			s.until("the repair "+l.repair, repaired)
			counts, err := s.ledger.Repairs(t.Context())
			if err != nil || counts[l.repair] == 0 {
				t.Errorf("counted %v, %v", counts, err)
			}
			found := false
			for after := ""; ; {
				part, err := s.ledger.Journal(t.Context(), after, 1000)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range part {
					after = r.ID
					found = found || r.Op == "repair" && strings.HasPrefix(r.Detail, l.repair+": ")
				}
				if len(part) == 0 {
					break
				}
			}
			if !found {
				t.Errorf("the journal has no repair %q", l.repair)
			}
		})
	}
}

// TestABrokerIsRestarted: what was in its queues and claimed by nobody is offered again
// at once, however long the bound of repairs is; what was claimed is not.
func TestABrokerIsRestarted(t *testing.T) {
	c := bare(t)
	c.cfg.Within = time.Minute
	s := &scene{cluster: c, uid: uuid.New()}
	s.beat("w1", "delay", "special")
	stop, _ := c.lead(1)
	t.Cleanup(func() { _ = stop() })
	c.put("f", 1, s.uid, everyState)
	c.until("the flow", func() bool { _, err := c.ledger.Flow(t.Context(), "f"); return err == nil })
	s.at = s.run("k")
	c.until("offers", func() bool {
		return !slices.ContainsFunc([]ids.NodeID{"d", "r", "t", "h", "x"}, func(n ids.NodeID) bool { return s.node(n).Status != task.Dispatched })
	})
	s.held = s.claim("r")
	began := time.Now()
	c.broker.Restart()
	again := func() (count int) {
		for _, n := range []ids.NodeID{"d", "r", "t", "h", "x"} {
			if s.node(n).Again {
				count++
			}
		}
		return count
	}
	c.until("other offers", func() bool { return again() == 4 && s.node("d").Status == task.Dispatched })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	if s.node("r").Again {
		t.Error("a claimed node is offered again")
	}
	c.until("counts", func() bool {
		counts, err := s.ledger.Repairs(t.Context())
		return err == nil && counts["message"] == 4
	})
	s.goOn(10*time.Second, true)
}

// TestTheWordOfAnEndIsLost: an end that no leader heard of is heard of later.
func TestTheWordOfAnEndIsLost(t *testing.T) {
	s := setScene(t)
	s.goOn(retryDelay+within+slack, true)
	if _, err := s.redis.ZAdd("station:closing", float64(time.Now().UnixMilli()), s.member("")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if last := s.next(1); last.UUID != s.at.UUID {
		t.Errorf("heard of cycle %d", last.Cycle)
	}
	if took := time.Since(began); took > within+slack {
		t.Errorf("it took %s", took)
	}
}
