package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// now is the ledger's clock.
func (c *cluster) now(t *testing.T) time.Time {
	t.Helper()
	now, err := c.ledger.Now(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// beats waits for n more cycles of the flow beat: the cluster's life goes on
// while a held flow has to stand still.
func (c *cluster) beats(t *testing.T, n int) {
	t.Helper()
	skip := len(c.read())
	c.until(t, 20*time.Second, "cycles of the other flow", func() (bool, string) {
		k := 0
		for _, r := range c.read()[skip:] {
			if r.Op == "cycle_end" && r.Flow == "beat" {
				k++
			}
		}
		return k >= n, fmt.Sprint(k)
	})
}

// TestPauseHolds pauses and resumes a busy flow at different moments: from the
// answer on nothing of it starts, and what was held is finished afterwards.
func TestPauseHolds(t *testing.T) {
	t.Parallel()
	c := start(t, setup{})
	c.register(t, parts("held", 200*time.Millisecond), chain("beat", 200*time.Millisecond))
	heldNodes := 0
	for i := range 4 {
		skip := len(c.read())
		n := 0 // begin in the middle of a cycle, each time at another node
		c.until(t, 20*time.Second, "claims", func() (bool, string) {
			n = 0
			for _, r := range c.read()[skip:] {
				if r.Op == "claim" && r.Flow == "held" {
					n++
				}
			}
			return n >= 15+3*i, fmt.Sprint(n)
		})
		s, err := c.api.PauseFlow(c.ctx, "held")
		if err != nil {
			t.Fatal(err)
		}
		from := c.now(t)
		if s.Status != "paused" {
			t.Errorf("the answer to a pause says %s", s.Status)
		}
		c.beats(t, 4)
		heldNodes += len(openNodes(c.read(), "held"))
		until := c.now(t)
		if s, err = c.api.ResumeFlow(c.ctx, "held"); err != nil || s.Status != "active" {
			t.Fatalf("resume: %s, %v", s.Status, err)
		}
		for _, r := range c.read() {
			if r.Flow == "held" && r.At.After(from) && r.At.Before(until) && (r.Op == "claim" || r.Op == "cycle_start") {
				t.Errorf("%s of %s %s after the pause was answered", r.Op, r.Attempt, r.At.Sub(from))
			}
		}
		c.settled(t, 20*time.Second)
	}
	if heldNodes == 0 {
		t.Error("no pause met a node that was held: the test proves too little")
	}
	c.progress(t, 20*time.Second, 2)
	c.settled(t, 20*time.Second)
	c.judge(t, histcheck.Evidence{})
}

// openNodes lists the nodes that were offered and have no outcome yet.
func openNodes(journal []ledger.Record, flow ids.FlowID) []string {
	left := map[string]bool{}
	for _, r := range journal {
		if r.Flow != flow {
			continue
		}
		name := fmt.Sprintf("%d/%s", r.Cycle, r.Node)
		switch r.Op {
		case "ready":
			left[name] = true
		case "outcome":
			delete(left, name)
		}
	}
	var out []string
	for n := range left {
		out = append(out, n)
	}
	return out
}

// TestCancelHolds cancels a cycle while nodes run and others wait.
func TestCancelHolds(t *testing.T) {
	t.Parallel()
	c := start(t, setup{})
	c.register(t, long("long", 20*time.Second), wide("wide", 1000, 100*time.Millisecond), chain("beat", 200*time.Millisecond))
	_, first := c.runner(t, "long", "long")
	if _, err := c.api.CancelCycle(c.ctx, "long", first.Cycle); err != nil {
		t.Fatal(err)
	}
	from := c.now(t)
	end := c.ended(t, first)
	t.Logf("cancelled: the running node ends and the cycle is %s after %s", end.Detail, end.At.Sub(from))
	if end.Detail != "cancelled" {
		t.Errorf("the cycle ends %s", end.Detail)
	}
	if end.At.Sub(from) > 2*lease {
		t.Errorf("the cycle ends only %s after the cancel", end.At.Sub(from))
	}
	for range 3 { // in the middle of many claims
		skip := len(c.read())
		n := c.run(t, "wide")
		c.entry(t, 20*time.Second, skip, "claim", func(r ledger.Record) bool { return r.Op == "claim" && r.Flow == "wide" && r.Cycle == n })
		if _, err := c.api.CancelCycle(c.ctx, "wide", n); err != nil {
			t.Fatal(err)
		}
		from := c.now(t)
		end := c.entry(t, 20*time.Second, skip, "end", func(r ledger.Record) bool { return r.Op == "cycle_end" && r.Flow == "wide" && r.Cycle == n })
		if end.Detail != "cancelled" {
			t.Errorf("the cycle ends %s", end.Detail)
		}
		for _, r := range c.read()[skip:] {
			if r.Op == "claim" && r.Flow == "wide" && r.At.After(from) {
				t.Errorf("%s is claimed %s after the cancel was answered", r.Attempt, r.At.Sub(from))
			}
		}
	}
	c.beats(t, 3)
	c.settled(t, 20*time.Second)
	c.judge(t, histcheck.Evidence{})
}

// TestDeleteLeavesNothing deletes a flow in the middle of its work.
func TestDeleteLeavesNothing(t *testing.T) {
	t.Parallel()
	c := start(t, setup{})
	c.register(t, parts("doomed", 200*time.Millisecond), long("slow", 20*time.Second), chain("beat", 200*time.Millisecond))
	_, first := c.runner(t, "slow", "long")
	c.progress(t, 20*time.Second, 3)
	if _, err := c.api.PauseFlow(c.ctx, "doomed"); err != nil { // leaves held nodes
		t.Fatal(err)
	}
	c.beats(t, 2)
	skip := len(c.read())
	for _, id := range []string{"doomed", "slow"} {
		if err := c.api.DeleteFlow(c.ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	from := c.now(t)
	gone := []string{"doomed", "slow"}
	c.until(t, 20*time.Second, "clean ledger", func() (bool, string) {
		left, err := c.leftovers(gone...)
		return err == nil && len(left) == 0, fmt.Sprint(left, err)
	})
	t.Logf("deleted: nothing is left after %s", c.now(t).Sub(from))
	c.beats(t, 4) // whatever was under way comes to nothing
	for _, r := range c.read()[skip:] {
		if slices.Contains(gone, string(r.Flow)) && (r.Op == "claim" || r.Op == "cycle_start") && r.At.After(from) {
			t.Errorf("%s of %s after the deletion was answered", r.Op, r.Attempt)
		}
	}
	// The worker learns from its heartbeat that the node is nobody's any more.
	c.until(t, 20*time.Second, "idle workers", func() (bool, string) {
		ws, err := c.api.Workers(c.ctx)
		busy := 0
		for _, w := range ws {
			if w.WorkerID == first.Worker {
				busy = w.Busy
			}
		}
		return err == nil && busy <= 2, fmt.Sprint(busy, err) // of the other flow
	})
	if left, err := c.leftovers(gone...); err != nil || len(left) > 0 {
		t.Errorf("something came back: %v, %v", left, err)
	}
	// Now that the flow is gone its id can be used again, and begins anew.
	c.register(t, chain("doomed", 300*time.Millisecond))
	c.entry(t, 20*time.Second, skip, "cycle 1 of the new flow", func(r ledger.Record) bool {
		return r.Op == "cycle_end" && r.Flow == "doomed" && r.Cycle == 1 && r.At.After(from)
	})
	if _, err := c.api.PauseFlow(c.ctx, "beat"); err != nil {
		t.Fatal(err)
	}
	c.quietQueues(t)
}

// leftovers lists what the ledger has of flows.
func (c *cluster) leftovers(flows ...string) ([]string, error) {
	all, err := c.ledger.Dump(c.ctx)
	if err != nil {
		return nil, err
	}
	var left []string
	for key, content := range all {
		name := strings.TrimPrefix(key, c.prefix+":")
		for _, f := range flows {
			switch {
			case strings.HasPrefix(name, "flow:"+f+":"), name == "held:flow:"+f:
				left = append(left, name)
			case name == "journal":
			case name == "flows" && slices.Contains(strings.Split(content, "\n"), f),
				name != "flows" && !strings.HasPrefix(name, "flow:") && (strings.Contains(content, f+"|") || strings.Contains(content, "flow:"+f+" ")):
				left = append(left, name+" ("+f+")")
			}
		}
	}
	return left, nil
}

// quietQueues waits until the cluster's queues have nothing ready and nothing
// that is not acked.
func (c *cluster) quietQueues(t *testing.T) {
	t.Helper()
	c.until(t, 30*time.Second, "empty queues", func() (bool, string) {
		out, err := system.Ctl("rabbitmqctl", "--quiet", "list_queues", "name", "messages_ready", "messages_unacknowledged")
		if err != nil {
			return false, fmt.Sprint(out, err)
		}
		seen := 0
		for line := range strings.Lines(out) {
			name, counts, _ := strings.Cut(strings.TrimSpace(line), "\t")
			if !strings.HasPrefix(name, c.prefix+".") {
				continue
			}
			if seen++; counts != "0\t0" {
				return false, line
			}
		}
		return seen > 0, out
	})
}
