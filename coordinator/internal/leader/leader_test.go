package leader_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/internal/alert"
	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/leader"
	"github.com/tradingflow/weather-station/coordinator/internal/plans"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/inproc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// shelf is a catalog in memory.
type shelf struct {
	mu    sync.Mutex
	flows map[ids.FlowID]*catalog.Kept
}

func (s *shelf) Get(f ids.FlowID) (*catalog.Kept, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.flows[f]
	return r, ok
}

func (s *shelf) Paused(ids.FlowID) bool { return false }

func (s *shelf) GetFresh(_ context.Context, f ids.FlowID) (catalog.Record, error) {
	if k, ok := s.Get(f); ok {
		return k.Record(), nil
	}
	return catalog.Record{}, catalog.ErrNotFound
}

func (s *shelf) PausedFresh(context.Context, ids.FlowID) (time.Time, bool, error) {
	return time.Time{}, false, nil
}

func (s *shelf) Current(_ context.Context, flows []ids.FlowID) (map[ids.FlowID]bool, error) {
	out := map[ids.FlowID]bool{}
	for _, f := range flows {
		out[f] = true
	}
	return out, nil
}

func (s *shelf) Subscribe() *catalog.Subscription { panic("not followed here") }

func (s *shelf) Admitted() <-chan struct{} { panic("not followed here") }

func (s *shelf) Synced() <-chan struct{} { panic("not followed here") }

// queue joins the faces of a broker.
type queue struct {
	*inproc.Publisher
	admin *inproc.Admin
}

func (q queue) Depth(ctx context.Context, name string) (taskqueue.Depth, error) {
	return q.admin.Depth(ctx, name)
}

// cluster is a leader's surroundings in one process.
type cluster struct {
	*testing.T
	redis  *miniredis.Miniredis
	ledger *ledger.Ledger
	shelf  *shelf
	flows  *registry.Registry
	broker *inproc.Broker
	cfg    leader.Config
	closed chan ledger.CycleState

	mu     sync.Mutex
	mended []string
}

// start makes a cluster whose workers work.
func start(t *testing.T) *cluster {
	t.Helper()
	c := bare(t)
	c.work(4)
	return c
}

// bare makes a cluster without workers.
func bare(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{T: t, redis: miniredis.RunT(t), shelf: &shelf{flows: map[ids.FlowID]*catalog.Kept{}}, broker: inproc.New("station"),
		closed: make(chan ledger.CycleState, 10_000)}
	t.Cleanup(c.broker.Close)
	var err error
	if c.ledger, err = ledger.Open(t.Context(), ledger.Config{URL: "redis://" + c.redis.Addr()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.ledger.Close(); err != nil {
			t.Error(err)
		}
	})
	log := hclog.NewNullLogger()
	c.flows = registry.New(c.shelf, log)
	alerts, err := alert.New(alert.Config{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	c.cfg = leader.Config{Ledger: c.ledger, Queue: queue{c.broker.Publisher(), c.broker.Admin()}, Registry: c.flows, Plans: plans.New(c.ledger, c.flows),
		Alerts: alerts, Prefix: "station", Lease: 2 * time.Second, MaxLost: 3, Detailed: 3, Kept: 6, Log: log, WorkerGone: leader.WorkerGone,
		Metrics: leader.Metrics{Closed: func(s ledger.CycleState) { c.closed <- s }, Mended: func(kind string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.mended = append(c.mended, kind)
		}}}
	return c
}

// put registers a flow as a catalog that is followed shows it.
func (c *cluster) put(id string, rev int64, uid uuid.UUID, fields string) {
	c.Helper()
	body := fmt.Sprintf(`{"flow_id":%q,"name":"n",%s}`, id, fields)
	c.shelf.mu.Lock()
	c.shelf.flows[ids.FlowID(id)] = catalog.Keep(catalog.Record{Flow: ids.FlowID(id), UID: uid, Revision: rev, Document: json.RawMessage(body), Anchor: time.Now()})
	c.shelf.mu.Unlock()
	c.flows.Refresh(ids.FlowID(id))
	if c.flows.Get(ids.FlowID(id)) == nil {
		c.Fatal("the document can't be read: " + body)
	}
}

func (c *cluster) drop(id ids.FlowID) {
	c.shelf.mu.Lock()
	delete(c.shelf.flows, id)
	c.shelf.mu.Unlock()
	c.flows.Refresh(id)
}

// work runs n worker slots that do every task at once.
func (c *cluster) work(n int) {
	ctx, cancel := context.WithCancel(c.Context())
	var all sync.WaitGroup
	consumer := c.broker.Consumer()
	for i := range n {
		slot, err := consumer.Slot(taskqueue.Queue("station", "default"))
		if err != nil {
			c.Fatal(err)
		}
		all.Go(func() {
			defer func() { _ = slot.Close() }()
			for ctx.Err() == nil {
				d, err := slot.Receive(ctx)
				if err != nil {
					return
				}
				c.do(ctx, ids.WorkerID(fmt.Sprintf("w%d", i)), d)
				_ = d.Ack()
			}
		})
	}
	c.Cleanup(func() { cancel(); all.Wait() })
}

func (c *cluster) do(ctx context.Context, w ids.WorkerID, d taskqueue.Delivery) {
	t, err := task.Decode(d.Body())
	if err != nil {
		c.Error(err)
		return
	}
	claim, refusal, err := c.ledger.Claim(ctx, ledger.ClaimRequest{Attempt: t.Attempt, Token: uuid.New(), Worker: w, Lease: 2 * time.Second, Redelivered: d.Redelivered()})
	if err != nil || refusal != ledger.Granted {
		return // an outage or a copy; the leader sees to it
	}
	done := ledger.Completion{Attempt: t.Attempt, Token: claim.Token, Plan: &claim.Node, Status: task.Succeeded, Decided: ledger.AllEdges(ledger.Live)}
	if err := c.ledger.Complete(ctx, done); err != nil && ctx.Err() == nil && !errors.Is(err, ledger.ErrGone) && !errors.Is(err, ledger.ErrNotMine) {
		c.Error(err)
	}
}

// lead runs an epoch; stop ends it.
func (c *cluster) lead(epoch ids.Epoch) (stop func() error, ended <-chan error) {
	ctx, cancel := context.WithCancel(c.Context())
	done := make(chan error, 1)
	go func() { done <- leader.Run(ctx, c.cfg, epoch, func() bool { return true }) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	return stop, done
}

func (c *cluster) next(n int) (last ledger.CycleState) {
	c.Helper()
	deadline := time.After(patience)
	for range n {
		select {
		case last = <-c.closed:
		case <-deadline:
			c.Fatalf("no cycle ended; repairs %v", c.mended)
		}
	}
	return last
}

// until polls, for what nobody tells.
func (c *cluster) until(what string, cond func() bool) {
	c.Helper()
	deadline, look := time.After(patience), time.NewTicker(5*time.Millisecond)
	defer look.Stop()
	for !cond() {
		select {
		case <-look.C:
		case <-deadline:
			c.Fatalf("waited in vain: %s", what)
		}
	}
}

const diamond = `"schedule_type":"periodic","interval_seconds":0.2,"overlap":"allow","nodes":[{"id":"a","type":"delay"},{"id":"b","type":"delay"},{"id":"c","type":"delay"},{"id":"d","type":"delay"}],
"edges":[{"source":"a","target":"b"},{"source":"a","target":"c"},{"source":"b","target":"d"},{"source":"c","target":"d"}]`

func TestAnEpoch(t *testing.T) {
	c := start(t)
	c.put("f", 1, uuid.New(), diamond)
	stop, _ := c.lead(1)
	last := c.next(10)
	if last.Status != "completed" || last.Completed != 4 {
		t.Errorf("cycle %d ended %s with %d nodes", last.Cycle, last.Status, last.Completed)
	}
	begin := time.Now()
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if d := time.Since(begin); d > 500*time.Millisecond {
		t.Errorf("the end took %s", d)
	}
	if stop, _ = c.lead(2); true { // a successor goes on where it stopped
		c.next(5)
		_ = stop()
	}
	numbers, err := c.ledger.CycleNumbers(t.Context(), "f")
	if err != nil || len(numbers) > 11 { // 6, a slack of 3, and what came since
		t.Errorf("%d cycles are kept, %v", len(numbers), err)
	}
	if len(c.mended) > 0 {
		t.Errorf("repairs without a loss: %v", c.mended)
	}
	outcomes := map[string]int{}
	after := ""
	for {
		records, err := c.ledger.Journal(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			after = r.ID
			switch r.Op {
			case "outcome", "cycle_end", "cycle_start", "claim":
				outcomes[fmt.Sprintf("%s %d %s", r.Op, r.Cycle, r.Node)]++
			}
		}
		if len(records) == 0 {
			break
		}
	}
	for what, n := range outcomes {
		if n != 1 {
			t.Errorf("%s: %d times", what, n)
		}
	}
}

func TestAFencedLeaderEnds(t *testing.T) {
	c := start(t)
	c.put("f", 1, uuid.New(), diamond)
	stop, ended := c.lead(1)
	c.next(2)
	if _, err := c.ledger.Takeover(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !ledger.Fenced(err) {
			t.Errorf("Run returned %v", err)
		}
	case <-time.After(patience):
		t.Error("the old leader goes on")
		_ = stop()
	}
}

func TestAnEpochThatEndsBeforeRedisAnswers(t *testing.T) {
	c := start(t)
	c.redis.SetError("LOADING Redis is loading the dataset in memory")
	stop, _ := c.lead(1)
	if err := stop(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	c.redis.SetError("")
	if n := len(c.redis.Keys()); n > 0 {
		t.Errorf("%d keys were written", n)
	}
}

// TestFlowsGoOnAfterAFlush: nothing tells the leader that Redis was emptied.
func TestFlowsGoOnAfterAFlush(t *testing.T) {
	c := start(t)
	c.put("f", 1, uuid.New(), diamond)
	stop, _ := c.lead(1)
	defer func() { _ = stop() }()
	c.next(3)
	c.redis.FlushAll()
	for len(c.closed) > 0 {
		<-c.closed
	}
	c.next(5)
}

// TestAFlowMadeAgain while the old one is being removed: nothing of the old one
// is left, and the new one runs.
func TestAFlowMadeAgain(t *testing.T) {
	c := start(t)
	c.put("f", 1, uuid.New(), diamond)
	stop, _ := c.lead(1)
	defer func() { _ = stop() }()
	c.next(4)
	c.drop("f")
	c.put("f", 1, uuid.New(), strings.ReplaceAll(diamond, `"a"`, `"x"`))
	c.until("the new flow's first cycle", func() bool {
		for len(c.closed) > 0 {
			s := <-c.closed
			if p, err := c.cfg.Plans.Of(t.Context(), s); err == nil && p.Node("x") != nil {
				return true
			}
		}
		return false
	})
	for _, k := range c.redis.Keys() {
		if strings.HasSuffix(k, ":node:a:state") {
			t.Errorf("%s is left of the old flow", k)
		}
	}
}
