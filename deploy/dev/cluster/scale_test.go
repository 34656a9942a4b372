package cluster

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// What more workers must bring, of what they would without any loss.
const scales = 0.95

// TestWorkersScale measures how work grows with the workers: nodes that sleep for
// 50 ms, on 1, 8 and 32 worker processes that run one node at a time each, so that
// two processors are enough for all. It measures times, so it runs when it is asked
// for, on a machine that has nothing else to do:
//
//	STATION_TEST_CLUSTER=1 STATION_TEST_SCALE=1 go test -count=1 -run TestWorkersScale -v ./deploy/dev/cluster
func TestWorkersScale(t *testing.T) {
	if os.Getenv("STATION_TEST_SCALE") != "1" {
		t.Skip("it measures times: STATION_TEST_SCALE=1 runs it, on a quiet machine")
	}
	const each, sleep, runs = 60, 50 * time.Millisecond, 3
	c := start(t, setup{single: true, workers: []string{"--concurrency", "1"}})
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "workers\tnodes/s, median\tall runs\tof ideal\tof one worker's × workers\t")
	alone := 0.0
	for _, n := range []int{1, 8, 32} {
		for i := len(c.workers); i < n; i++ {
			c.worker(t, "worker", fmt.Sprintf("worker-%d", i)).start(t)
		}
		c.until(t, 60*time.Second, "the workers", func() (bool, string) {
			ws, err := c.api.Workers(c.ctx)
			return err == nil && len(ws) == n, fmt.Sprint(len(ws), err)
		})
		id := fmt.Sprintf("sleep-%d", n)
		c.register(t, sleepers(id, n*each, sleep))
		var rates []float64
		for range runs {
			cycle := c.run(t, id)
			c.until(t, 120*time.Second, "end of the cycle", func() (bool, string) {
				s, err := c.ledger.Cycle(c.ctx, ids.FlowID(id), cycle)
				return err == nil && !s.CompletedAt.IsZero(), fmt.Sprint(s.Status, err)
			})
			rates = append(rates, c.rate(t, ids.FlowID(id), cycle))
		}
		sorted := slices.Sorted(slices.Values(rates))
		median := sorted[len(sorted)/2]
		if n == 1 {
			alone = median
		}
		ideal := float64(n) / sleep.Seconds()
		fmt.Fprintf(w, "%d\t%.1f\t%.1f\t%.3f\t%.3f\t\n", n, median, rates, median/ideal, median/alone/float64(n))
		if median < scales*alone*float64(n) {
			t.Errorf("%d workers do %.1f nodes/s, %.3f times what one does; at least %.2f × %d is wanted", n, median, median/alone, scales, n)
		}
	}
	_ = w.Flush()
	t.Logf("nodes that sleep for %s\n%s", sleep, out.String())
}

// sleepers is one node and many behind it that sleep.
func sleepers(id string, n int, sleep time.Duration) *doc {
	d := flow(id, 0).source("first")
	for i := range n {
		d.delay(place(i), sleep).edge("first", "data", place(i), "data")
	}
	return d
}

// rate is how many nodes a second ended in the middle of a cycle, between a tenth
// and nine tenths of them: the first are offered, and the last wait for nobody.
func (c *cluster) rate(t *testing.T, flow ids.FlowID, cycle int64) float64 {
	t.Helper()
	var ends []time.Time
	for _, r := range c.read() {
		if r.Flow == flow && r.Cycle == cycle && r.Op == "outcome" {
			ends = append(ends, r.At)
		}
	}
	from, to := len(ends)/10, len(ends)*9/10
	if from == to {
		t.Fatalf("%d outcomes of %s/%d", len(ends), flow, cycle)
	}
	return float64(to-from) / ends[to].Sub(ends[from]).Seconds()
}
