package worker_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/worker"
	"github.com/tradingflow/weather-station/worker/node"
)

func (c *cluster) handle(nodeType string, h node.HandlerFunc) { c.reg.Handle(nodeType, h) }

func returns(res node.Result, err error) node.HandlerFunc {
	return func(context.Context, *node.Input) (node.Result, error) { return res, err }
}

// blocks says on started that it runs, then waits for the end of its context.
func blocks(started chan<- int) node.HandlerFunc {
	return func(ctx context.Context, in *node.Input) (node.Result, error) {
		started <- in.Attempt
		<-ctx.Done()
		return node.Result{}, context.Cause(ctx)
	}
}

// TestOutcomes: what handlers do is what the ledger says of their nodes, and the
// worker lives through all of it.
func TestOutcomes(t *testing.T) {
	retry := plan.Retry{Enabled: true, MaxRetries: 2, Backoff: 10 * time.Millisecond, MaxBackoff: 10 * time.Millisecond}
	c := newCluster(t,
		plan.Node{ID: "a", Type: "emit", Successors: []plan.Successor{{Target: "b", InDegree: 2, Plain: true,
			Edges: []plan.Edge{{SourceHandle: "zero"}, {SourceHandle: "default"}}}}},
		plan.Node{ID: "b", Type: "echo"},
		plan.Node{ID: "flaky", Type: "flaky", Retry: retry},
		plan.Node{ID: "never", Type: "failing", Retry: retry},
		plan.Node{ID: "permanent", Type: "permanent", Retry: retry},
		plan.Node{ID: "panic", Type: "panic"},
		plan.Node{ID: "hang", Type: "hang", Timeout: 50 * time.Millisecond},
		plan.Node{ID: "large", Type: "large", Retry: retry},
		plan.Node{ID: "nan", Type: "nan", Retry: retry},
		plan.Node{ID: "stop", Type: "stop"},
	)
	release := make(chan struct{})
	defer close(release)
	c.handle("emit", returns(node.Outputs(map[string]any{"zero": 0}), nil))
	c.handle("echo", func(_ context.Context, in *node.Input) (node.Result, error) {
		return node.Outputs(map[string]any{"got": in.Values["in"]}), nil
	})
	c.handle("flaky", func(_ context.Context, in *node.Input) (node.Result, error) {
		if in.Attempt < 3 {
			return node.Result{}, io.EOF
		}
		return node.Outputs(map[string]any{"attempt": in.Attempt}), nil
	})
	c.handle("failing", returns(node.Result{}, io.EOF))
	c.handle("permanent", returns(node.Result{}, node.Permanent(io.EOF)))
	c.handle("panic", func(context.Context, *node.Input) (node.Result, error) { panic("oh") })
	c.handle("hang", func(context.Context, *node.Input) (node.Result, error) { <-release; return node.Result{}, nil })
	c.handle("large", returns(node.Outputs(map[string]any{"a": strings.Repeat("x", task.MaxOutputBytes)}), nil))
	c.handle("nan", returns(node.Outputs(map[string]any{"a": math.NaN()}), nil))
	c.handle("stop", returns(node.Stop("enough"), nil))
	c.work("w1", time.Second)

	c.reaches("b", task.Succeeded)
	if got := string(c.output("b", "got")); got != `[0,{"zero":0}]` {
		t.Errorf("b got %s", got)
	}
	c.reaches("flaky", task.Succeeded)
	if got := string(c.output("flaky", "attempt")); got != "3" {
		t.Errorf("flaky succeeded at attempt %s", got)
	}
	if s := c.reaches("stop", task.Stopped); s.Reason != "enough" {
		t.Errorf("stop: %+v", s)
	}
	for id, want := range map[ids.NodeID]struct {
		class    task.Class
		text     string
		attempts int
	}{
		"never":     {task.Retryable, "EOF", 3},
		"permanent": {task.Permanent, "EOF", 1},
		"panic":     {task.Panic, "handler panicked: oh", 1},
		"hang":      {task.Timeout, "timed out after 50ms", 1},
		"large":     {task.Permanent, "at most 262144 are allowed", 1},
		"nan":       {task.Permanent, "does not encode as JSON", 1},
	} {
		s := c.reaches(id, task.Failed)
		if s.ErrorClass != string(want.class) || !strings.Contains(s.Error, want.text) || s.Attempt != want.attempts {
			t.Errorf("%s: attempt %d, %s %q; want attempt %d, %s %q", id, s.Attempt, s.ErrorClass, s.Error, want.attempts, want.class, want.text)
		}
	}
	for _, n := range c.plan.Nodes {
		if got := c.journaled("outcome", n.ID); got != 1 {
			t.Errorf("%s has %d outcomes", n.ID, got)
		}
	}
}

// TestCancel: a cancelled cycle ends its running node within a heartbeat.
func TestCancel(t *testing.T) {
	c := newCluster(t, plan.Node{ID: "a", Type: "block"})
	started := make(chan int, 1)
	c.handle("block", blocks(started))
	c.work("w1", time.Second)
	<-started
	_, err := c.ledger.CancelCycle(t.Context(), 0, flow, c.cycle.Cycle, c.cycle.UUID, ledger.CauseCancelled)
	c.ok(err)
	c.reaches("a", task.Cancelled)
	c.until("the cycle is cancelled", func() bool {
		s, err := c.ledger.Cycle(t.Context(), flow, c.cycle.Cycle)
		c.ok(err)
		return s.Status == "cancelled"
	})
}

// TestDrain: a worker that stops hands back what does not end in time, and the
// next one runs it without a retry being used up; what may be started only once
// stays where it is.
func TestDrain(t *testing.T) {
	c := newCluster(t,
		plan.Node{ID: "a", Type: "block"},
		plan.Node{ID: "b", Type: "short"},
		plan.Node{ID: "once", Type: "once", Delivery: plan.AtMostOnce},
	)
	started, once, finish := make(chan int, 1), make(chan int, 1), make(chan struct{})
	c.handle("block", blocks(started))
	c.handle("once", blocks(once))
	short := make(chan struct{})
	c.handle("short", func(context.Context, *node.Input) (node.Result, error) {
		close(short)
		<-finish
		return node.Result{}, nil
	})
	first := c.work("w1", time.Second)
	<-started
	<-once
	<-short
	first.stop()
	c.until("the worker is not ready", func() bool { return get(t, first.health+"/readyz") == http.StatusServiceUnavailable })
	close(finish)
	c.reaches("b", task.Succeeded)
	c.drain(first)
	c.until("w1 has left", func() bool {
		_, err := c.ledger.Worker(t.Context(), "w1")
		return errors.Is(err, ledger.ErrGone)
	})
	c.work("w2", 10*time.Millisecond)
	if attempt := <-started; attempt != 2 {
		t.Errorf("the next attempt is %d", attempt)
	}
	if s := c.node("a"); s.Worker != "w2" || s.Retries != 0 {
		t.Errorf("a: %+v", s)
	}
	c.until("the leader is told to look for w1", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.suspects > 0
	})
	if s := c.node("once"); s.Status != task.Running || s.Worker != "w1" || s.Attempt != 1 {
		t.Errorf("once: %+v", s)
	}
}

// TestMessages: a malformed message is parked, and a type that is not carried is
// declined until a worker that carries it takes it.
func TestMessages(t *testing.T) {
	c := newCluster(t, plan.Node{ID: "a", Type: "rare"})
	c.publish(t.Context(), []byte("no task"))
	c.work("w1", time.Second)
	c.until("the offer is declined", func() bool { return c.journaled("declined", "a") > 0 })
	c.until("the message is parked", func() bool {
		d, err := c.broker.Admin().Depth(t.Context(), taskqueue.Parking("station"))
		return err == nil && d.Ready == 1
	})
	if s := c.node("a"); s.Status != task.Dispatched || s.Blocker != "declined" {
		t.Errorf("a: %+v", s)
	}
}

// TestRedelivery: a message that comes again while its node runs starts nothing,
// and makes the leader look.
func TestRedelivery(t *testing.T) {
	c := newCluster(t, plan.Node{ID: "a", Type: "work"})
	started, finish := make(chan struct{}, 8), make(chan struct{})
	c.handle("work", func(context.Context, *node.Input) (node.Result, error) {
		started <- struct{}{}
		<-finish
		return node.Result{}, nil
	})
	c.work("w1", time.Second)
	<-started
	c.broker.Disconnect()
	c.until("the claim is suspect", func() bool { return c.journaled("suspect", "a") == 1 })
	close(finish)
	c.reaches("a", task.Succeeded)
	if n := len(started); n != 0 {
		t.Errorf("the node was started %d times more", n)
	}
	c.until("no message is left", func() bool {
		d, err := c.broker.Admin().Depth(t.Context(), taskqueue.Queue("station", "default"))
		return err == nil && d.Ready == 0
	})
}

// TestRedisAway: a result waits for Redis longer than the lease; what ran
// meanwhile was interrupted and runs again without using up a retry.
func TestRedisAway(t *testing.T) {
	c := newCluster(t, plan.Node{ID: "done", Type: "work"}, plan.Node{ID: "cut", Type: "cut"})
	started, finish := make(chan struct{}, 8), make(chan struct{})
	c.handle("work", func(context.Context, *node.Input) (node.Result, error) {
		started <- struct{}{}
		<-finish
		return node.Outputs(map[string]any{"a": 1}), nil
	})
	cut, fenced := make(chan int, 8), make(chan struct{}, 8)
	c.handle("cut", func(ctx context.Context, in *node.Input) (node.Result, error) {
		cut <- in.Attempt
		if in.Attempt > 1 {
			return node.Result{}, nil
		}
		<-ctx.Done()
		fenced <- struct{}{}
		return node.Result{}, ctx.Err()
	})
	c.work("w1", time.Second)
	<-started
	<-cut
	c.redis.SetError("LOADING Redis is loading the dataset in memory")
	close(finish)
	<-fenced // a lease has passed, nearly
	c.redis.SetError("")
	if s := c.reaches("done", task.Succeeded); s.Attempt != 1 || len(started) != 0 {
		t.Errorf("done: attempt %d, started %d times more", s.Attempt, len(started))
	}
	if s := c.reaches("cut", task.Succeeded); s.Attempt != 2 || s.Retries != 0 || s.Lost != 0 {
		t.Errorf("cut: %+v", s)
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return resp.StatusCode
}

// TestHealth: a worker names itself at its health address and in the ledger.
func TestHealth(t *testing.T) {
	c := newCluster(t, plan.Node{ID: "a", Type: "rare"})
	c.handle("echo", returns(node.Result{}, nil))
	p := c.work("w1", time.Second)
	c.until("the worker is listed", func() bool {
		all, err := c.ledger.Workers(t.Context())
		c.ok(err)
		return len(all) == 1 && all[0].ID == "w1" && "http://"+all[0].Health == p.health && all[0].Types[0] == "echo"
	})
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if got := get(t, p.health+path); got != http.StatusOK {
			t.Errorf("%s answers %d", path, got)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.health+"/worker", nil)
	c.ok(err)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	c.ok(err)
	defer func() { c.ok(resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	c.ok(err)
	if strings.TrimSpace(string(body)) != "w1" {
		t.Errorf("/worker answers %q", body)
	}
}

func TestSettings(t *testing.T) {
	bad := worker.Config{ID: "a b", Pool: "p/q", Concurrency: 1001, Lease: time.Millisecond, EarlyAck: -1, Advertise: "host"}
	err := worker.Run(t.Context(), bad, nil, nil, node.NewRegistry())
	if err == nil {
		t.Fatal("accepted")
	}
	for _, fault := range []string{"worker id", "pool", "concurrency is 1001", "lease is 1ms", "early ack", `advertise is "host"`} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%q is missing in: %v", fault, err)
		}
	}
}
