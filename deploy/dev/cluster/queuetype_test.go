package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/deploy/dev/servers"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// queueTypes are the types that a pool's queue can have.
var queueTypes = []string{"quorum", "classic", "transient"}

// typed starts a cluster whose queues are of a type, and whose workers are slow, so
// that messages wait.
func typed(t *testing.T, kind string) *cluster {
	return start(t, setup{faults: true, coordinator: []string{"--queue-type", kind}, workers: []string{"--queue-type", kind, "--concurrency", "2"}})
}

// backlog starts a cycle of 60 nodes for 6 slots and waits until all slots are busy and as
// many nodes as the leader offers ahead wait in the queue.
func (c *cluster) backlog(t *testing.T) (skip int) {
	t.Helper()
	skip = len(c.read())
	c.run(t, "wide")
	c.entry(t, 10*time.Second, skip, "claims", func(r ledger.Record) bool { return r.Op == "claim" && r.Flow == "wide" })
	c.until(t, 10*time.Second, "offers", func() (bool, string) {
		n := map[string]int{}
		for _, r := range c.read()[skip:] {
			if r.Flow == "wide" {
				n[r.Op]++
			}
		}
		return n["claim"] >= 6 && n["dispatch"] >= n["claim"]+5, fmt.Sprint(n)
	})
	return skip
}

// messages counts the repairs of lost messages and tells when the last one was made.
func messages(journal []ledger.Record) (n int, last time.Time) {
	for _, r := range journal {
		if r.Op == "repair" && strings.HasPrefix(r.Detail, "message: ") {
			n++
			last = r.At
		}
	}
	return n, last
}

// TestQueueTypesThroughRestarts restarts, kills, purges and deletes under messages that
// wait, for each type of queue. Whatever is lost is rung again: at once, when the
// publisher sees the loss, else within the bound of repairs.
func TestQueueTypesThroughRestarts(t *testing.T) {
	for _, kind := range queueTypes {
		t.Run(kind, func(t *testing.T) {
			c := typed(t, kind)
			began := time.Now()
			c.ticking(t)
			c.register(t, wide("wide", 60, 300*time.Millisecond))
			c.run(t, "wide") // the queue is in use, and not young any more
			c.settled(t, 30*time.Second)
			<-time.After(time.Until(began.Add(6 * time.Second)))
			for _, how := range []string{"restart", "kill", "delete_queue", "purge_queue"} {
				t.Run(how, func(t *testing.T) { c.messagesLost(t, kind, how) })
			}
			c.judge(t, histcheck.Evidence{})
			c.proven(t)
		})
	}
}

func (c *cluster) messagesLost(t *testing.T, kind, how string) {
	skip := c.backlog(t)
	at := time.Now()
	switch how {
	case "restart":
		must(t, system.Do("restart", "rabbitmq"))
	case "kill":
		must(t, system.Do("kill", "rabbitmq"))
		must(t, system.Do("start", "rabbitmq"))
	default:
		if out, err := system.Ctl("rabbitmqctl", "-q", how, c.prefix+".pool.default"); err != nil {
			t.Fatal(out, err)
		}
	}
	up := time.Now()
	r := c.entry(t, 40*time.Second, skip, "a claim after it", func(r ledger.Record) bool { return r.Op == "claim" && r.Flow == "wide" && r.At.After(up) })
	c.settled(t, 60*time.Second)
	n, last := messages(c.read()[skip:])
	took := time.Duration(0)
	if n > 0 {
		took = last.Sub(up)
	}
	t.Logf("%s, %s: away %s; first claim %s, %d messages rung again by %s, all ended %s after", kind, how, up.Sub(at).Round(time.Millisecond),
		r.At.Sub(up).Round(time.Millisecond), n, took.Round(time.Millisecond), time.Since(up).Round(time.Millisecond))
	away := how == "restart" || how == "kill"
	switch {
	case away && kind != "transient" && n > 5: // what was in a worker's hands may be counted
		t.Errorf("%d messages were lost: a %s queue keeps them", n, kind)
	case kind == "transient" && away && n < 5:
		t.Errorf("%d messages were rung again: all were lost", n)
	case away && took > 3*time.Second, took > within+time.Second:
		t.Errorf("the last lost message was rung again after %s", took)
	}
}

// TestQueueTypeIsChanged restarts the coordinators with another type, one after the
// other, under workers that keep the old one: the leader's setting counts, and
// everything goes on.
func TestQueueTypeIsChanged(t *testing.T) {
	t.Parallel()
	c := typed(t, "quorum")
	c.ticking(t)
	for _, kind := range []string{"classic", "quorum"} {
		for _, p := range c.coordinators {
			p.Stop()
			p.Args[slices.Index(p.Args, "--queue-type")+1] = kind
			p.start(t)
			c.whole(t)
		}
		at := time.Now()
		c.until(t, 20*time.Second, "a queue of type "+kind, func() (bool, string) {
			out, err := system.Ctl("rabbitmqctl", "-q", "list_queues", "--no-table-headers", "name", "type")
			return err == nil && strings.Contains(out, c.prefix+".pool.default\t"+kind), fmt.Sprint(out, err)
		})
		c.progress(t, 20*time.Second, 3)
		t.Logf("%s: three more cycles of each flow %s after", kind, time.Since(at).Round(time.Millisecond))
	}
	c.settled(t, 30*time.Second)
	c.judge(t, histcheck.Evidence{})
	c.proven(t)
}

// TestANodeOfAClassicQueueIsLost: a classic queue lives on one node of three. While
// that is down its pool stands still, and says so; it goes on when the node is back, or
// elsewhere when the node is given up. Nothing is lost or doubled. It takes the place of
// the other tests' servers, so it is not parallel.
func TestANodeOfAClassicQueueIsLost(t *testing.T) {
	if system == nil {
		t.Skip("no cluster is asked for: `make test` runs this with real servers, and so does STATION_TEST_CLUSTER=1")
	}
	three, err := servers.Start(servers.Config{Root: system.Root, Bin: system.Bin, Topology: "ha"})
	must(t, err)
	single := system
	t.Cleanup(func() {
		system = single
		if err := three.Close(); err != nil {
			t.Error(err)
		}
	})
	system = three
	c := typed(t, "transient")
	c.ticking(t)
	home := func() string { // of the queue
		out, err := system.Ctl("rabbitmqctl", "-q", "list_queues", "--no-table-headers", "name", "pid", "state")
		must(t, err)
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == c.prefix+".pool.default" {
				_, after, _ := strings.Cut(f[1], "station-")
				return after[:1]
			}
		}
		t.Fatalf("no home: %s", out)
		return ""
	}
	for _, how := range []string{"is back", "is given up"} {
		t.Run(how, func(t *testing.T) {
			node := home()
			must(t, system.Do("kill", "rabbitmq-"+node))
			leading, _ := c.leader(t)
			c.until(t, 30*time.Second, "word of it", func() (bool, string) {
				_, log := leading.Faults(false)
				return strings.Contains(log, "the broker node that holds the queue is down"), log
			})
			c.until(t, 30*time.Second, "the fault in the cluster's status", func() (bool, string) {
				s, err := c.api.Cluster(c.ctx)
				i := slices.IndexFunc(s.Pools, func(p api.Pool) bool { return p.Pool == "default" })
				return err == nil && i >= 0 && strings.Contains(s.Pools[i].Fault, "down"), fmt.Sprintf("%+v, %v", s.Pools, err)
			})
			skip := len(c.read())
			if how == "is back" {
				must(t, system.Do("start", "rabbitmq-"+node))
			} else {
				other := map[string]string{"1": "2", "2": "3", "3": "1"}[node]
				name, err := system.Ctl("rabbitmqctl@rabbitmq-"+other, "-q", "eval", "node().")
				must(t, err)
				name = strings.Replace(strings.Trim(strings.TrimSpace(name), "'"), "station-"+other, "station-"+node, 1)
				if out, err := system.Ctl("rabbitmqctl@rabbitmq-"+other, "forget_cluster_node", name); err != nil {
					t.Fatal(out, err)
				}
			}
			up := time.Now()
			c.progress(t, 60*time.Second, 2)
			c.settled(t, 60*time.Second)
			n, _ := messages(c.read()[skip:])
			t.Logf("%s: two more cycles of each flow %s after, %d messages rung again", how, time.Since(up).Round(time.Millisecond), n)
		})
	}
	c.judge(t, histcheck.Evidence{})
}
