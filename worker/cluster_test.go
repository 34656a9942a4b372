package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/inproc"
	"github.com/tradingflow/weather-station/worker"
	"github.com/tradingflow/weather-station/worker/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	epoch ids.Epoch  = 1
	flow  ids.FlowID = "f"
	lease            = time.Second
)

// cluster is a ledger on an embedded Redis, a queue in memory and the least of a
// leader: it offers what is ready and rings timers.
type cluster struct {
	t      *testing.T
	redis  *miniredis.Miniredis
	ledger *ledger.Ledger
	broker *inproc.Broker
	reg    *node.Registry
	plan   *plan.Plan
	cycle  ledger.Started
	keys   *keys

	mu       sync.Mutex
	suspects int
}

// newCluster starts a cycle of these nodes. Edges come from their successors.
func newCluster(t *testing.T, nodes ...plan.Node) *cluster {
	t.Helper()
	c := &cluster{t: t, redis: miniredis.NewMiniRedis(), broker: inproc.New("station"), reg: node.NewRegistry()}
	c.redis.ClockTTL(true)
	c.ok(c.redis.Start())
	t.Cleanup(c.redis.Close)
	t.Cleanup(c.broker.Close)
	l, err := ledger.Open(t.Context(), ledger.Config{URL: "redis://" + c.redis.Addr(), Name: "test"})
	c.ok(err)
	c.ledger = l
	t.Cleanup(func() { c.ok(l.Close()) })
	p := &plan.Plan{Flow: flow, UID: uuid.New(), Revision: 1, OnFailure: plan.Continue, Components: len(nodes), Nodes: nodes}
	for i := range p.Nodes {
		complete(&p.Nodes[i], i)
	}
	p.Seal()
	for i := range p.Nodes {
		for _, s := range p.Nodes[i].Successors {
			target := p.Node(s.Target)
			for _, e := range s.Edges {
				target.Inputs = append(target.Inputs, plan.Input{Source: p.Nodes[i].ID, SourceHandle: e.SourceHandle, TargetHandle: "in"})
			}
		}
	}
	c.plan = p
	_, err = l.Takeover(t.Context(), epoch)
	c.ok(err)
	c.ok(l.WritePlan(t.Context(), p))
	c.ok(l.ActivateFlow(t.Context(), ledger.Activation{Flow: flow, UID: p.UID, Revision: 1, Document: []byte("{}"), Anchor: time.UnixMilli(1000)}))
	c.cycle, err = l.StartCycle(t.Context(), epoch, ledger.Start{Plan: p, Occasion: ids.Occasion(p.UID, "test")})
	c.ok(err)
	c.keys = serveKeys(t)
	host, err := os.Hostname()
	c.ok(err)
	c.ok(l.BeatCoordinator(t.Context(), ledger.Coordinator{ID: "c1", URL: c.keys.url, Host: host}, time.Hour))
	ctx, stop := context.WithCancel(t.Context())
	var lead sync.WaitGroup
	lead.Go(func() { c.lead(ctx) })
	t.Cleanup(func() { stop(); lead.Wait() })
	return c
}

// complete fills in what flows have by default.
func complete(n *plan.Node, component int) {
	n.Pool, n.Component, n.Join, n.Aggregate = plan.DefaultPool, component, plan.AllSuccess, plan.AggregateList
	if n.Timeout == 0 {
		n.Timeout = time.Minute
	}
	if n.Delivery == "" {
		n.Delivery = plan.AtLeastOnce
	}
}

func (c *cluster) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) lead(ctx context.Context) {
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		entries, err := c.ledger.Outbox(ctx, "", 100)
		if err != nil {
			continue // Redis is away for the sake of a test
		}
		for _, e := range entries {
			if e.Kind == ledger.KindSuspect {
				c.mu.Lock()
				c.suspects++
				c.mu.Unlock()
			}
			if e.Kind != ledger.KindReady {
				_ = c.ledger.Drop(ctx, epoch, e.ID) // comes again if it failed
				continue
			}
			c.offer(ctx, e.Attempt)
			_ = c.ledger.Dispatched(ctx, epoch, []ledger.Entry{e})
		}
		timers, err := c.ledger.Timers(ctx, 100)
		for _, x := range timers {
			if err == nil && x.Kind == "retry" && time.Now().After(x.Due) {
				_ = c.ledger.Retry(ctx, epoch, x.Attempt)
			}
		}
	}
}

func (c *cluster) publish(ctx context.Context, body []byte) {
	if _, err := c.broker.Publisher().Publish(ctx, taskqueue.Queue("station", "default"), "id", body); err != nil && ctx.Err() == nil {
		c.t.Errorf("publish: %v", err)
	}
}

func (c *cluster) offer(ctx context.Context, a ids.Attempt) {
	c.publish(ctx, task.Task{Attempt: a, Type: c.plan.Node(a.Node).Type, Pool: "default"}.Encode())
}

// process is a running worker.
type process struct {
	health string
	stop   context.CancelFunc
	done   chan struct{}
	err    error
}

func (c *cluster) work(id string, grace time.Duration) *process {
	c.t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(c.t.Context(), "tcp", "127.0.0.1:0")
	c.ok(err)
	ctx, cancel := context.WithCancel(c.t.Context())
	p := &process{health: "http://" + ln.Addr().String(), stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = worker.Run(ctx, worker.Config{ID: id, Concurrency: 4, Lease: lease, Grace: grace, Health: ln}, ledger.One(c.ledger), c.broker.Consumer(), c.reg)
	}()
	c.t.Cleanup(func() { c.drain(p) })
	return p
}

func (c *cluster) drain(p *process) {
	c.t.Helper()
	p.stop()
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		c.t.Fatal("the worker does not end")
	}
	if p.err != nil {
		c.t.Errorf("worker: %v", p.err)
	}
}

func (c *cluster) node(id ids.NodeID) ledger.NodeState {
	c.t.Helper()
	s, err := c.ledger.Nodes(c.t.Context(), flow, c.cycle.Cycle, []ids.NodeID{id})
	c.ok(err)
	return s[0]
}

// until waits for something that has no signal.
func (c *cluster) until(what string, holds func() bool) {
	c.t.Helper()
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	deadline := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-t.C:
		case <-deadline:
			c.t.Fatalf("still waiting until %s", what)
		}
	}
}

// reaches waits for a node's status and returns the node.
func (c *cluster) reaches(id ids.NodeID, want task.Status) ledger.NodeState {
	c.t.Helper()
	var s ledger.NodeState
	c.until(fmt.Sprintf("%s is %s", id, want), func() bool {
		s = c.node(id)
		if s.Status.Final() && s.Status != want {
			c.t.Fatalf("%s is %s: %s %s", id, s.Status, s.ErrorClass, s.Error)
		}
		return s.Status == want
	})
	return s
}

// output returns what the ledger keeps of a node's handle; nil for none.
func (c *cluster) output(id ids.NodeID, handle string) json.RawMessage {
	c.t.Helper()
	out, err := c.ledger.Outputs(c.t.Context(), flow, c.cycle.Cycle, []string{string(id) + ":" + handle})
	c.ok(err)
	return out[0]
}

// journaled counts journal records of a node's operation.
func (c *cluster) journaled(op string, id ids.NodeID) int {
	c.t.Helper()
	all, err := c.ledger.Journal(c.t.Context(), "", 1_000_000)
	c.ok(err)
	n := 0
	for _, r := range all {
		if r.Op == op && r.Node == id {
			n++
		}
	}
	return n
}
