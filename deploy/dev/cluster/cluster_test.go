package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/deploy/dev/procs"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Times of the clusters under test, shorter than the defaults.
const (
	leaderTTL = 2 * time.Second
	lease     = 2 * time.Second
)

// setup changes how a cluster is started.
type setup struct {
	workers     []string // more flags of every worker
	coordinator []string // more flags of every coordinator
	redis       string   // URL of a Redis of its own; "" = everybody's
	rabbit      string   // URL of a way to RabbitMQ of its own; "" = everybody's
	faults      bool     // servers or processes are killed: errors may be logged
	single      bool     // one worker instead of three
	partitions  int      // 0 = 1
	many        int      // coordinators; 0 = 2
	profiles    bool     // every process serves profiles
}

// cluster is two coordinators and three workers under a prefix of their own.
type cluster struct {
	setup
	prefix       string
	dir          string
	data         string // the workers' data folder
	ctx          context.Context
	api          *client.Client
	ledgers      *ledger.Set
	ledger       *ledger.Ledger // of partition 0, or of the one that this is a view of
	coordinators []*process
	workers      []*process
	flows        map[ids.FlowID]histcheck.Flow // registered here
	profiles     []string                      // addresses, if the setup asks for them

	journal []ledger.Record // as read so far
}

// start runs a cluster for this test, or skips the test when real servers are
// not asked for.
func start(t *testing.T, s setup) *cluster {
	t.Helper()
	if system == nil {
		t.Skip("no cluster is asked for: `make test` runs this with real servers, and so does STATION_TEST_CLUSTER=1")
	}
	c := &cluster{setup: s, prefix: "t" + uuid.NewString()[:8], dir: t.TempDir(), ctx: t.Context(), flows: map[ids.FlowID]histcheck.Flow{}}
	if c.redis == "" {
		c.redis = system.Redis
	}
	if c.rabbit == "" {
		c.rabbit = system.Rabbit
	}
	c.data = filepath.Join(c.dir, "data")
	if err := os.MkdirAll(filepath.Join(c.data, "exec"), 0o755); err != nil {
		t.Fatal(err)
	}
	var bases []string
	c.many, c.partitions = max(c.many, 2), max(c.partitions, 1)
	s.coordinator = append(slices.Clone(s.coordinator), "--partitions", strconv.Itoa(c.partitions))
	for i := range c.many {
		a := address(t)
		bases = append(bases, "http://"+a)
		c.coordinators = append(c.coordinators, c.process(t, "coordinator", fmt.Sprintf("coordinator-%d", i), append([]string{
			"--etcd-endpoints", system.Etcd, "--leader-ttl", leaderTTL.String(), "--http-addr", a, "--journal-max", "2000000"}, s.coordinator...)))
	}
	workers := 3
	if s.single {
		workers = 1
	}
	for i := range workers {
		c.worker(t, "worker", fmt.Sprintf("worker-%d", i))
	}
	t.Cleanup(func() { c.stop(t) })
	var err error
	if c.api, err = client.New(strings.Join(bases, ","), client.Options{Timeout: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if c.ledgers, err = ledger.OpenSet(t.Context(), ledger.Config{URL: c.redis, Prefix: c.prefix, Name: "cluster-test"}, c.partitions); err != nil {
		t.Fatal(err)
	}
	c.ledger = c.ledgers.All()[0]
	for _, p := range slices.Concat(c.coordinators, c.workers) {
		p.start(t)
	}
	c.until(t, 30*time.Second, "a leader and the workers", func() (bool, string) {
		ws, err := c.api.Workers(c.ctx)
		cl, err2 := c.api.Cluster(c.ctx)
		return err == nil && err2 == nil && len(ws) == workers && cl.Leader != nil && len(cl.Members) == c.many, fmt.Sprint(len(ws), " workers, ", err, err2)
	})
	return c
}

func (c *cluster) process(t *testing.T, binary, name string, args []string) *process {
	t.Helper()
	if c.setup.profiles {
		a := address(t)
		c.profiles = append(c.profiles, a)
		args = append(args, "--pprof", a)
	}
	return &process{procs.Process{Name: name, Path: filepath.Join(system.Bin, binary), Log: filepath.Join(c.dir, name+".log"), Args: append([]string{
		"--id", name, "--prefix", c.prefix, "--redis-url", c.redis, "--rabbitmq-url", c.rabbit, "--lease", lease.String(), "--log-level", "info"}, args...)}}
}

// worker adds a worker of the given binary; it is not started.
func (c *cluster) worker(t *testing.T, binary, name string) *process {
	t.Helper()
	p := c.process(t, binary, name, append([]string{"--http-addr", address(t), "--data-dir", c.data, "--allow-exec"}, c.setup.workers...))
	c.workers = append(c.workers, p)
	return p
}

func (c *cluster) stop(t *testing.T) {
	for _, p := range slices.Concat(c.workers, c.coordinators) {
		p.Stop()
	}
	for _, p := range slices.Concat(c.coordinators, c.workers) {
		found, tail := p.Faults(!c.faults)
		for _, l := range found {
			t.Errorf("log of %s: %s", p.Name, l)
		}
		if t.Failed() {
			t.Log(tail)
		}
	}
	if c.api != nil {
		c.api.Close()
	}
	if c.ledgers != nil {
		if err := c.ledgers.Close(); err != nil {
			t.Error(err)
		}
	}
}

// until polls until done says so. state is shown when the time is over.
func (c *cluster) until(t *testing.T, within time.Duration, what string, done func() (bool, string)) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		ok, state := done()
		if ok {
			return
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("after %s still no %s: %s", within, what, state)
		}
	}
}

// register registers flows and remembers what the checker needs of them.
func (c *cluster) register(t *testing.T, docs ...*doc) {
	t.Helper()
	for _, d := range docs {
		c.registerText(t, d.text(t), client.RegisterOptions{})
	}
}

func (c *cluster) registerText(t *testing.T, text []byte, o client.RegisterOptions) ids.FlowID {
	t.Helper()
	r, err := c.api.Register(c.ctx, text, o)
	if err != nil {
		t.Fatalf("register: %v", err)
	}
	s, err := c.api.Flow(c.ctx, r.FlowID)
	if err != nil {
		t.Fatal(err)
	}
	f, err := histcheck.Define(s.Definition)
	if err != nil {
		t.Fatal(err)
	}
	state, err := c.ledgers.Of(ids.FlowID(r.FlowID)).Flow(c.ctx, ids.FlowID(r.FlowID))
	if err != nil {
		t.Fatal(err)
	}
	f.Anchor = state.Anchor
	c.flows[ids.FlowID(r.FlowID)] = f
	return ids.FlowID(r.FlowID)
}

// run starts a cycle by hand and returns its number.
func (c *cluster) run(t *testing.T, flow string) int64 {
	t.Helper()
	s, err := c.api.StartCycle(c.ctx, flow, "")
	if err != nil {
		t.Fatalf("start a cycle of %s: %v", flow, err)
	}
	return s.Cycle
}

// read returns the journal up to now. An unreachable Redis gives what is known.
func (c *cluster) read() []ledger.Record {
	for {
		after := ""
		if n := len(c.journal); n > 0 {
			after = c.journal[n-1].ID
		}
		more, err := c.ledger.Journal(c.ctx, after, 5000)
		if err != nil || len(more) == 0 {
			return c.journal
		}
		c.journal = append(c.journal, more...)
	}
}

// reread forgets what was read: Redis may have lost a part of it.
func (c *cluster) reread() []ledger.Record {
	c.journal = nil
	return c.read()
}

// entry waits for an entry of the journal after the first skip ones.
func (c *cluster) entry(t *testing.T, within time.Duration, skip int, what string, is func(ledger.Record) bool) ledger.Record {
	t.Helper()
	var found ledger.Record
	c.until(t, within, what, func() (bool, string) {
		all := c.read()
		i := slices.IndexFunc(all[min(skip, len(all)):], is)
		if i >= 0 {
			found = all[skip+i]
		}
		return i >= 0, fmt.Sprintf("%d entries", len(all))
	})
	return found
}

// settled waits until every cycle that is open now has ended.
func (c *cluster) settled(t *testing.T, within time.Duration) {
	t.Helper()
	mark := histcheck.Open(c.read())
	c.until(t, within, "end of the open cycles", func() (bool, string) {
		still := histcheck.Open(c.read())
		var left []string
		for f, cycles := range mark {
			for n := range cycles {
				if still[f][n] {
					left = append(left, fmt.Sprintf("%s/%d", f, n))
				}
			}
		}
		return len(left) == 0, fmt.Sprintf("%d are open: %v; %s", len(left), left[:min(len(left), 5)], c.why(left))
	})
}

// idle waits until no cycle is open at all.
func (c *cluster) idle(t *testing.T, within time.Duration) {
	t.Helper()
	c.until(t, within, "idle cluster", func() (bool, string) {
		n := 0
		var left []string
		for f, cycles := range histcheck.Open(c.read()) {
			n += len(cycles)
			for k := range cycles {
				left = append(left, fmt.Sprintf("%s/%d", f, k))
			}
		}
		return n == 0, fmt.Sprintf("%d cycles are open; %s", n, c.why(left))
	})
}

// why tells what holds a cycle up, for a message.
func (c *cluster) why(cycles []string) string {
	if len(cycles) == 0 {
		return ""
	}
	f, number, _ := strings.Cut(cycles[0], "/")
	var n int64
	if _, err := fmt.Sscan(number, &n); err != nil {
		return err.Error()
	}
	s, err := c.api.Cycle(c.ctx, f, n)
	if err != nil {
		return err.Error()
	}
	out := fmt.Sprintf("%s/%d is %s:", f, n, s.Status)
	for _, node := range s.Nodes {
		if node.Status != "succeeded" {
			out += fmt.Sprintf(" %s=%s#%d", node.NodeID, node.Status, node.Attempt)
			if node.Blocker != nil {
				out += "(" + node.Blocker.Code + ")"
			}
		}
	}
	return out[:min(len(out), 600)]
}

// progress waits until every flow with slots has had n more cycles that ended.
func (c *cluster) progress(t *testing.T, within time.Duration, n int) {
	t.Helper()
	count := func() map[ids.FlowID]int {
		out := map[ids.FlowID]int{}
		for _, r := range c.read() {
			if r.Op == "cycle_end" {
				out[r.Flow]++
			}
		}
		return out
	}
	before := count()
	c.until(t, within, fmt.Sprintf("%d more ended cycles of each flow", n), func() (bool, string) {
		now := count()
		for id, f := range c.flows {
			if f.Interval > 0 && now[id]-before[id] < n {
				return false, fmt.Sprintf("%s has %d more", id, now[id]-before[id])
			}
		}
		return true, ""
	})
}

// judge lets the checker judge the run so far.
func (c *cluster) judge(t *testing.T, e histcheck.Evidence) {
	t.Helper()
	now, err := c.ledger.Now(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	e.Journal, e.Flows, e.Until = c.reread(), c.flows, now.Add(-5*time.Second)
	if e.Effects, err = readEffects(c.data); err != nil {
		t.Fatal(err)
	}
	if e.Runs, err = readRuns(c.data); err != nil {
		t.Fatal(err)
	}
	// The run goes on while it is read: what belongs to cycles that the journal
	// does not tell the whole of is left for a later look, but for effects whose outcome it tells.
	type spot struct {
		flow  ids.FlowID
		cycle int64
		node  ids.NodeID
	}
	left, newest, told := histcheck.Open(e.Journal), map[ids.FlowID]int64{}, map[spot]bool{}
	for _, r := range e.Journal {
		newest[r.Flow] = max(newest[r.Flow], r.Cycle)
		if r.Op == "outcome" {
			told[spot{r.Flow, r.Cycle, r.Node}] = true
		}
	}
	early := func(f ids.FlowID, n int64) bool {
		_, here := c.flows[f]
		return left[f][n] || n > newest[f] || c.partitions > 1 && !here // of another partition
	}
	e.Effects = slices.DeleteFunc(e.Effects, func(x histcheck.Effect) bool { return early(x.Flow, x.Cycle) && !told[spot{x.Flow, x.Cycle, x.Node}] })
	e.Runs = slices.DeleteFunc(e.Runs, func(x histcheck.Run) bool { return early(x.Flow, x.Cycle) })
	found := histcheck.Check(e)
	for _, v := range found[:min(len(found), 20)] {
		t.Error(v)
	}
	if len(found) > 20 {
		t.Errorf("and %d violations more", len(found)-20)
	}
	cycles, claims := 0, 0
	for _, r := range e.Journal {
		switch r.Op {
		case "cycle_end":
			cycles++
		case "claim":
			claims++
		}
	}
	t.Logf("judged: %d cycles ended, %d claims, %d effects, %d runs, %d journal entries", cycles, claims, len(e.Effects), len(e.Runs), len(e.Journal))
	if cycles == 0 {
		t.Error("no cycle has ended: the run proves nothing")
	}
}

// leader finds the coordinator that leads, and the others.
func (c *cluster) leader(t *testing.T) (leading, standby *process) {
	t.Helper()
	c.until(t, 20*time.Second, "leader", func() (bool, string) {
		s, err := c.api.Cluster(c.ctx)
		if err != nil || s.Leader == nil {
			return false, fmt.Sprint("no leader: ", err)
		}
		for i, p := range c.coordinators {
			if p.Name == s.Leader.ID && p.Running() {
				leading, standby = p, c.coordinators[1-i]
			}
		}
		return leading != nil, s.Leader.ID + " leads"
	})
	return leading, standby
}

// whole waits until every coordinator is a member.
func (c *cluster) whole(t *testing.T) {
	t.Helper()
	c.until(t, 20*time.Second, "second coordinator", func() (bool, string) {
		s, err := c.api.Cluster(c.ctx)
		return err == nil && s.Leader != nil && len(s.Members) == len(c.coordinators), fmt.Sprint(len(s.Members), " members, ", err)
	})
}
