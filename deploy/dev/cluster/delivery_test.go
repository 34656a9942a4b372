package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// TestUnknownTypeWaits registers a node type that no worker carries: the node
// waits and says for what, and runs once a worker comes that carries it.
func TestUnknownTypeWaits(t *testing.T) {
	t.Parallel()
	c := start(t, setup{})
	d := flow("quotes", 0).
		add(vertex{ID: "book", Type: "transform", Parameters: map[string]any{"expressions": map[string]string{"bid": "100.0", "ask": "100.5", "data": `{"n": cycle}`}}}).
		add(vertex{ID: "spread", Type: "spread"}).output("out").
		edge("book", "bid", "spread", "bid").edge("book", "ask", "spread", "ask").
		edge("book", "data", "out", "data").edge("spread", "spread", "out", "spread")
	if _, err := c.api.Register(c.ctx, d.text(t), client.RegisterOptions{}); err == nil || !strings.Contains(fmt.Sprint(err), "unknown_node_type") && !strings.Contains(fmt.Sprint(err), "invalid") {
		t.Errorf("a type that nobody carries is taken: %v", err)
	}
	c.registerText(t, d.text(t), client.RegisterOptions{AllowUnknownTypes: true})
	n := c.run(t, "quotes")
	c.until(t, 20*time.Second, "blocker no_worker", func() (bool, string) {
		s, err := c.api.Node(c.ctx, "quotes", n, "spread")
		return err == nil && s.Blocker != nil && s.Blocker.Code == "no_worker", fmt.Sprint(s.Status, s.Blocker, err)
	})
	w := c.worker(t, "spread", "spread-0")
	w.start(t)
	at := time.Now()
	// The broker offers to one slot of the pool after the other, and each one of a
	// worker without the type costs a pause.
	c.idle(t, time.Minute)
	t.Logf("the waiting node ran %s after a worker of its type was started", time.Since(at))
	s, err := c.api.Node(c.ctx, "quotes", n, "spread")
	if err != nil || s.Status != "succeeded" || s.Worker != w.Name || string(s.Outputs["spread"]) != "0.5" {
		t.Errorf("node is %s on %s with %s: %v", s.Status, s.Worker, s.Outputs, err)
	}
	for range 5 { // three of four workers of the pool decline it
		c.run(t, "quotes")
	}
	c.idle(t, time.Minute)
	c.judge(t, histcheck.Evidence{Ended: true})
}

// TestAtMostOnce kills the worker of a node that may be started only once: it
// ends unknown and runs nowhere else.
func TestAtMostOnce(t *testing.T) {
	t.Parallel()
	c := start(t, setup{faults: true})
	script := `echo "$STATION_FLOW $STATION_CYCLE $STATION_NODE $STATION_ATTEMPT $STATION_INTENT_ID" >> runs; sleep 3; echo {}`
	d := flow("orders", 0).source("a").
		add(vertex{ID: "order", Type: "exec", Delivery: "at_most_once", Parameters: map[string]any{"command": []string{"/bin/sh", "-c", script}}}).
		output("out").edge("a", "data", "order", "data").edge("order", "data", "out", "data")
	c.register(t, d)
	w, first := c.runner(t, "orders", "order")
	c.until(t, 10*time.Second, "run of the order", func() (bool, string) {
		runs, err := readRuns(c.data)
		return len(runs) == 1, fmt.Sprint(len(runs), err)
	})
	at := time.Now()
	w.kill(t)
	end := c.ended(t, first)
	t.Logf("worker of an at-most-once node killed: the cycle ends %s after %s", end.Detail, end.At.Sub(at))
	s, err := c.api.Node(c.ctx, "orders", first.Cycle, "order")
	if err != nil || s.Status != "unknown" || end.Detail != "failed" {
		t.Errorf("node is %s, its cycle %s: %v", s.Status, end.Detail, err)
	}
	n := c.run(t, "orders") // the next one is none of its business
	c.idle(t, 20*time.Second)
	if s, err := c.api.Cycle(c.ctx, "orders", n); err != nil || s.Status != "completed" {
		t.Errorf("the next cycle ends %s: %v", s.Status, err)
	}
	c.judge(t, histcheck.Evidence{Ended: true})
}

// TestNodesMisbehave runs nodes that panic, hang and fail before they succeed,
// and some that never do.
func TestNodesMisbehave(t *testing.T) {
	t.Parallel()
	c := start(t, setup{})
	bad := func(id string, params map[string]any, timeout string, n int) *doc {
		return flow(id, 0).source("a").add(vertex{ID: "bad", Type: "fail", Parameters: params, Timeout: timeout, Retry: retries(n)}).output("out").
			edge("a", "data", "bad", "data").edge("bad", "data", "out", "data")
	}
	for _, k := range []struct {
		d       *doc
		cycle   string
		node    string
		class   string
		attempt int
	}{
		{bad("panics", map[string]any{"panic": true, "times": 1}, "", 2), "completed", "succeeded", "panic", 2},
		{bad("hangs", map[string]any{"hang": "20s", "times": 1}, "300ms", 2), "completed", "succeeded", "timeout", 2},
		{bad("fails", map[string]any{"times": 2}, "", 2), "completed", "succeeded", "retryable", 3},
		{bad("gives-up", map[string]any{}, "", 1), "failed", "failed", "retryable", 2},
		{bad("hopeless", map[string]any{"permanent": true}, "", 5), "failed", "failed", "permanent", 1},
	} {
		c.register(t, k.d)
		n := c.run(t, k.d.ID)
		c.entry(t, 20*time.Second, 0, "end", func(r ledger.Record) bool { return r.Op == "cycle_end" && string(r.Flow) == k.d.ID })
		s, err := c.api.Cycle(c.ctx, k.d.ID, n)
		if err != nil {
			t.Fatal(err)
		}
		node := s.Nodes[1]
		if s.Status != k.cycle || node.Status != k.node || node.Attempt != k.attempt || node.ErrorClass != k.class {
			t.Errorf("%s: cycle %s, node %s#%d of class %q; want %s, %s#%d, %q", k.d.ID, s.Status, node.Status, node.Attempt, node.ErrorClass, k.cycle, k.node, k.attempt, k.class)
		}
	}
	c.idle(t, 10*time.Second)
	c.judge(t, histcheck.Evidence{Ended: true})
}
