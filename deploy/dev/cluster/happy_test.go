package cluster

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/deploy/dev/samples"
	"github.com/tradingflow/weather-station/shared/ids"
)

// TestEveryShapeRuns runs every shape of flow, and the samples, without a fault.
func TestEveryShapeRuns(t *testing.T) {
	t.Parallel()
	c := start(t, setup{})
	if err := os.CopyFS(c.data, samples.Data()); err != nil {
		t.Fatal(err)
	}
	for _, text := range samples.Flows() {
		c.registerText(t, text, client.RegisterOptions{})
	}
	c.register(t, chain("chain", 300*time.Millisecond), diamond("diamond", 400*time.Millisecond), parts("parts", 500*time.Millisecond),
		flaky("flaky", 500*time.Millisecond), layered("layered", 8, 4))
	c.run(t, "layered")
	c.until(t, 60*time.Second, "eight cycles of each flow", func() (bool, string) {
		ended := map[ids.FlowID]int{}
		for _, r := range c.read() {
			if r.Op == "cycle_end" {
				ended[r.Flow]++
			}
		}
		for id, f := range c.flows {
			if want := 8; f.Interval > 0 && f.Interval < time.Second && ended[id] < want {
				return false, string(id)
			}
		}
		return ended["heartbeat"] >= 2 && ended["btc-momentum"] >= 4 && ended["layered"] == 1, "a sample"
	})
	c.settled(t, 20*time.Second)
	c.judge(t, histcheck.Evidence{})
	want := map[string]bool{"succeeded": true, "skipped": true, "stopped": true}
	seen := map[string]bool{}
	for _, r := range c.read() {
		switch r.Op {
		case "outcome":
			seen[histcheck.Status(r.Detail)] = true
			if !want[histcheck.Status(r.Detail)] {
				t.Errorf("%s ends as %s", r.Attempt, r.Detail)
			}
		case "claim":
			if r.N > 1 && r.Flow != "flaky" && r.Flow != "heartbeat" {
				t.Errorf("%s is claimed: a second attempt without a fault", r.Attempt)
			}
		case "expire", "lost", "suspect":
			t.Errorf("%s of %s without a fault", r.Op, r.Attempt)
		}
	}
	for s := range want {
		if !seen[s] {
			t.Errorf("no node ends as %s: the shapes are not what they should be", s)
		}
	}
	for id := range c.flows {
		sameCounts(t, c, string(id))
	}
}

// sameCounts compares what the API tells of a flow's slots with the journal,
// which is read between two answers.
func sameCounts(t *testing.T, c *cluster, flow string) {
	t.Helper()
	before, err := c.api.Flow(c.ctx, flow)
	if err != nil {
		t.Fatal(err)
	}
	var started int64
	for _, r := range c.read() {
		if r.Flow == ids.FlowID(flow) && r.Op == "cycle_start" && !strings.HasPrefix(r.Detail, "manual") {
			started++
		}
	}
	after, err := c.api.Flow(c.ctx, flow)
	if err != nil {
		t.Fatal(err)
	}
	if started < before.Slots.Started || started > after.Slots.Started {
		t.Errorf("%s: the API counts %d to %d started slots, the journal has %d", flow, before.Slots.Started, after.Slots.Started, started)
	}
	sum := after.Slots.Started + after.Slots.Pending
	for _, n := range after.Slots.Skipped {
		sum += n
	}
	if sum != after.Slots.Due {
		t.Errorf("%s: slots due %d, but started + skipped + pending are %d", flow, after.Slots.Due, sum)
	}
}
