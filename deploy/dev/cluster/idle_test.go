package cluster

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/tally"
)

// What an idle cluster may cost.
const (
	idleTime  = 10 * time.Second
	idleCalls = 1.0  // of one loop, a second
	idleCPU   = 0.01 // of a core, by one process
)

// idleLoops is how many loops of one process there are, or of one connection, that
// ask for the same: they can't be told apart. One when it is not here.
var idleLoops = map[string]float64{
	"redis read_clock":    6, // the clock, slots, timers, leases, workers, the audit
	"etcd Range":          5, // election and catalog of two coordinators, and what they look at now and then
	"etcd LeaseKeepAlive": 2,
}

// TestIdleCluster looks for 10 s at a cluster with the default settings that has
// flows and nothing to do: no process asks a server for one thing more often than
// once a second, and none uses more than a hundredth of a core.
func TestIdleCluster(t *testing.T) {
	defaults := []string{"--lease", "10s"}
	k := counted(t, setup{workers: defaults, coordinator: append([]string{"--leader-ttl", "5s"}, defaults...)})
	k.c.register(t, idleChain("later", 10), idleFan("much-later", 10))
	k.c.over(t, "later", k.c.run(t, "later"))
	k.c.idle(t, 20*time.Second)
	k.settle(t, 3*time.Second) // what follows the end of a cycle has followed it

	all := slices.Concat(k.c.coordinators, k.c.workers)
	etcd, frames, used := etcdCalls(t), k.frames.Count(), map[string]time.Duration{}
	for _, p := range all {
		used[p.Name] = cpuTime(t, p.Pid())
	}
	if _, err := k.redis.Since(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	k.settle(t, idleTime)
	asked, err := k.redis.Since()
	if err != nil {
		t.Fatal(err)
	}
	seconds := time.Since(began).Seconds()

	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	tell := func(who, what, key string, n, most float64) {
		most *= max(idleLoops[what], 1)
		what += " " + strings.TrimPrefix(key, k.c.prefix+":")
		mark := ""
		if n > most {
			mark = "too much"
			t.Errorf("%s: %s: %.2f a second; at most %.2g are allowed in an idle cluster", who, what, n, most)
		}
		fmt.Fprintf(w, "%s\t%s\t%.2f\t%s\n", who, what, n, mark)
	}
	// One more than the time allows may fall into it.
	rate := func(n int) float64 { return max(float64(n-1), 0) / seconds }
	for _, p := range all {
		for _, call := range slices.SortedFunc(maps.Keys(asked.Calls), byName) {
			if call.Client == p.Name {
				tell(p.Name, "redis "+call.Name, call.Key, rate(asked.Calls[call]), idleCalls)
			}
		}
		tell(p.Name, "of a core", "", (cpuTime(t, p.Pid())-used[p.Name]).Seconds()/seconds, idleCPU)
	}
	for call := range asked.Calls {
		if !slices.ContainsFunc(all, func(p *process) bool { return p.Name == call.Client }) && call.Client != "cluster-test" && call.Client != "tally" {
			tell("a nameless connection", "redis "+call.Name, call.Key, rate(asked.Calls[call]), idleCalls)
		}
	}
	for f, n := range k.frames.Count() {
		if n -= frames[f]; n > 0 {
			tell(fmt.Sprintf("amqp connection %d", f.Conn), f.Kind, "", rate(n), idleCalls)
		}
	}
	now := etcdCalls(t)
	for _, call := range slices.Sorted(maps.Keys(now)) {
		if n := now[call] - etcd[call]; n > 0 {
			tell("both coordinators", "etcd "+call, "", rate(n), idleCalls)
		}
	}
	_ = w.Flush()
	t.Logf("%.1f s of an idle cluster: who, what, a second\n%s", seconds, out.String())
}

func byName(a, b tally.Call) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Key, b.Key))
}

// settle lets time pass.
func (k *counter) settle(t *testing.T, d time.Duration) {
	t.Helper()
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case <-over.C:
	case <-k.c.ctx.Done():
		t.Fatal(k.c.ctx.Err())
	}
}

// cpuTime is the processor time that a process has used, in steps of 10 ms.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		t.Fatalf("stat of %d: %q", pid, text)
	}
	ticks := 0
	for _, f := range fields[11:13] { // user and system
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// etcdCalls is how many calls and messages etcd has had, by method.
func etcdCalls(t *testing.T) map[string]int {
	t.Helper()
	endpoint := system.Etcd
	if !strings.HasPrefix(endpoint, "http") {
		endpoint = "http://" + endpoint
	}
	resp, err := http.Get(endpoint + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "grpc_server_msg_received_total{") {
			continue
		}
		_, method, _ := strings.Cut(line, `grpc_method="`)
		method, _, _ = strings.Cut(method, `"`)
		n, err := strconv.ParseFloat(line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:len(line)-1], 64)
		if err != nil {
			t.Fatalf("etcd's metrics: %q: %v", line, err)
		}
		out[method] += int(n)
	}
	if len(out) == 0 {
		t.Fatal("etcd's metrics tell of no calls")
	}
	return out
}
