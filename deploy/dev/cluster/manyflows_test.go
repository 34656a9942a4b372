package cluster

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// many is how many flows TestManyFlows registers: a few as a test,
// STATION_TEST_FLOWS to measure.
func many(t *testing.T) int {
	t.Helper()
	text := os.Getenv("STATION_TEST_FLOWS")
	if text == "" {
		return 500
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("STATION_TEST_FLOWS is %q; it must be a number", text)
	}
	return n
}

// sized is a cluster with a number of flows, and what was measured of it.
type sized struct {
	*cluster
	size           int
	live, resident float64          // of the leader, bytes
	failover       map[string]times // from the death of the leader until the other one takes a step
	restart        map[string]times // from the start of the only coordinator
}

// What is compared, beside the steps of a failover.
const (
	isReady   = "ready"
	firstSlot = "first cycle of a slot"
	offered   = "first offer in the journal"
	seenTo    = "every flow is mirrored"
)

// TestManyFlows compares a cluster of a hundred flows with one of many, most of them
// idle: what a leader needs in memory, a failover, and a start of the only coordinator.
// They take turns, so that what else the machine does hits both alike.
func TestManyFlows(t *testing.T) {
	n := many(t)
	s := setup{faults: true, coordinator: []string{"--log-level", "debug"}, workers: []string{"--no-direct"}}
	few, lot := &sized{cluster: start(t, s), size: 100}, &sized{cluster: start(t, s), size: n}
	for _, x := range []*sized{few, lot} {
		x.failover, x.restart = map[string]times{}, map[string]times{}
		x.eager(t)
	}
	few.fill(t)
	redis, etcd := few.stored(t)
	lot.fill(t)
	<-time.After(3 * time.Second) // a collection or two
	redis2, etcd2 := few.stored(t)
	for range kills(t, 1) {
		for _, x := range []*sized{few, lot} {
			x.weigh(t)
			x.killed(t)
			x.alone(t)
		}
	}
	for _, x := range []*sized{few, lot} {
		t.Logf("%7d flows: leader %.1f MB live, %.1f MB resident", x.size, x.live/1e6, x.resident/1e6)
	}
	t.Logf("each flow: leader %.0f B live, %.0f B resident; redis %.0f B; etcd %.0f B", (lot.live-few.live)/float64(n-few.size),
		(lot.resident-few.resident)/float64(n-few.size), (redis2-redis)/float64(n), (etcd2-etcd)/float64(n))
	if each := (lot.live - few.live) / float64(n-few.size); n >= 10_000 && each > 1<<10 {
		t.Errorf("a flow takes %.0f bytes of the leader's heap, more than 1 KiB", each)
	}
	compare(t, "failover", few.failover, lot.failover)
	compare(t, "start", few.restart, lot.restart)
	for _, x := range []*sized{few, lot} {
		x.settled(t, 20*time.Second)
		if started, behind, skipped := x.slots(t, 100*time.Millisecond); started == 0 {
			t.Error("no slot was started: the run proves nothing")
		} else {
			t.Logf("%7d flows: %d slots of the busy flows started, %d of them later than 100 ms, %d skipped", x.size, started, behind, skipped)
		}
	}
}

// compare logs what took how long with few flows and with many.
func compare(t *testing.T, what string, few, lot map[string]times) {
	t.Helper()
	for _, s := range slices.Concat(steps, []string{isReady, offered, firstSlot, seenTo}) {
		if len(few[s]) > 0 && len(lot[s]) > 0 {
			t.Logf("%-9s %-34s few %v; many %v; %.2f of it", what, s, few[s], lot[s], lot[s].at(0.5).Seconds()/few[s].at(0.5).Seconds())
		}
	}
}

// fill registers the crowd.
func (x *sized) fill(t *testing.T) {
	t.Helper()
	began := time.Now()
	calls := min(x.size, 2000)
	x.crowd(t, 0, calls)
	took := time.Since(began)
	t.Logf("%d flows registered in %s, %.0f each second", calls, took.Round(time.Millisecond), float64(calls)/took.Seconds())
	if began = time.Now(); calls < x.size {
		x.seed(t, calls, x.size)
		wrote := time.Since(began)
		x.installed(t, x.size)
		took := time.Since(began)
		t.Logf("%d flows written into etcd in %s; the leader has installed them after %s, %.0f each second", x.size-calls, wrote.Round(time.Millisecond), took.Round(time.Millisecond), float64(x.size-calls)/took.Seconds())
	}
}

// stored is how many bytes the servers take.
func (x *sized) stored(t *testing.T) (redis, etcd float64) {
	t.Helper()
	used, _, err := x.ledger.Memory(x.ctx)
	if err != nil {
		t.Fatal(err)
	}
	return float64(used), etcdInUse(t)
}

// crowd registers flows whose slots are spread over a day.
func (c *cluster) crowd(t *testing.T, from, to int) {
	t.Helper()
	const at = 64 // once
	var bases []string
	for _, p := range c.coordinators {
		bases = append(bases, "http://"+flagOf(p, "--http-addr"))
	}
	api, err := client.New(strings.Join(bases, ","), client.Options{HTTPClient: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: at}}})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	var g errgroup.Group
	g.SetLimit(at)
	for i := from; i < to; i++ {
		g.Go(func() error {
			d := flow(fmt.Sprintf("crowd-%06d", i), 0).source("a").delay("b", 0).source("c").
				edge("a", "data", "b", "data").edge("b", "data", "c", "data")
			d.Schedule, d.Cron = "cron", fmt.Sprintf("%d %d * * *", i%60, i/60%24)
			_, err := api.Register(c.ctx, d.text(t), client.RegisterOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// seed writes flows into etcd as another cluster's restore would, after the model of
// one that was registered: the coordinators hear of them and the leader installs them.
func (c *cluster) seed(t *testing.T, from, to int) {
	t.Helper()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{system.Etcd}, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	const model = "crowd-000000"
	folder := c.prefix + "/flows/"
	got, err := etcd.Get(c.ctx, folder+model)
	if err != nil || len(got.Kvs) != 1 || got.Kvs[0].Value[0] != '{' {
		t.Fatalf("model of a flow: %v, %v", got, err)
	}
	text := string(got.Kvs[0].Value)
	uid := regexp.MustCompile(`"uid":"([^"]+)"`).FindStringSubmatch(text)[1]
	var g errgroup.Group
	g.SetLimit(4)
	for first := from; first < to; first += 100 {
		g.Go(func() error {
			var ops []clientv3.Op
			for i := first; i < min(first+100, to); i++ {
				id := fmt.Sprintf("crowd-%06d", i)
				value := strings.NewReplacer(model, id, uid, uuid.NewString(), `"cron":"0 0 `, fmt.Sprintf(`"cron":"%d %d `, i%60, i/60%24)).Replace(text)
				ops = append(ops, clientv3.OpPut(folder+id, value))
			}
			_, err := etcd.Txn(c.ctx).Then(ops...).Commit()
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// installed waits until the ledger has so many flows of the crowd.
func (c *cluster) installed(t *testing.T, n int) {
	t.Helper()
	c.until(t, 20*time.Minute, fmt.Sprintf("%d flows in the ledger", n), func() (bool, string) {
		names, err := c.ledger.FlowIDs(c.ctx)
		<-time.After(200 * time.Millisecond) // reading so many is work as well
		return len(names) >= n, fmt.Sprint(len(names), err)
	})
}

// knows waits until a coordinator knows every flow.
func (x *sized) knows(t *testing.T, p *process) {
	t.Helper()
	x.until(t, 5*time.Minute, "whole registry", func() (bool, string) {
		n := int(x.metric(t, p, "station_flows"))
		return n >= x.size+len(x.flows), fmt.Sprint(n)
	})
}

// weigh notes what the leader takes.
func (x *sized) weigh(t *testing.T) {
	t.Helper()
	leader, _ := x.leader(t)
	x.live, x.resident = x.metric(t, leader, "go_memstats_next_gc_bytes")/2, x.metric(t, leader, "process_resident_memory_bytes")
}

// killed kills the leader.
func (x *sized) killed(t *testing.T) {
	t.Helper()
	x.whole(t)
	leader, standby := x.leader(t)
	x.knows(t, standby)
	<-time.After(6*time.Second + time.Duration(rand.IntN(100))*time.Millisecond) // a standby has looked ahead by then
	skip := len(x.read())
	at := time.Now()
	leader.signal(t, syscall.SIGKILL)
	x.failover[offered] = append(x.failover[offered], x.firstOf(t, "dispatch", skip, at))
	x.failover[firstSlot] = append(x.failover[firstSlot], x.firstOf(t, "cycle_start", skip, at))
	x.failover[seenTo] = append(x.failover[seenTo], x.mirrored(t, standby, at))
	x.step(t, x.failover, standby, at)
	<-leader.Gone()
}

// alone starts the coordinator that was killed when there is no other.
func (x *sized) alone(t *testing.T) {
	t.Helper()
	first, last := x.coordinators[0], x.coordinators[1]
	if first.Running() {
		first, last = last, first
	}
	last.signal(t, syscall.SIGTERM) // leaves its key to nobody: the next one need not wait for a lease
	last.exit(t, 30*time.Second)
	skip, at := len(x.read()), time.Now()
	first.start(t)
	x.restart[isReady] = append(x.restart[isReady], x.ready(t, first, at))
	x.restart[offered] = append(x.restart[offered], x.firstOf(t, "dispatch", skip, at))
	x.restart[seenTo] = append(x.restart[seenTo], x.mirrored(t, first, at))
	x.step(t, x.restart, first, at)
	last.start(t)
	x.whole(t)
}

// step notes when a process took the steps of a failover.
func (x *sized) step(t *testing.T, into map[string]times, p *process, at time.Time) {
	t.Helper()
	for s, took := range stepsAfter(t, p, at) {
		into[s] = append(into[s], took)
	}
}

// firstOf is how long after an instant the first record of that kind of a new leader
// came.
func (c *cluster) firstOf(t *testing.T, op string, skip int, at time.Time) time.Duration {
	t.Helper()
	epoch := c.epochAt(at)
	d := c.entry(t, 5*time.Minute, skip, op+" of the next leader", func(r ledger.Record) bool { return r.Op == op && r.Epoch > epoch })
	return d.At.Sub(at)
}

// mirrored is how long after an instant a leader had seen to every flow.
func (c *cluster) mirrored(t *testing.T, p *process, at time.Time) (took time.Duration) {
	t.Helper()
	c.until(t, 10*time.Minute, "mirror of every flow", func() (bool, string) {
		var done bool
		took, done = told(t, p, at, []string{"every flow is mirrored"})["every flow is mirrored"]
		return done, "no word of it in the log of " + p.Name
	})
	return took.Round(time.Millisecond)
}

// flagOf is the value of a process's flag.
func flagOf(p *process, name string) string { return p.Args[slices.Index(p.Args, name)+1] }

// ready is how long after an instant a coordinator said that it is ready.
func (c *cluster) ready(t *testing.T, p *process, at time.Time) time.Duration {
	t.Helper()
	url := "http://" + flagOf(p, "--http-addr") + "/readyz"
	c.until(t, 5*time.Minute, "ready coordinator", func() (bool, string) {
		ok, err := answers(c.ctx, url)
		return ok, fmt.Sprint(err)
	})
	return time.Since(at).Round(time.Millisecond)
}

func answers(ctx context.Context, url string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	return resp.StatusCode == http.StatusOK, resp.Body.Close()
}

// etcdInUse is how many bytes etcd's keys take.
func etcdInUse(t *testing.T) float64 {
	t.Helper()
	base := system.Etcd
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	resp, err := http.Get(base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "etcd_mvcc_db_total_size_in_use_in_bytes "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatal("etcd does not tell its size")
	return 0
}
