package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// order is a flow whose one node may be started once, writes down each start and
// takes three seconds.
func order() *doc {
	script := `echo "$STATION_FLOW $STATION_CYCLE $STATION_NODE $STATION_ATTEMPT $STATION_INTENT_ID" >> runs; sleep 3; echo {}`
	return flow("orders", 0).add(vertex{ID: "order", Type: "exec", Delivery: "at_most_once", Parameters: map[string]any{"command": []string{"/bin/sh", "-c", script}}})
}

func (c *cluster) runs(t *testing.T, want int) {
	t.Helper()
	runs, err := readRuns(c.data)
	if err != nil || len(runs) != want {
		t.Errorf("the order ran %d times, want %d: %v", len(runs), want, err)
	}
}

// TestRedisForgetsAnAtMostOnceClaim puts a node back to what Redis had before the
// claim, while it runs and after it ran, and has it offered again: it is not
// started again.
func TestRedisForgetsAnAtMostOnceClaim(t *testing.T) {
	t.Parallel()
	c := start(t, setup{faults: true})
	c.register(t, order().add(vertex{ID: "other", Type: "delay", Parameters: map[string]any{"duration": "6s"}})) // keeps the cycle open
	for i, ran := range []bool{false, true} {
		_, first := c.runner(t, "orders", "order")
		c.until(t, 10*time.Second, "run of the order", func() (bool, string) {
			runs, err := readRuns(c.data)
			return len(runs) == i+1, fmt.Sprint(len(runs), err)
		})
		if ran {
			c.entry(t, 10*time.Second, 0, "outcome of the order", func(r ledger.Record) bool { return r.Op == "outcome" && r.Token == first.Token })
		}
		key := fmt.Sprintf("%s:flow:orders:cycle:%d", c.prefix, first.Cycle)
		script := `local key, done = KEYS[1] .. ":node:order:state", tonumber(ARGV[4])
			redis.call("HSET", key, "status", "ready", "attempt", ARGV[3])
			redis.call("HDEL", key, "token", "worker", "started_at", "completed_at")
			redis.call("HINCRBY", KEYS[1] .. ":status", "completed_nodes", -done)
			redis.call("HINCRBY", KEYS[1] .. ":status", "succeeded_nodes", -done)
			redis.call("ZREM", KEYS[2] .. ":leases", "orders|" .. ARGV[1] .. "|" .. ARGV[2] .. "|order")
			return redis.call("XADD", KEYS[2] .. ":outbox", "*", "kind", "ready", "flow", "orders", "cycle", ARGV[1], "uuid", ARGV[2], "node", "order", "attempt", ARGV[3])`
		done := map[bool]string{false: "0", true: "1"}[ran]
		if out, err := system.Ctl("redis-cli", "EVAL", script, "2", key, c.prefix, fmt.Sprint(first.Cycle), first.UUID.String(), fmt.Sprint(first.N), done); err != nil {
			t.Fatal(err, out)
		}
		end := c.ended(t, first)
		n, err := c.api.Node(c.ctx, "orders", first.Cycle, "order")
		t.Logf("claim forgotten, the node had ended %v: it ends %s (%s), the cycle %s", ran, n.Status, n.Error, end.Detail)
		if ok := n.Status == "unknown" || n.Status == "succeeded" && !ran; err != nil || !ok {
			t.Errorf("the node is %s: %v", n.Status, err)
		}
		if n.Status == "unknown" && !strings.Contains(n.Error, "started") {
			t.Errorf("the node does not say why: %q", n.Error)
		}
		c.runs(t, i+1)
	}
}

// TestWorkerIsKilledBeforeTheOnceKey kills workers that have claimed an
// at-most-once node and get no answer whether they may start it: another runs it.
func TestWorkerIsKilledBeforeTheOnceKey(t *testing.T) {
	t.Parallel()
	c := start(t, setup{faults: true, workers: []string{"--coordinators", "http://127.0.0.1:1"}})
	c.register(t, order())
	w, first := c.runner(t, "orders", "order")
	c.until(t, 10*time.Second, "blocker once_key", func() (bool, string) {
		n, err := c.api.Node(c.ctx, "orders", first.Cycle, "order")
		return err == nil && n.Status == "running" && n.Blocker != nil && n.Blocker.Code == "once_key", fmt.Sprint(n.Status, n.Blocker, err)
	})
	for _, p := range c.workers {
		if p != w {
			p.kill(t)
		}
	}
	w.kill(t)
	c.setup.workers = nil
	c.worker(t, "worker", "worker-3").start(t)
	claim, end := c.again(t, first)
	if i := slices.IndexFunc(c.read(), func(r ledger.Record) bool {
		return r.Op == "expire" && r.Token == first.Token && strings.HasSuffix(r.Detail, ", no once-key")
	}); i < 0 {
		t.Error("the claim was not revoked for want of a once-key")
	}
	if claim.Worker != "worker-3" || end.Detail != "completed" {
		t.Errorf("claimed by %s, the cycle ends %s", claim.Worker, end.Detail)
	}
	c.runs(t, 1)
	c.judge(t, histcheck.Evidence{Ended: true})
	if p, err := c.ledger.Coordinators(c.ctx); err != nil || len(p) != 2 {
		t.Errorf("%d coordinators are announced: %v", len(p), err)
	}
}

// TestCoordinatorsAreAwayAtTheOnceKey stops every coordinator behind a claim: the
// node waits for one, and runs when it is back.
func TestCoordinatorsAreAwayAtTheOnceKey(t *testing.T) {
	t.Parallel()
	away := "http://" + address(t)
	c := start(t, setup{faults: true, workers: []string{"--coordinators", away}})
	c.register(t, order())
	_, first := c.runner(t, "orders", "order")
	c.until(t, 10*time.Second, "blocker once_key", func() (bool, string) {
		n, err := c.api.Node(c.ctx, "orders", first.Cycle, "order")
		return err == nil && n.Blocker != nil && n.Blocker.Code == "once_key", fmt.Sprint(n.Status, n.Blocker, err)
	})
	c.runs(t, 0)
	p := c.process(t, "coordinator", "coordinator-2", []string{"--etcd-endpoints", system.Etcd, "--leader-ttl", leaderTTL.String(), "--http-addr", strings.TrimPrefix(away, "http://")})
	c.coordinators = append(c.coordinators, p)
	p.start(t)
	if end := c.ended(t, first); end.Detail != "completed" {
		t.Errorf("the cycle ends %s", end.Detail)
	}
	c.runs(t, 1)
	c.judge(t, histcheck.Evidence{Ended: true})
}
