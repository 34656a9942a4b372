package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// TestServersAreRestarted stops and kills each of the three servers under a busy
// cluster: it goes on by itself, and nothing is lost or doubled. It runs alone,
// for the servers are everybody's.
func TestServersAreRestarted(t *testing.T) {
	c := start(t, setup{faults: true})
	began := time.Now()
	c.ticking(t)
	lost := false
	for _, f := range []struct{ server, how string }{
		{"redis", "restart"}, {"redis", "kill"}, {"etcd", "restart"}, {"etcd", "kill"}, {"rabbitmq", "kill"}, {"rabbitmq", "restart"},
	} {
		if f.server == "rabbitmq" {
			// A quorum queue that is younger may be lost with its server: RabbitMQ
			// writes the list of its queues late.
			<-time.After(time.Until(began.Add(6 * time.Second)))
		}
		// A killed Redis that syncs its log every second may forget that second.
		lost = lost || f.server == "redis" && f.how == "kill"
		if !t.Run(f.server+" "+f.how, func(t *testing.T) { c.serverFails(t, f.server, f.how, lost) }) {
			return
		}
	}
}

// serverFails takes a server away and demands that the cluster recovers.
func (c *cluster) serverFails(t *testing.T, server, how string, lost bool) {
	skip, at := len(c.read()), time.Now()
	if how == "restart" {
		if err := system.Do("restart", server); err != nil {
			t.Fatal(err)
		}
	} else {
		if err := system.Do("kill", server); err != nil {
			t.Fatal(err)
		}
		if server == "etcd" {
			// Nobody can be elected while etcd is away, so the leader goes on.
			quiet := time.Now().Add(leaderTTL + time.Second)
			c.until(t, 20*time.Second, "slots without etcd", func() (bool, string) {
				all := c.read()
				return slices.ContainsFunc(all[skip:], func(r ledger.Record) bool { return r.Op == "cycle_start" && r.At.After(quiet) }), fmt.Sprint(len(all))
			})
		}
		if err := system.Do("start", server); err != nil {
			t.Fatal(err)
		}
	}
	up := time.Now()
	if server == "redis" {
		c.until(t, 20*time.Second, "answer of Redis", func() (bool, string) { err := c.ledger.Ping(c.ctx); return err == nil, fmt.Sprint(err) })
		c.reread()
	}
	c.progress(t, 40*time.Second, 2)
	t.Logf("%s %s: away for %s, two more cycles of each flow %s after it answers", server, how, up.Sub(at).Round(time.Millisecond), time.Since(up).Round(time.Millisecond))
	c.settled(t, 60*time.Second)
	c.whole(t)
	c.judge(t, histcheck.Evidence{RedisLost: lost})
}
