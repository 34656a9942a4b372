package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// These tests take a store's data away and demand that the cluster goes on
// without a person. They run alone, for the servers are everybody's.

// within is the bound that coordinators promise by default.
const within = 5 * time.Second

// recovered waits until the ledger tells of a recovery that begins so.
func (c *cluster) recovered(t *testing.T, limit time.Duration, begins string) {
	t.Helper()
	c.until(t, limit, "recovery "+begins, func() (bool, string) {
		all, err := c.ledger.Recoveries(c.ctx)
		for _, r := range all {
			if strings.HasPrefix(r.What, begins) {
				t.Logf("told: %s", r.What)
				return true, ""
			}
		}
		return false, fmt.Sprint(all, err)
	})
}

// proven lets the journal's checker judge everything so far. Reads of a busy
// journal begin and end in the middle of things; it knows that.
func (c *cluster) proven(t *testing.T) {
	t.Helper()
	proof, err := c.api.Verify(c.ctx, client.VerifyOptions{})
	must(t, err)
	for _, v := range proof.Violations[:min(10, len(proof.Violations))] {
		t.Errorf("verify: %+v", v)
	}
}

func (c *cluster) folder(server string) string {
	return filepath.Join(system.Folder(), server)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEtcdIsRebuilt takes all of etcd's data away, then gives it an old snapshot.
func TestEtcdIsRebuilt(t *testing.T) {
	c := start(t, setup{faults: true})
	c.ticking(t)
	old := flow("old", 0).source("a").output("out").edge("a", "data", "out", "data")
	c.register(t, old, flow("held", time.Second).source("a"), flow("gone", 0).source("a"))
	_, err := c.api.PauseFlow(c.ctx, "held")
	must(t, err)
	held := c.flows["held"]
	delete(c.flows, "held") // no cycle of it ends for now
	for range 40 {          // revisions enough, so that an empty etcd stays below them for long
		_, err := c.api.PauseFlow(c.ctx, "gone")
		must(t, err)
		_, err = c.api.ResumeFlow(c.ctx, "gone")
		must(t, err)
	}
	snapshot := filepath.Join(c.dir, "snapshot")
	if out, err := system.Ctl("etcdctl", "snapshot", "save", snapshot); err != nil {
		t.Fatal(out, err)
	}
	must(t, c.api.DeleteFlow(c.ctx, "gone"))
	c.register(t, flow("old", 0).source("a").delay("b", time.Millisecond).output("out").edge("a", "data", "b", "data").edge("b", "data", "out", "data"),
		flow("young", 0).source("a"))
	before := c.flowList(t)

	t.Run("empty", func(t *testing.T) {
		c.etcdIs(t, func() error { return nil })
		c.recovered(t, 3*within, "etcd was rebuilt")
		c.sameFlows(t, before)
	})
	t.Run("an old snapshot", func(t *testing.T) {
		c.etcdIs(t, func() error {
			ports, err := os.ReadFile(filepath.Join(c.folder("etcd"), "ports"))
			if err != nil {
				return err
			}
			p := strings.Fields(string(ports))
			peer := "http://127.0.0.1:" + p[1]
			out, err := system.Ctl("etcdctl", "snapshot", "restore", snapshot, "--name", "etcd", "--data-dir", filepath.Join(c.folder("etcd"), "data"),
				"--initial-cluster", "etcd="+peer, "--initial-advertise-peer-urls", peer)
			if err != nil {
				return fmt.Errorf("%s: %w", out, err)
			}
			return nil
		})
		c.recovered(t, 3*within, "etcd was restored from an older state")
		c.sameFlows(t, before)
	})

	// Edits, pauses and deletions go on.
	c.register(t, flow("old", 0).source("a"))
	_, err = c.api.ResumeFlow(c.ctx, "held")
	must(t, err)
	c.flows["held"] = held
	c.progress(t, 20*time.Second, 2)
	must(t, c.api.DeleteFlow(c.ctx, "young"))
	delete(c.flows, "young")
	c.settled(t, 30*time.Second)
	c.whole(t)
	var epoch, takeovers int64
	for _, r := range c.reread() {
		if r.Op == "takeover" {
			takeovers++
			if int64(r.Epoch) <= epoch {
				t.Errorf("epoch %d after %d", r.Epoch, epoch)
			}
			epoch = int64(r.Epoch)
		}
	}
	if takeovers < 3 {
		t.Errorf("%d leaderships", takeovers)
	}
	c.judge(t, histcheck.Evidence{})
	c.proven(t)
}

// etcdIs stops etcd, takes its data away, makes other data and starts it.
func (c *cluster) etcdIs(t *testing.T, become func() error) {
	t.Helper()
	must(t, system.Do("stop", "etcd"))
	must(t, os.RemoveAll(filepath.Join(c.folder("etcd"), "data")))
	must(t, become())
	skip := len(c.read())
	must(t, system.Do("start", "etcd"))
	up := time.Now()
	c.entry(t, 20*time.Second, skip, "takeover", func(r ledger.Record) bool { return r.Op == "takeover" })
	t.Logf("a leader %s after etcd answers", time.Since(up).Round(time.Millisecond))
	if took := time.Since(up); took > leaderTTL+within {
		t.Errorf("a leader after %s", took)
	}
	c.progress(t, 20*time.Second, 2)
}

// flowList tells what each coordinator says of the flows.
func (c *cluster) flowList(t *testing.T) []string {
	t.Helper()
	flows, err := c.api.Flows(c.ctx)
	must(t, err)
	var out []string
	for _, f := range flows {
		out = append(out, fmt.Sprintf("%s %d %s", f.FlowID, f.Revision, f.Status))
	}
	return out
}

// sameFlows waits until all coordinators, and etcd, have these flows.
func (c *cluster) sameFlows(t *testing.T, want []string) {
	t.Helper()
	for _, p := range c.coordinators {
		one, err := client.New("http://"+p.Args[slices.Index(p.Args, "--http-addr")+1], client.Options{Timeout: 5 * time.Second})
		must(t, err)
		c.until(t, 10*time.Second, "the flows on "+p.Name, func() (bool, string) {
			flows, err := one.Flows(c.ctx)
			var got []string
			for _, f := range flows {
				got = append(got, fmt.Sprintf("%s %d %s", f.FlowID, f.Revision, f.Status))
			}
			return err == nil && slices.Equal(got, want), fmt.Sprint(got, err)
		})
		one.Close()
	}
	out, err := system.Ctl("etcdctl", "get", "--prefix", "--keys-only", c.prefix+"/flows/")
	if err != nil {
		t.Fatal(out, err)
	}
	if n := len(strings.Fields(out)); n != len(want) {
		t.Errorf("etcd has %d flows, want %d: %s", n, len(want), out)
	}
}

// TestRedisLosesItsTail kills Redis under load and cuts its log, at any byte and
// at the end of a command, up to a second back; then restarts it once more.
func TestRedisLosesItsTail(t *testing.T) {
	c := start(t, setup{faults: true})
	c.ticking(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range 6 {
		whole := i%2 == 0
		name, size := c.aof(t)
		<-time.After(time.Second)
		must(t, system.Do("kill", "redis"))
		name2, end := c.aof(t)
		if name2 != name { // rewritten meanwhile
			size = 0
		}
		at := size + random.Int64N(max(end-size, 1))
		if whole {
			at = commandEnd(t, name2, at)
		}
		must(t, os.Truncate(name2, at))
		must(t, system.Do("start", "redis"))
		up := time.Now()
		c.until(t, 20*time.Second, "answer of Redis", func() (bool, string) { err := c.ledger.Ping(c.ctx); return err == nil, fmt.Sprint(err) })
		t.Logf("cut at %d of %d to %d, at a command's end: %v", at, size, end, whole)
		c.reread()
		c.progress(t, 30*time.Second, 2)
		t.Logf("two more cycles of each flow %s after it answers", time.Since(up).Round(time.Millisecond))
		// What was torn must not be half applied at the next start, be it before or after the
		// leader's rewrite of the log: scripts/servers checks the file first.
		c.until(t, 20*time.Second, "rewrite of the log", func() (bool, string) {
			if i >= 3 {
				return true, ""
			}
			out, err := system.Ctl("redis-cli", "info", "persistence")
			now, _ := c.aof(t)
			return err == nil && now != name2 && strings.Contains(out, "aof_rewrite_in_progress:0"), now
		})
		must(t, system.Do("restart", "redis"))
		c.until(t, 20*time.Second, "answer of Redis", func() (bool, string) { err := c.ledger.Ping(c.ctx); return err == nil, fmt.Sprint(err) })
		c.reread()
		c.progress(t, 30*time.Second, 2)
		c.settled(t, 60*time.Second)
	}
	c.recovered(t, 3*within, "redis was restarted")
	c.judge(t, histcheck.Evidence{RedisLost: true})
}

// aof finds the file that Redis appends to, and its size.
func (c *cluster) aof(t *testing.T) (string, int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(c.folder("redis"), "appendonlydir", "*.incr.aof"))
	must(t, err)
	var newest string
	var size int64
	var when time.Time
	for _, n := range names {
		i, err := os.Stat(n)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(t, err)
		if i.ModTime().After(when) {
			newest, size, when = n, i.Size(), i.ModTime()
		}
	}
	return newest, size
}

// commandEnd returns the first end of a command at or behind a place in a log.
func commandEnd(t *testing.T, name string, at int64) int64 {
	t.Helper()
	text, err := os.ReadFile(name)
	must(t, err)
	if i := strings.Index(string(text[at:]), "\r\n*"); i >= 0 {
		return at + int64(i) + 2
	}
	return int64(len(text))
}

// TestRabbitLosesMessages purges and deletes a busy queue, and takes the broker's
// data away: what was offered is offered again in time.
func TestRabbitLosesMessages(t *testing.T) {
	c := start(t, setup{faults: true, coordinator: []string{"--queue-type", "quorum"}, workers: []string{"--queue-type", "quorum", "--concurrency", "2"}})
	c.ticking(t)
	c.register(t, layered("burst", 40, 5))
	queue := c.prefix + ".tasks.default"
	out, err := system.Ctl("rabbitmqctl", "-q", "list_queues", "--no-table-headers", "name")
	if err != nil {
		t.Fatal(out, err)
	}
	for line := range strings.Lines(out) {
		if name := strings.TrimSpace(line); strings.HasPrefix(name, c.prefix) && strings.HasSuffix(name, "default") {
			queue = name
		}
	}
	for _, how := range []string{"purge_queue", "delete_queue", "young", "data"} {
		t.Run(how, func(t *testing.T) {
			skip := len(c.read())
			c.run(t, "burst")
			c.entry(t, 10*time.Second, skip, "claims", func(r ledger.Record) bool { return r.Op == "claim" && r.Flow == "burst" })
			switch how {
			case "young": // a broker that is killed soon after a queue was declared keeps its name and no more
				if out, err := system.Ctl("rabbitmqctl", "-q", "delete_queue", queue); err != nil {
					t.Fatal(out, err)
				}
				c.until(t, 20*time.Second, "the queue again", func() (bool, string) {
					out, err := system.Ctl("rabbitmqctl", "-q", "list_queues", "--no-table-headers", "name")
					return err == nil && strings.Contains(out, queue), out
				})
				must(t, system.Do("kill", "rabbitmq"))
				must(t, system.Do("start", "rabbitmq"))
			case "data":
				must(t, system.Do("kill", "rabbitmq"))
				must(t, os.RemoveAll(filepath.Join(c.folder("rabbitmq"), "data")))
				must(t, system.Do("start", "rabbitmq"))
			default:
				if out, err := system.Ctl("rabbitmqctl", "-q", how, queue); err != nil {
					t.Fatal(out, err)
				}
			}
			up := time.Now()
			c.progress(t, 40*time.Second, 2)
			c.settled(t, 60*time.Second)
			t.Logf("two more cycles of each flow, and the end of all, %s after the loss", time.Since(up).Round(time.Millisecond))
			for _, r := range c.read()[skip:] {
				if r.Op == "repair" && r.At.Before(up) {
					t.Logf("early repair: %s", r.Detail)
				}
			}
		})
	}
	c.judge(t, histcheck.Evidence{})
	c.proven(t)
}

// TestPoison runs a node that kills its worker each time: it ends failed, by a
// bounded number of losses, and the workers that are started again go on.
func TestPoison(t *testing.T) {
	t.Parallel()
	c := start(t, setup{faults: true})
	const script = `kill -9 $PPID; sleep 5`
	d := flow("poison", 0).source("a").
		add(vertex{ID: "bad", Type: "exec", Parameters: map[string]any{"command": []string{"/bin/sh", "-c", script}}}).output("out").
		edge("a", "data", "bad", "data").edge("bad", "data", "out", "data")
	c.register(t, d, chain("chain", 300*time.Millisecond))
	stop, watched := make(chan struct{}), make(chan int, 1)
	go func() { // what starts containers again does
		n := 0
		defer func() { watched <- n }()
		t2 := time.NewTicker(50 * time.Millisecond)
		defer t2.Stop()
		for {
			for _, w := range c.workers {
				if !w.Running() {
					n++
					_ = w.Start() // once more otherwise
				}
			}
			select {
			case <-t2.C:
			case <-stop:
				for _, w := range c.workers { // the last losses may have ended the cycle before this looked
					if !w.Running() {
						n++
						_ = w.Start()
					}
				}
				return
			}
		}
	}()
	n := c.run(t, "poison")
	c.until(t, time.Minute, "end of the poisoned cycle", func() (bool, string) {
		s, err := c.api.Cycle(c.ctx, "poison", n)
		return err == nil && s.Status == "failed", fmt.Sprint(s.Status, err)
	})
	close(stop)
	killed := <-watched
	s, err := c.api.Node(c.ctx, "poison", n, "bad")
	must(t, err)
	t.Logf("%d workers were killed; the node: %s: %+v", killed, s.Status, s.Error)
	if killed != 4 {
		t.Errorf("%d workers were killed, want one for each loss that a node survives and one more", killed)
	}
	if s.Status != "failed" || !strings.Contains(fmt.Sprintf("%+v", s.Error), "lost 4 times") {
		t.Errorf("the node is %s: %+v", s.Status, s.Error)
	}
	c.progress(t, 20*time.Second, 2)
	c.settled(t, 20*time.Second)
	c.proven(t)
}
