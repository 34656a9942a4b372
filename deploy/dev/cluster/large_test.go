package cluster

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// TestLargeLoadSurvivesTheLeader runs 200 diamonds and a flow of 1,000 nodes at
// once and kills the leader in the middle.
func TestLargeLoadSurvivesTheLeader(t *testing.T) {
	c := start(t, setup{faults: true})
	c.register(t, layered("wide", 100, 10))
	var names []string
	for i := range 4 {
		names = append(names, fmt.Sprintf("diamond-%d", i))
		c.register(t, diamond(names[i], 0))
	}
	leader, _ := c.leader(t)
	began := time.Now()
	c.run(t, "wide")
	var calls sync.WaitGroup
	failed := make(chan error, 200)
	for _, id := range names {
		calls.Go(func() {
			for range 50 {
				if _, err := c.api.StartCycle(c.ctx, id, ""); err != nil {
					failed <- err
				}
			}
		})
	}
	c.until(t, 30*time.Second, "the middle of the work", func() (bool, string) {
		n := count(c.read(), "outcome")
		return n >= 300, fmt.Sprint(n)
	})
	skip, at := len(c.read()), time.Now()
	leader.kill(t)
	outcomes := 0
	for _, r := range c.read() {
		if r.Op == "outcome" && r.At.Before(at) {
			outcomes++
		}
	}
	r := c.entry(t, 20*time.Second, skip, "takeover", func(r ledger.Record) bool { return r.Op == "takeover" })
	calls.Wait()
	started := time.Since(began)
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if outcomes >= 1800 {
		t.Error("all the work was done before the leader was killed: the test proves nothing")
	}
	c.idle(t, 60*time.Second)
	t.Logf("200 cycles started in %s; leader killed with %d of 1800 outcomes; takeover after %s; all ended %s after the start", started, outcomes, r.At.Sub(at), time.Since(began))
	c.judge(t, histcheck.Evidence{Ended: true})
	if n := count(c.read(), "cycle_end"); n != 201 {
		t.Errorf("%d cycles ended, want 201", n)
	}
	if n := count(c.read(), "outcome"); n != 1800 {
		t.Errorf("%d outcomes, want 1800", n)
	}
}
