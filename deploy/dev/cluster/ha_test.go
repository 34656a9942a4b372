package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/deploy/dev/servers"
)

// TestOneServerOfThreeIsLost kills, under a busy cluster, the etcd that leads, the
// RabbitMQ that leads the queue and the Redis that is the primary, each of three.
// The cluster goes on without it, and when it is back; nothing is lost or doubled.
// It takes the place of the other tests' servers, so it is not parallel.
func TestOneServerOfThreeIsLost(t *testing.T) {
	if system == nil {
		t.Skip("no cluster is asked for: `make test` runs this with real servers, and so does STATION_TEST_CLUSTER=1")
	}
	three, err := servers.Start(servers.Config{Root: system.Root, Bin: system.Bin, Topology: "ha"})
	if err != nil {
		t.Fatal(err)
	}
	single := system
	t.Cleanup(func() {
		system = single
		if err := three.Close(); err != nil {
			t.Error(err)
		}
	})
	system = three
	c := start(t, setup{faults: true})
	c.ticking(t)
	lost := false
	for _, kind := range []string{"etcd", "rabbitmq", "redis"} {
		lost = lost || kind == "redis" // a replica may lack the newest writes
		if !t.Run(kind, func(t *testing.T) { c.oneIsLost(t, kind, lost) }) {
			return
		}
	}
}

func (c *cluster) oneIsLost(t *testing.T, kind string, lost bool) {
	name, err := system.Leads(kind)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	if err := system.Do("kill", name); err != nil {
		t.Fatal(err)
	}
	if kind == "redis" {
		c.until(t, 20*time.Second, "another primary", func() (bool, string) {
			now, err := system.Leads(kind)
			return err == nil && now != name && c.ledger.Ping(c.ctx) == nil, fmt.Sprint(now, err)
		})
		c.reread()
	}
	c.progress(t, 40*time.Second, 3)
	t.Logf("three more cycles of each flow %s after the loss of %s", time.Since(at).Round(time.Millisecond), name)
	if err := system.Do("start", name); err != nil {
		t.Fatal(err)
	}
	c.progress(t, 40*time.Second, 2)
	c.settled(t, 60*time.Second)
	c.whole(t)
	c.judge(t, histcheck.Evidence{RedisLost: lost})
}
