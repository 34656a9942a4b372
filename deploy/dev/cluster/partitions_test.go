package cluster

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/deploy/dev/servers"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/partition"
)

// parts are views of a cluster, each of one partition: its ledger, its flows.
func (c *cluster) parts() []*cluster {
	var out []*cluster
	for p, l := range c.ledgers.All() {
		v := *c
		v.ledger, v.journal, v.flows = l, nil, map[ids.FlowID]histcheck.Flow{}
		for id, f := range c.flows {
			if partition.Of(id, c.partitions) == p {
				v.flows[id] = f
			}
		}
		out = append(out, &v)
	}
	return out
}

// spread registers flows, two in each partition.
func (c *cluster) spread(t *testing.T, interval time.Duration) {
	t.Helper()
	in := make([]int, c.partitions)
	for i := 0; slices.Min(in) < 2; i++ {
		id := fmt.Sprintf("spread%d", i)
		p := partition.Of(ids.FlowID(id), c.partitions)
		if in[p]++; in[p] > 2 {
			continue
		}
		c.register(t, flow(id, interval).source("a").delay("b", 10*time.Millisecond).output("c").
			edge("a", "data", "b", "data").edge("b", "data", "c", "data"))
	}
}

// loads waits until the coordinators lead so many partitions each.
func (c *cluster) loads(t *testing.T, within time.Duration, want ...int) api.Cluster {
	t.Helper()
	var now api.Cluster
	c.until(t, within, fmt.Sprintf("spread %v", want), func() (bool, string) {
		var err error
		if now, err = c.api.Cluster(c.ctx); err != nil {
			return false, err.Error()
		}
		var got []int
		for _, m := range now.Members {
			got = append(got, len(m.Partitions))
		}
		slices.Sort(got)
		slices.Reverse(got)
		return slices.Equal(got, want), fmt.Sprint(got)
	})
	return now
}

func (c *cluster) named(t *testing.T, id string) *process {
	t.Helper()
	i := slices.IndexFunc(c.coordinators, func(p *process) bool { return p.Name == id })
	if i < 0 {
		t.Fatalf("no coordinator is called %q", id)
	}
	return c.coordinators[i]
}

func leaders(c api.Cluster) map[int]api.Leader {
	out := map[int]api.Leader{}
	for _, p := range c.Partitions {
		if p.Leader != nil {
			out[p.Partition] = *p.Leader
		}
	}
	return out
}

// busiest names the coordinator that leads the most partitions.
func busiest(c api.Cluster) string {
	return slices.MaxFunc(c.Members, func(a, b api.Member) int { return len(a.Partitions) - len(b.Partitions) }).ID
}

// every does something with each partition.
func every(parts []*cluster, do func(c *cluster)) {
	for _, p := range parts {
		do(p)
	}
}

// TestPartitions runs three coordinators that share four partitions: they spread, one is
// killed and comes back, one leaves, each partition is handed over. Nothing is lost or
// doubled in any.
func TestPartitions(t *testing.T) {
	c := start(t, setup{faults: true, partitions: 4, many: 3})
	first := c.loads(t, 30*time.Second, 2, 1, 1)
	c.spread(t, 200*time.Millisecond)
	parts := c.parts()
	every(parts, func(c *cluster) { c.progress(t, 20*time.Second, 3) })

	// A crash moves the partitions of the one that died, and no other.
	dead := busiest(first)
	before := leaders(first)
	every(parts, func(c *cluster) { c.read() })
	at := time.Now()
	c.named(t, dead).kill(t)
	for p, v := range parts {
		if before[p].ID != dead {
			continue
		}
		r := v.entry(t, 20*time.Second, len(v.journal), "offer of the next leader", func(r ledger.Record) bool {
			return r.Op == "dispatch" && int64(r.Epoch) > before[p].Epoch
		})
		t.Logf("partition %d: an offer of the next leader %s after the kill", p, r.At.Sub(at).Round(100*time.Microsecond))
		if r.At.Sub(at) > leaderTTL {
			t.Errorf("partition %d waited for the lease", p)
		}
	}
	now, err := c.api.Cluster(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for p, l := range leaders(now) {
		if before[p].ID != dead && l.Epoch != before[p].Epoch && time.Since(at) < 3*time.Second {
			t.Errorf("partition %d of %s has another leader since %s died", p, before[p].ID, dead)
		}
	}
	c.loads(t, 20*time.Second, 2, 2)
	every(parts, func(c *cluster) { c.progress(t, 20*time.Second, 3) })

	// One that joins gets its share, and as little as that moves.
	held := leaders(c.loads(t, 20*time.Second, 2, 2))
	c.named(t, dead).start(t)
	joined := leaders(c.loads(t, 30*time.Second, 2, 1, 1))
	moved := 0
	for p := range joined {
		if joined[p].Epoch != held[p].Epoch {
			moved++
		}
	}
	if moved != 1 {
		t.Errorf("%d partitions moved when a coordinator joined, want 1", moved)
	}

	// Each partition is handed over alone.
	for p := range parts {
		was, err := c.api.TransferPartition(c.ctx, p, false)
		if err != nil || was.Partition == nil || *was.Partition != p {
			t.Fatalf("transfer of partition %d: %+v, %v", p, was, err)
		}
		c.until(t, 10*time.Second, "another leader", func() (bool, string) {
			cl, err := c.api.Cluster(c.ctx)
			if err != nil {
				return false, err.Error()
			}
			l := leaders(cl)[p]
			return l.Epoch > was.Epoch && l.ID != was.From, fmt.Sprintf("%+v", l)
		})
	}
	every(parts, func(c *cluster) { c.progress(t, 20*time.Second, 2) })

	// One leaves in the orderly way.
	leaves := c.named(t, busiest(c.loads(t, 30*time.Second, 2, 1, 1)))
	leaves.signal(t, syscall.SIGTERM)
	if code := leaves.exit(t, 20*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	c.loads(t, 20*time.Second, 2, 2)
	every(parts, func(c *cluster) { c.progress(t, 20*time.Second, 2) })

	c.refusesAnotherNumber(t)
	c.provenAll(t, parts, histcheck.Evidence{})
}

// provenAll judges every partition, and lets verify do so.
func (c *cluster) provenAll(t *testing.T, parts []*cluster, e histcheck.Evidence) {
	t.Helper()
	for p, v := range parts {
		if !t.Run(fmt.Sprintf("partition %d", p), func(t *testing.T) {
			v.settled(t, 20*time.Second)
			v.judge(t, e)
		}) {
			return
		}
	}
	proof, err := c.api.Verify(c.ctx, client.VerifyOptions{})
	if err != nil || !proof.Clean || proof.Cycles == 0 {
		t.Errorf("verify: %+v, %v", proof, err)
	}
	list, err := c.api.Flows(c.ctx)
	if err != nil || len(list) != len(c.flows) {
		t.Errorf("%d flows are listed, %d registered; %v", len(list), len(c.flows), err)
	}
}

// refusesAnotherNumber starts a coordinator that is set to another number.
func (c *cluster) refusesAnotherNumber(t *testing.T) {
	t.Helper()
	odd := c.process(t, "coordinator", "odd", []string{"--etcd-endpoints", system.Etcd, "--http-addr", address(t), "--partitions", strconv.Itoa(c.partitions + 1)})
	odd.start(t)
	code := odd.exit(t, 20*time.Second)
	text, err := os.ReadFile(odd.Log)
	if err != nil {
		t.Fatal(err)
	}
	if code != 2 || !strings.Contains(string(text), "set STATION_PARTITIONS to "+strconv.Itoa(c.partitions)) {
		t.Errorf("exit code %d of a coordinator with another number of partitions: %s", code, text)
	}
}

// TestPartitionsInSlotsOfARedisCluster spreads four partitions over three masters. It
// takes the place of the other tests' servers, so it is not parallel.
func TestPartitionsInSlotsOfARedisCluster(t *testing.T) {
	if system == nil {
		t.Skip("no cluster is asked for: `make test` runs this with real servers, and so does STATION_TEST_CLUSTER=1")
	}
	masters, err := servers.Start(servers.Config{Root: system.Root, Bin: system.Bin, Topology: "redis-cluster"})
	if err != nil {
		t.Fatal(err)
	}
	single := system
	t.Cleanup(func() {
		system = single
		if err := masters.Close(); err != nil {
			t.Error(err)
		}
	})
	system = masters
	c := start(t, setup{faults: true, partitions: 4, many: 3})
	first := c.loads(t, 30*time.Second, 2, 1, 1)
	c.spread(t, 200*time.Millisecond)
	parts := c.parts()
	every(parts, func(c *cluster) { c.progress(t, 20*time.Second, 3) })
	on := map[string][]int{} // partitions by the master that has them
	for p, v := range parts {
		for _, m := range system.Nodes("redis") {
			out, err := system.Ctl("redis-cli@"+m, "--scan", "--pattern", v.ledger.Prefix()+":epoch")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out, ":epoch") {
				on[m] = append(on[m], p)
			}
		}
	}
	t.Logf("partitions by master: %v", on)
	if len(on) < 3 {
		t.Errorf("partitions lie on %d masters of 3: %v", len(on), slices.Collect(maps.Keys(on)))
	}
	c.named(t, busiest(first)).kill(t)
	every(parts, func(c *cluster) { c.progress(t, 20*time.Second, 3) })
	c.provenAll(t, parts, histcheck.Evidence{})
}
