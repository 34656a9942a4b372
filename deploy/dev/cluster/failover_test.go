package cluster

import (
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// kills is how often the tests that take figures repeat their fault: a few times
// as a test, STATION_TEST_KILLS times to measure.
func kills(t *testing.T, few int) int {
	t.Helper()
	text := os.Getenv("STATION_TEST_KILLS")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("STATION_TEST_KILLS is %q; it must be a number", text)
	}
	return n
}

// times are measured durations.
type times []time.Duration

func (d times) at(share float64) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[max(int(math.Ceil(share*float64(len(s))))-1, 0)] // so many of a hundred are not above it
}

func (d times) String() string {
	if len(d) == 0 {
		return "none"
	}
	r := func(x time.Duration) time.Duration { return x.Round(100 * time.Microsecond) }
	return fmt.Sprintf("n=%d p50=%s p99=%s max=%s", len(d), r(d.at(0.5)), r(d.at(0.99)), r(d.at(1)))
}

// eager registers flows that leave no tenth of a second without work, for a leader if hops go by the queue.
func (c *cluster) eager(t *testing.T) {
	t.Helper()
	for i := range 5 {
		id := fmt.Sprintf("eager%d", i)
		c.register(t, flow(id, 100*time.Millisecond).source("a").delay("b", 20*time.Millisecond).source("c").
			edge("a", "data", "b", "data").edge("b", "data", "c", "data"))
		<-time.After(17 * time.Millisecond) // anchors, and so slots, of different phases
	}
	c.progress(t, 20*time.Second, 5)
}

var stepLine = regexp.MustCompile(`^(\S+) \[\w+\]\s+\S+: (.*)$`)

// steps are what a log tells of a failover, in order, and when the process says each happened.
var steps = []string{"connection to a candidate broke", "candidate is proven gone", "elected leader", "leading", "slots begin", "first offer published", "first offer confirmed"}

// stepsAfter finds when a process took each step after an instant; one that it did
// not take is missing.
func stepsAfter(t *testing.T, p *process, at time.Time) map[string]time.Duration {
	t.Helper()
	return told(t, p, at, steps)
}

// handedOver finds the steps of a hand-over in the logs of both.
func handedOver(t *testing.T, from, to *process, at time.Time) map[string]time.Duration {
	t.Helper()
	out := told(t, from, at, []string{"leadership ends", "successor named", "leadership ended"})
	maps.Copy(out, told(t, to, at, steps))
	return out
}

func told(t *testing.T, p *process, at time.Time, steps []string) map[string]time.Duration {
	t.Helper()
	text, err := os.ReadFile(p.Log)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]time.Duration{}
	for line := range strings.Lines(string(text)) {
		m := stepLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		when, err := time.Parse(time.RFC3339Nano, m[1])
		if err != nil || when.Before(at) {
			continue
		}
		for _, s := range steps {
			if _, known := out[s]; !known && (m[2] == s || strings.HasPrefix(m[2], s+":")) {
				out[s] = when.Sub(at)
			}
		}
	}
	return out
}

// fault ends a leadership in some way and says when.
type fault func(t *testing.T, leader *process) time.Time

// failovers repeats a fault of the leader and measures until the next leader's
// first offer. Work always waits.
func (c *cluster) failovers(t *testing.T, n int, of fault) (total times) {
	t.Helper()
	split := map[string]times{}
	for range n {
		leader, standby := c.leader(t)
		c.whole(t)
		<-time.After(400*time.Millisecond + time.Duration(rand.IntN(100))*time.Millisecond)
		skip := len(c.read())
		at := of(t, leader)
		d := c.entry(t, 20*time.Second, skip, "offer of the next leader", func(r ledger.Record) bool {
			return r.Op == "dispatch" && r.Epoch > c.epochAt(at)
		})
		total = append(total, d.At.Sub(at))
		if d.At.Sub(at) > 100*time.Millisecond {
			t.Logf("%s: %v", d.At.Sub(at), stepsAfter(t, standby, at))
		}
		for s, x := range stepsAfter(t, standby, at) {
			split[s] = append(split[s], x)
		}
		<-leader.Gone()
		leader.start(t)
	}
	for _, s := range steps {
		t.Logf("%-32s %v", s, split[s])
	}
	t.Logf("%-32s %v", "first offer in the journal", total)
	return total
}

// epochAt is the epoch that led at an instant, by the journal.
func (c *cluster) epochAt(at time.Time) (e ids.Epoch) {
	for _, r := range c.read() {
		if r.Op == "takeover" && r.At.Before(at) {
			e = max(e, r.Epoch)
		}
	}
	return e
}

// slots requires that every slot of every flow is accounted exactly once, and
// returns how many were started late and how many skipped.
func (c *cluster) slots(t *testing.T, late time.Duration) (started, behind, skipped int) {
	t.Helper()
	for id, f := range c.flows {
		seen := map[int64]int{}
		var all []int64
		for _, r := range c.read() {
			if r.Flow != id {
				continue
			}
			switch r.Op {
			case "cycle_start":
				text, _, _ := strings.Cut(r.Detail, " ")
				ms, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					continue // by hand
				}
				seen[ms]++
				all = append(all, ms)
				started++
				if r.At.Sub(time.UnixMilli(ms)) > late {
					behind++
				}
			case "slot_skipped":
				var from, to, n int64
				var reason string
				if _, err := fmt.Sscan(r.Detail, &from, &to, &n, &reason); err != nil {
					t.Errorf("skipped slots tell %q", r.Detail)
					continue
				}
				skipped += int(n)
				for ms := from; ms <= to; ms += f.Interval.Milliseconds() {
					seen[ms]++
					all = append(all, ms)
				}
			}
		}
		slices.Sort(all)
		if len(all) == 0 {
			continue
		}
		for ms := all[0]; ms <= all[len(all)-1]; ms += f.Interval.Milliseconds() {
			if seen[ms] != 1 {
				t.Errorf("slot %d of %s is accounted %d times", ms, id, seen[ms])
			}
		}
	}
	return started, behind, skipped
}

// TestFailoverIsQuick kills leaders, again and again, while work waits.
func TestFailoverIsQuick(t *testing.T) {
	c := start(t, setup{faults: true, workers: []string{"--no-direct"}, coordinator: []string{"--log-level", "debug"}})
	c.eager(t)
	total := c.failovers(t, kills(t, 3), func(t *testing.T, leader *process) time.Time {
		at := time.Now()
		leader.signal(t, syscall.SIGKILL)
		return at
	})
	if limit := leaderTTL; total.at(0.5) > limit/2 {
		t.Errorf("half of the failovers took longer than %s: the lease ran out, nobody looked at the socket", limit/2)
	}
	c.settled(t, 20*time.Second)
	started, behind, skipped := c.slots(t, 100*time.Millisecond)
	t.Logf("%d slots started, %d of them later than 100 ms, %d skipped", started, behind, skipped)
	c.judge(t, histcheck.Evidence{})
	c.keep(t)
}

// TestHandOverIsQuick asks leaders to hand over while work waits.
func TestHandOverIsQuick(t *testing.T) {
	c := start(t, setup{faults: true, workers: []string{"--no-direct"}, coordinator: []string{"--log-level", "debug"}})
	c.eager(t)
	var gaps times
	split := map[string]times{}
	late := 0
	for range kills(t, 3) {
		leader, standby := c.leader(t)
		c.whole(t)
		<-time.After(400*time.Millisecond + time.Duration(rand.IntN(100))*time.Millisecond)
		skip, epoch := len(c.read()), c.epochAt(time.Now())
		at := time.Now()
		if _, err := c.api.TransferLeader(c.ctx, false); err != nil {
			t.Fatal(err)
		}
		first := c.entry(t, 20*time.Second, skip, "offer of the next leader", func(r ledger.Record) bool { return r.Op == "dispatch" && r.Epoch > epoch })
		var last ledger.Record
		for i, r := range c.read() {
			if r.Op == "dispatch" && r.Epoch == epoch {
				last = r
			}
			if i < skip {
				continue
			}
			if text, _, _ := strings.Cut(r.Detail, " "); r.Op == "cycle_start" {
				if ms, err := strconv.ParseInt(text, 10, 64); err == nil && r.At.Sub(time.UnixMilli(ms)) > 100*time.Millisecond {
					late++
				}
			}
		}
		gaps = append(gaps, first.At.Sub(last.At))
		if first.At.Sub(last.At) > 50*time.Millisecond {
			t.Logf("gap of %s, last offer at %s: %v", first.At.Sub(last.At), last.At.Sub(at), handedOver(t, leader, standby, at))
		}
		for s, x := range handedOver(t, leader, standby, at) {
			split[s] = append(split[s], x)
		}
		split["last offer of the old leader"] = append(split["last offer of the old leader"], last.At.Sub(at))
		split["first offer of the new"] = append(split["first offer of the new"], first.At.Sub(at))
	}
	for _, s := range slices.Concat([]string{"leadership ends", "successor named", "leadership ended", "last offer of the old leader"}, steps, []string{"first offer of the new"}) {
		t.Logf("%-32s %v", s, split[s])
	}
	t.Logf("between the last offer of the old leader and the first of the new: %v; %d late ticks", gaps, late)
	c.settled(t, 20*time.Second)
	started, behind, skipped := c.slots(t, 100*time.Millisecond)
	t.Logf("%d slots started, %d of them later than 100 ms, %d skipped", started, behind, skipped)
	c.judge(t, histcheck.Evidence{})
	c.keep(t)
}

// keep leaves the logs where STATION_TEST_KEEP says.
func (c *cluster) keep(t *testing.T) {
	to := os.Getenv("STATION_TEST_KEEP")
	if to == "" {
		return
	}
	for _, p := range slices.Concat(c.coordinators, c.workers) {
		text, err := os.ReadFile(p.Log)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(p.Log)), text, 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// TestAPausedLeaderWritesNothing stops leaders for longer than their lease, wakes them
// under load, and demands that nothing of theirs comes after the next leadership began.
// To a standby a stopped process is like a silent host: its connections stand.
func TestAPausedLeaderWritesNothing(t *testing.T) {
	for _, ttl := range []time.Duration{time.Second, leaderTTL, 5 * time.Second} {
		t.Run(ttl.String(), func(t *testing.T) { pausedLeaders(t, ttl) })
	}
}

func pausedLeaders(t *testing.T, ttl time.Duration) {
	c := start(t, setup{faults: true, workers: []string{"--no-direct"}, coordinator: []string{"--leader-ttl", ttl.String()}})
	c.eager(t)
	var took times
	refused, written := 0, 0.0
	for range kills(t, 1) {
		leader, _ := c.leader(t)
		c.whole(t)
		<-time.After(time.Duration(rand.IntN(1000)) * time.Millisecond) // somewhere between two renewals
		skip, at := len(c.read()), time.Now()
		before := c.metric(t, leader, "station_fenced_writes_total") + c.metric(t, leader, "station_publishes_held_back_total")
		epoch := c.epochAt(at)
		leader.signal(t, syscall.SIGSTOP)
		takeover := c.entry(t, 20*time.Second, skip, "takeover", func(r ledger.Record) bool { return r.Op == "takeover" && r.Epoch > epoch })
		took = append(took, takeover.At.Sub(at))
		<-time.After(time.Duration(rand.IntN(1500)) * time.Millisecond)
		leader.signal(t, syscall.SIGCONT)
		c.progress(t, 20*time.Second, 4)
		c.whole(t)
		after := false
		for _, r := range c.read()[skip:] {
			after = after || r.ID == takeover.ID
			switch {
			case after && r.Epoch == epoch && r.Op == "fenced":
				refused++
			case after && r.Epoch == epoch:
				t.Errorf("%s of epoch %d comes after the takeover by %d", r.Op, epoch, takeover.Epoch)
			}
		}
		written += c.metric(t, leader, "station_fenced_writes_total") + c.metric(t, leader, "station_publishes_held_back_total") - before
	}
	t.Logf("leader stopped, until the next takeover, lease %s: %v; %d refusals in the journal, %v writes and publishes counted as refused by the woken leaders", ttl, took, refused, written)
	// A woken leader that hears of its lease's end first tries nothing. What it tries is
	// counted and told; publishes that are held back stand behind one refusal together.
	if float64(refused) > written {
		t.Errorf("%d refusals are in the journal, and %v are counted", refused, written)
	}
	if limit := ttl + 2*time.Second; took.at(1) > limit {
		t.Errorf("a standby led only after %s", took.at(1))
	}
	c.settled(t, 20*time.Second)
	c.slots(t, 100*time.Millisecond)
	c.judge(t, histcheck.Evidence{})
}

// metric sums a coordinator's samples of one name.
func (c *cluster) metric(t *testing.T, p *process, name string) (sum float64) {
	t.Helper()
	i := slices.Index(p.Args, "--http-addr")
	resp, err := http.Get("http://" + p.Args[i+1] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 && (f[0] == name || strings.HasPrefix(f[0], name+"{")) {
			v, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}
