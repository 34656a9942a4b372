package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/tally"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// counter counts what one cluster asks of its servers.
type counter struct {
	c      *cluster
	redis  *tally.Monitor
	frames *tally.Frames
}

// counted starts a cluster whose calls and frames are counted.
func counted(t *testing.T, s setup) *counter {
	t.Helper()
	if system == nil {
		start(t, s) // tells why it is skipped
	}
	frames, err := tally.RelayFrames(system.Rabbit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the cluster's end
		if err := frames.Close(); err != nil {
			t.Error(err)
		}
	})
	verbs, err := ledger.Verbs()
	if err != nil {
		t.Fatal(err)
	}
	s.rabbit = frames.URL
	c := start(t, s)
	m, err := tally.WatchRedis(c.redis, verbs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return &counter{c: c, redis: m, frames: frames}
}

// counts are numbers by what they count.
type counts map[string]int

func (a counts) minus(b counts) counts {
	out := counts{}
	for _, k := range slices.Concat(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b))) {
		if n := a[k] - b[k]; n != 0 {
			out[k] = n
		}
	}
	return out
}

// now reads the counters that only grow: frames, and what the servers' own
// statistics say.
func (k *counter) now(t *testing.T) counts {
	t.Helper()
	out := counts{}
	for f, n := range k.frames.Count() {
		switch {
		case f.Kind == "heartbeat":
		case f.ToBroker:
			out["frame to broker: "+f.Kind] += n
		default:
			out["frame from broker: "+f.Kind] += n
		}
	}
	text, err := system.Ctl("redis-cli", "INFO", "stats", "commandstats")
	if err != nil {
		t.Fatal(err)
	}
	for field, name := range map[string]string{"total_reads_processed:": "redis: reads from sockets", "cmdstat_evalsha:calls=": "redis: calls of evalsha"} {
		out[name] = number(text, field)
	}
	if text, err = system.Ctl("rabbitmqctl", "eval", "rabbit_global_counters:overview()."); err != nil {
		t.Fatal(err)
	}
	for field, name := range map[string]string{"messages_received_total =>": "broker: messages received", "messages_delivered_total =>": "broker: messages delivered",
		"messages_acknowledged_total =>": "broker: messages acknowledged", "messages_redelivered_total =>": "broker: messages redelivered"} {
		out[name] = number(text, field)
	}
	return out
}

// number is the sum of the numbers behind a name.
func number(text, name string) (sum int) {
	for _, part := range strings.Split(text, name)[1:] {
		part = strings.TrimSpace(part)
		end := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		n, _ := strconv.Atoi(part[:max(end, 0)])
		sum += n
	}
	return sum
}

// run counts one cycle of a flow, to the last ack.
func (k *counter) run(t *testing.T, flow string) counts {
	t.Helper()
	before := k.now(t)
	if _, err := k.redis.Since(); err != nil {
		t.Fatal(err)
	}
	k.quiet(t, flow, k.c.run(t, flow))
	asked, err := k.redis.Since()
	if err != nil {
		t.Fatal(err)
	}
	out := k.now(t).minus(before)
	for call, n := range asked.Calls {
		if call.Client != "cluster-test" && call.Client != "tally" {
			out["call of "+call.Name] += n
		}
	}
	for in, n := range asked.Inner {
		out["inside "+in.Verb] += n
		out["inside "+in.Verb+": "+in.Command] += n
	}
	return out
}

// quiet waits until no frame passes any more and the cycle has ended. It asks
// Redis little, since that is counted.
func (k *counter) quiet(t *testing.T, flow string, cycle int64) {
	t.Helper()
	last, still := 0, 0
	k.c.until(t, 60*time.Second, "quiet after the cycle", func() (bool, string) {
		n := 0
		for f, m := range k.frames.Count() {
			if f.Kind != "heartbeat" {
				n += m
			}
		}
		if still++; n != last {
			last, still = n, 0
		}
		if still < 15 {
			return false, fmt.Sprintf("%d frames", n)
		}
		still = 0
		s, err := k.c.ledger.Cycle(k.c.ctx, ids.FlowID(flow), cycle)
		left, err2 := k.c.ledger.Outbox(k.c.ctx, "", 10)
		return err == nil && err2 == nil && !s.CompletedAt.IsZero() && len(left) == 0, fmt.Sprint(s.Status, left, err, err2)
	})
}

// TestCountsOfAHop counts what a node costs: the difference between a flow of 120
// nodes and one of 20, by 100. "scripts/hop counts" shows the whole of it. What is
// not in the table below must not grow with the number of nodes.
func TestCountsOfAHop(t *testing.T) {
	t.Run("by the queue", func(t *testing.T) {
		k := counted(t, setup{single: true, workers: []string{"--no-direct"}})
		k.costs(t, "chain", idleChain, func(c cost) bounds { return c.chain })
		k.costs(t, "fan", idleFan, func(c cost) bounds { return c.fan })
	})
	t.Run("direct", func(t *testing.T) {
		k := counted(t, setup{single: true})
		k.costs(t, "chain", idleChain, func(c cost) bounds { return c.direct })
	})
}

// costs compares what a node of a shape costs with the table.
func (k *counter) costs(t *testing.T, shape string, make func(id string, n int) *doc, column func(cost) bounds) {
	t.Helper()
	const short, more = 20, 100
	a, b := shape+"-short", shape+"-long"
	k.c.register(t, make(a, short), make(b, short+more))
	k.c.over(t, a, k.c.run(t, a))
	small := k.run(t, a)
	grown := k.run(t, b).minus(small)
	per := map[string]float64{}
	for what, n := range grown {
		per[what] = float64(n) / more
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	known := map[string]bool{}
	for _, e := range costs {
		known[e.what] = true
		want := column(e)
		fmt.Fprintf(w, "%s\t%.2f\t%s\t%s\n", e.what, per[e.what], want, e.why)
		if !want.holds(per[e.what]) {
			t.Errorf("%s: %s: %.2f per node, want %s: %s", shape, e.what, per[e.what], want, e.why)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(per)) {
		detail := strings.HasPrefix(what, "inside ")
		if known[what] || per[what] == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\t%.2f\t\t\n", what, per[what])
		if !detail && what != looks && per[what] > byTime {
			t.Errorf("%s: %s: %.2f per node: the hop makes a call that is not in the table", shape, what, per[what])
		}
	}
	_ = w.Flush()
	t.Logf("%s: per node, expected, what it is\n%s", shape, out.String())
}

// byTime is how much of what goes on by time may fall on a node, since the longer
// flow takes longer.
const byTime = 0.5

// looks is what the audit asks for each node of an open cycle, now and then: many at
// once, so an added one shows as a round trip.
const looks = "call of HGETALL"

// bounds are the least and the most of something per node.
type bounds struct{ least, most float64 }

func exactly(n float64) bounds           { return bounds{n, n} }
func between(least, most float64) bounds { return bounds{least, most} }
func upTo(most float64) bounds           { return bounds{-1, most} } // less in the longer flow is chance

// holds passes over what belongs to the ends of a flow and not to its nodes.
func (b bounds) holds(n float64) bool { return n > b.least-0.03 && n < b.most+0.03 }

func (b bounds) String() string {
	switch {
	case b.least == b.most:
		return fmt.Sprintf("%g", b.most)
	case b.least < 0:
		return fmt.Sprintf("at most %g", b.most)
	}
	return fmt.Sprintf("%g to %g", b.least, b.most)
}

// cost is what something costs for each node of a chain and of a fan that go by the queue,
// and of a chain whose hops are direct.
type cost struct {
	what               string
	chain, fan, direct bounds
	why                string
}

// costs is what a hop costs. A change of the hop changes this table, and nothing else may.
var costs = []cost{
	{"call of claim", exactly(1), upTo(1), exactly(0), "a worker asks for the node"},
	{"call of claim_several", exactly(0), upTo(0.5), exactly(0), "it asks for several at the same time"},
	{"call of complete", exactly(1), upTo(1), exactly(1), "it reports the node's result"},
	{"call of complete_several", exactly(0), upTo(0.5), exactly(0), "it reports several at the same time"},
	{"call of dispatched", between(0.02, 1), upTo(1), exactly(0), "the leader removes outbox entries, all that were confirmed in the last 10 ms"},
	{"call of XREAD", between(0.8, 1.1), upTo(1), upTo(0.2), "the leader waits for the outbox, and gets all that is in it"},
	{"redis: calls of evalsha", between(2, 3.9), between(0.1, 3.9), between(0.8, 2), "the three scripts, as Redis counts them, and a few by time"},
	{"redis: reads from sockets", between(2.8, 4.9), between(0.1, 4.9), between(0.7, 3), "round trips: of the four calls, and a few by time"},
	{"inside claim", exactly(11), upTo(11), exactly(0), "commands that the script makes"},
	{"inside claim_several", exactly(0), upTo(8), exactly(0), "the same; 9, and 2 for each node"},
	{"inside complete", exactly(15), upTo(16), exactly(17), "the same; the node has one successor"},
	{"inside complete_several", exactly(0), upTo(11), exactly(0), "the same; 11, and 2 for each node, where they lead to the same node"},
	{"inside dispatched", between(1, 9), between(1, 9), exactly(0), "the same; one that marks several asks some things once, and a node that is claimed already needs no HSET"},
	{"frame to broker: basic.publish", exactly(1), between(0.05, 1), exactly(0), "an offer; under backlog several nodes may share one"},
	{"frame to broker: header", exactly(1), between(0.05, 1), exactly(0), "of the same"},
	{"frame to broker: body", exactly(1), between(0.05, 1), exactly(0), "of the same"},
	{"frame from broker: basic.ack", between(0.8, 1), upTo(1), exactly(0), "a confirm; the broker may confirm several at once"},
	{"frame from broker: basic.deliver", exactly(1), between(0.05, 1), exactly(0), "the offer reaches a worker"},
	{"frame from broker: header", exactly(1), between(0.05, 1), exactly(0), "of the same"},
	{"frame from broker: body", exactly(1), between(0.05, 1), exactly(0), "of the same"},
	{"frame to broker: basic.ack", between(0.8, 1), upTo(1), exactly(0), "the worker's ack; it may ack several at once"},
	{"broker: messages received", exactly(1), between(0.05, 1), exactly(0), "as the broker counts them"},
	{"broker: messages delivered", exactly(1), between(0.05, 1), exactly(0), "as the broker counts them"},
	{"broker: messages acknowledged", exactly(1), between(0.05, 1), exactly(0), "as the broker counts them"},
}

// idleFan is one node, n-2 behind it that do nothing, and one that joins them.
func idleFan(id string, n int) *doc {
	d := flow(id, 0).source(place(0))
	for i := 1; i < n-1; i++ {
		d.add(vertex{ID: place(i), Type: "log", Parameters: map[string]any{"level": "debug"}}).edge(place(0), "data", place(i), "data")
	}
	d.add(vertex{ID: place(n - 1), Type: "log", Parameters: map[string]any{"level": "debug"}})
	for i := 1; i < n-1; i++ {
		d.edge(place(i), "data", place(n-1), "data")
	}
	return d
}
