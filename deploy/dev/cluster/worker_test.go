package cluster

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// runner starts a cycle of a flow and waits until the node runs; it returns the
// worker that runs it and its claim.
func (c *cluster) runner(t *testing.T, flow string, node ids.NodeID) (*process, ledger.Record) {
	t.Helper()
	skip := len(c.read())
	n := c.run(t, flow)
	r := c.entry(t, 20*time.Second, skip, "claim of "+string(node), func(r ledger.Record) bool {
		return r.Op == "claim" && r.Flow == ids.FlowID(flow) && r.Cycle == n && r.Node == node
	})
	i := slices.IndexFunc(c.workers, func(p *process) bool { return p.Name == r.Worker })
	if i < 0 {
		t.Fatalf("claimed by %q, which is none of ours", r.Worker)
	}
	return c.workers[i], r
}

// again waits for the claim of the attempt after one, and for the cycle's end.
func (c *cluster) again(t *testing.T, first ledger.Record) (claim, end ledger.Record) {
	t.Helper()
	claim = c.entry(t, 30*time.Second, 0, "second claim", func(r ledger.Record) bool {
		return r.Op == "claim" && r.UUID == first.UUID && r.Node == first.Node && r.N > first.N
	})
	return claim, c.ended(t, first)
}

func (c *cluster) ended(t *testing.T, of ledger.Record) ledger.Record {
	t.Helper()
	return c.entry(t, 30*time.Second, 0, "end of the cycle", func(r ledger.Record) bool { return r.Op == "cycle_end" && r.UUID == of.UUID })
}

// TestWorkerIsKilled kills a worker in the middle of a node.
func TestWorkerIsKilled(t *testing.T) {
	t.Parallel()
	c := start(t, setup{faults: true})
	c.register(t, long("long", 2*time.Second), chain("chain", 300*time.Millisecond))
	for range 2 {
		w, first := c.runner(t, "long", "long")
		at := time.Now()
		w.kill(t)
		claim, end := c.again(t, first)
		revoked := c.entry(t, time.Second, 0, "revocation", func(r ledger.Record) bool { return r.Op == "expire" && r.Token == first.Token })
		t.Logf("worker killed: its node is claimed by %s after %s (%s), the cycle ends %s after %s", claim.Worker, claim.At.Sub(at), revoked.Detail, end.Detail, end.At.Sub(at))
		if claim.Worker == w.Name || end.Detail != "completed" {
			t.Errorf("claimed by %s, the cycle ends %s", claim.Worker, end.Detail)
		}
		if limit := 2*lease + 3*time.Second; claim.At.Sub(at) > limit {
			t.Errorf("another worker has the node only after %s; %s are allowed", claim.At.Sub(at), limit)
		}
		n, err := c.api.Node(c.ctx, "long", first.Cycle, "long")
		if err != nil {
			t.Fatal(err)
		}
		if n.Lost != 1 || n.RetryCount != 0 || n.Attempt != 2 {
			t.Errorf("node has attempt %d, %d losses, %d retries; a loss costs no retry", n.Attempt, n.Lost, n.RetryCount)
		}
		w.start(t)
	}
	c.progress(t, 20*time.Second, 2)
	c.settled(t, 20*time.Second)
	c.judge(t, histcheck.Evidence{})
}

// TestWorkerIsFrozen stops a worker's process for longer than its lease: its
// node runs elsewhere, and what it reports after it wakes is refused.
func TestWorkerIsFrozen(t *testing.T) {
	t.Parallel()
	c := start(t, setup{faults: true})
	c.register(t, long("long", time.Second), chain("chain", 300*time.Millisecond))
	w, first := c.runner(t, "long", "long")
	at := time.Now()
	w.signal(t, syscall.SIGSTOP)
	claim, end := c.again(t, first)
	t.Logf("worker frozen: its node is claimed by %s after %s, the cycle ends after %s", claim.Worker, claim.At.Sub(at), end.At.Sub(at))
	// The broker still hands messages to a frozen worker; one of them may be the
	// second offer, which is missed only after two looks at the empty queue.
	if limit := 2*lease + 13*time.Second; claim.At.Sub(at) > limit {
		t.Errorf("another worker has the node only after %s; %s are allowed", claim.At.Sub(at), limit)
	}
	w.signal(t, syscall.SIGCONT)
	c.until(t, 20*time.Second, "claim by the woken worker", func() (bool, string) {
		return slices.ContainsFunc(c.read(), func(r ledger.Record) bool { return r.Op == "claim" && r.Worker == w.Name && r.At.After(end.At) }), w.Name
	})
	c.settled(t, 20*time.Second)
	c.judge(t, histcheck.Evidence{})
}

// TestWorkerDrains stops a worker in good order: it takes nothing new and
// finishes what it has.
func TestWorkerDrains(t *testing.T) {
	t.Parallel()
	c := start(t, setup{faults: true, workers: []string{"--grace", "15s"}})
	c.register(t, long("long", 1500*time.Millisecond), chain("chain", 100*time.Millisecond))
	w, first := c.runner(t, "long", "long")
	at, err := c.ledger.Now(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.signal(t, syscall.SIGTERM)
	end := c.ended(t, first)
	code := w.exit(t, 15*time.Second)
	left := time.Since(at)
	for _, r := range c.read() {
		// A message that was on its way when the signal came may still be taken.
		if r.Op == "claim" && r.Worker == w.Name && r.At.After(at.Add(300*time.Millisecond)) {
			t.Errorf("%s is claimed %s after the signal", r.Attempt, r.At.Sub(at))
		}
		if r.Op == "claim" && r.UUID == first.UUID && r.N > 1 {
			t.Errorf("%s runs again though the grace was long enough", r.Attempt)
		}
	}
	t.Logf("asked to stop: gone after %s", left)
	if code != 0 || end.Detail != "completed" {
		t.Errorf("exit code %d, the cycle ends %s", code, end.Detail)
	}
	if left > 5*time.Second {
		t.Errorf("the worker stays %s with 1.5 s of work", left)
	}
	c.progress(t, 20*time.Second, 3)
	c.settled(t, 20*time.Second)
	c.judge(t, histcheck.Evidence{})
}

// TestWorkerHandsBack stops a worker whose node needs longer than the grace.
func TestWorkerHandsBack(t *testing.T) {
	t.Parallel()
	c := start(t, setup{faults: true, workers: []string{"--grace", "500ms"}})
	c.register(t, long("long", 3*time.Second), chain("chain", 300*time.Millisecond))
	w, first := c.runner(t, "long", "long")
	at := time.Now()
	w.signal(t, syscall.SIGTERM)
	claim, end := c.again(t, first)
	code := w.exit(t, 10*time.Second)
	t.Logf("grace of 500 ms: claimed by %s after %s, the cycle ends %s after %s", claim.Worker, claim.At.Sub(at), end.Detail, end.At.Sub(at))
	if claim.Worker == w.Name || code != 0 || end.Detail != "completed" {
		t.Errorf("claimed by %s, exit code %d, the cycle ends %s", claim.Worker, code, end.Detail)
	}
	for _, r := range c.read() {
		if r.Op == "expire" && r.Token == first.Token {
			t.Error("not handed back, but lost")
		}
	}
	n, err := c.api.Node(c.ctx, "long", first.Cycle, "long")
	if err != nil {
		t.Fatal(err)
	}
	if n.Lost != 0 || n.RetryCount != 0 {
		t.Errorf("%d losses and %d retries are charged for a planned stop", n.Lost, n.RetryCount)
	}
	c.settled(t, 20*time.Second)
	c.judge(t, histcheck.Evidence{})
}
