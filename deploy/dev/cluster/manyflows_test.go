package cluster

import (
	"bufio"
	"context"
	"fmt"
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

// cost is what a number of registered flows costs.
type cost struct {
	flows            int
	live, resident   float64 // of the leader, bytes
	redis, etcd      float64
	ready, leads     time.Duration // from the start of the only coordinator until it answers, leads,
	offers, mirrored time.Duration // has offered a node of a slot, and knows that the ledger has every flow
	after, afterSlot time.Duration // from the death of the leader until the other one has offered a node, has started
	afterWhole       time.Duration // a cycle of a slot, and has seen to every flow
}

// TestManyFlows registers a hundred flows and then many, most of them idle, and
// compares what the leader needs in memory, a start of the only coordinator, and a
// failover.
func TestManyFlows(t *testing.T) {
	c := start(t, setup{faults: true, coordinator: []string{"--log-level", "debug"}})
	c.eager(t)
	n, had := many(t), 0
	var costs []cost
	for _, want := range []int{100, n} {
		began := time.Now()
		calls := min(want, had+2000)
		c.crowd(t, had, calls)
		took := time.Since(began)
		t.Logf("%d flows registered in %s, %.0f each second", calls-had, took.Round(time.Millisecond), float64(calls-had)/took.Seconds())
		if began = time.Now(); calls < want {
			c.seed(t, calls, want)
			wrote := time.Since(began)
			c.installed(t, want)
			took := time.Since(began)
			t.Logf("%d flows written into etcd in %s; the leader has installed them after %s, %.0f each second", want-calls, wrote.Round(time.Millisecond), took.Round(time.Millisecond), float64(want-calls)/took.Seconds())
		}
		had = want
		costs = append(costs, c.cost(t, want))
	}
	for _, x := range costs {
		t.Logf("%7d flows: leader %.1f MB live, %.1f MB resident; redis %.1f MB; etcd %.1f MB; start: ready %s, leads %s, offers %s, all mirrored %s; failover: offers %s, starts a slot %s, all mirrored %s",
			x.flows, x.live/1e6, x.resident/1e6, x.redis/1e6, x.etcd/1e6, x.ready, x.leads, x.offers, x.mirrored, x.after, x.afterSlot, x.afterWhole)
	}
	few, lot := costs[0], costs[1]
	each := func(a, b float64) float64 { return (b - a) / float64(lot.flows-few.flows) }
	t.Logf("each flow: leader %.0f B live, %.0f B resident; redis %.0f B; etcd %.0f B",
		each(few.live, lot.live), each(few.resident, lot.resident), each(few.redis, lot.redis), each(few.etcd, lot.etcd))
	c.settled(t, 20*time.Second)
	if started, behind, skipped := c.slots(t, 100*time.Millisecond); started == 0 {
		t.Error("no slot was started: the run proves nothing")
	} else {
		t.Logf("%d slots of the busy flows started, %d of them later than 100 ms, %d skipped", started, behind, skipped)
	}
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

// cost measures a cluster that has so many flows.
func (c *cluster) cost(t *testing.T, flows int) cost {
	t.Helper()
	x := cost{flows: flows}
	c.whole(t)
	leader, _ := c.leader(t)
	c.mirrored(t, leader, time.Now().Add(-time.Hour))
	<-time.After(3 * time.Second) // a collection or two
	x.live, x.resident = c.metric(t, leader, "go_memstats_next_gc_bytes")/2, c.metric(t, leader, "process_resident_memory_bytes")
	x.etcd = etcdInUse(t)
	used, _, err := c.ledger.Memory(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	x.redis = float64(used)

	leader, standby := c.leader(t)
	skip := len(c.read())
	at := time.Now()
	leader.signal(t, syscall.SIGKILL)
	x.after, x.afterSlot = c.firstOf(t, "dispatch", skip, at), c.firstOf(t, "cycle_start", skip, at)
	x.afterWhole = c.mirrored(t, standby, at)
	<-leader.Gone()
	standby.signal(t, syscall.SIGTERM) // leaves its key to nobody: the next one need not wait for a lease
	standby.exit(t, 30*time.Second)

	skip, at = len(c.read()), time.Now()
	leader.start(t)
	x.ready = c.ready(t, leader, at)
	x.offers = c.firstOf(t, "dispatch", skip, at)
	x.leads = stepsAfter(t, leader, at)["leading"]
	x.mirrored = c.mirrored(t, leader, at)
	standby.start(t)
	c.whole(t)
	return x
}

// firstOf is how long after an instant the first record of that kind of a new leader
// came.
func (c *cluster) firstOf(t *testing.T, op string, skip int, at time.Time) time.Duration {
	t.Helper()
	epoch := c.epochAt(at)
	d := c.entry(t, 5*time.Minute, skip, op+" of the next leader", func(r ledger.Record) bool { return r.Op == op && r.Epoch > epoch })
	return d.At.Sub(at).Round(time.Millisecond)
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
