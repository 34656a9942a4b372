package cluster

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// wide is a flow of many nodes that run at once.
func wide(id string, n int, d time.Duration) *doc {
	w := flow(id, 0)
	for i := range n {
		w.delay(fmt.Sprintf("n%d", i), d)
	}
	return w
}

// lose starts a cycle of wide nodes, takes a worker away that runs some of them, and
// measures how long each of those waits for its next claim.
func (c *cluster) lose(t *testing.T, nodes int, how func(w *process) time.Time) (w *process, waits times) {
	t.Helper()
	skip := len(c.read())
	n := c.run(t, "wide")
	running := map[string]map[ids.NodeID]ledger.Record{}
	c.until(t, 20*time.Second, "claims of all nodes", func() (bool, string) {
		clear(running)
		found := 0
		for _, r := range c.read()[skip:] {
			if r.Op == "claim" && r.Flow == "wide" && r.Cycle == n {
				if running[r.Worker] == nil {
					running[r.Worker] = map[ids.NodeID]ledger.Record{}
				}
				running[r.Worker][r.Node] = r
				found++
			}
		}
		return found == nodes, fmt.Sprint(found, " claims")
	})
	for _, p := range c.workers {
		if len(running[p.Name]) > 0 && (w == nil || len(running[p.Name]) > len(running[w.Name])) {
			w = p
		}
	}
	at := how(w)
	lost := running[w.Name]
	c.until(t, 40*time.Second, "second claims", func() (bool, string) {
		waits = waits[:0]
		for _, r := range c.read()[skip:] {
			if old, mine := lost[r.Node]; mine && r.Op == "claim" && r.UUID == old.UUID && r.N == old.N+1 {
				waits = append(waits, r.At.Sub(at))
			}
		}
		return len(waits) == len(lost), fmt.Sprintf("%d of %d", len(waits), len(lost))
	})
	return w, waits
}

// TestKilledWorkersAreReplacedAtOnce kills workers that run many nodes. Their
// connections tell the leader.
func TestKilledWorkersAreReplacedAtOnce(t *testing.T) {
	c := start(t, setup{faults: true, workers: []string{"--concurrency", "48"}})
	c.register(t, wide("wide", 48, 2*time.Second))
	var all times
	for range kills(t, 3) {
		w, waits := c.lose(t, 48, func(w *process) time.Time {
			at := time.Now()
			w.kill(t)
			return at
		})
		all = append(all, waits...)
		w.start(t)
		c.idle(t, 20*time.Second)
		c.until(t, 20*time.Second, "three workers", func() (bool, string) {
			ws, err := c.api.Workers(c.ctx)
			n := 0
			for _, x := range ws {
				if x.StartedAt.After(time.Now().Add(-time.Hour)) {
					n++
				}
			}
			return err == nil && n == 3, fmt.Sprint(len(ws), err)
		})
		<-time.After(1500 * time.Millisecond) // the leader reads who lives once a second
	}
	t.Logf("worker killed, until each of its nodes is claimed again: %v", all)
	for _, r := range c.read() {
		if r.Op == "expire" && r.Detail != "worker gone" {
			t.Errorf("%s is revoked for: %s", r.Attempt, r.Detail)
		}
	}
	if all.at(0.5) > lease/2 {
		t.Errorf("half of the nodes waited for more than %s: nobody looked at the sockets", lease/2)
	}
	c.judge(t, histcheck.Evidence{})
}

// TestFrozenWorkersAreReplaced stops workers; only their leases tell.
func TestFrozenWorkersAreReplaced(t *testing.T) {
	c := start(t, setup{faults: true, workers: []string{"--concurrency", "48"}})
	c.register(t, wide("wide", 24, 3*time.Second))
	var all times
	for range kills(t, 2) {
		w, waits := c.lose(t, 24, func(w *process) time.Time {
			at := time.Now()
			w.signal(t, syscall.SIGSTOP)
			return at
		})
		all = append(all, waits...)
		w.signal(t, syscall.SIGCONT)
		c.idle(t, 20*time.Second)
	}
	t.Logf("worker frozen, until each of its nodes is claimed again: %v, lease %s", all, lease)
	if early := slices.Min(all); early < lease*7/10 {
		t.Errorf("a node was claimed again after %s: its lease of %s was not over", early, lease)
	}
	c.judge(t, histcheck.Evidence{})
}
