package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/tradingflow/weather-station/shared/hop"
	"github.com/tradingflow/weather-station/shared/ids"
)

// TestTraceOfAHop prints what each step of a hop costs: medians over the hops of
// several runs of a chain of 100 nodes that do nothing. "scripts/hop trace" runs it.
func TestTraceOfAHop(t *testing.T) {
	t.Run("by the queue", func(t *testing.T) {
		trace(t, setup{single: true, profiles: true, workers: []string{"--no-direct"}}, way, beside)
	})
	t.Run("direct", func(t *testing.T) { trace(t, setup{single: true, profiles: true}, directly, nil) })
}

func trace(t *testing.T, s setup, way, beside []part) {
	const length, rounds = 100, 5
	c := start(t, s)
	c.register(t, idleChain("hops", length))
	c.over(t, "hops", c.run(t, "hops")) // what is slow once only is over
	c.record(t, http.MethodPost)
	ran := map[int64]bool{}
	for range rounds {
		n := c.run(t, "hops")
		ran[n] = true
		c.over(t, "hops", n)
	}
	c.until(t, 10*time.Second, "last marks", func() (bool, string) {
		left, err := c.ledger.Outbox(c.ctx, "", 10)
		return err == nil && len(left) == 0, fmt.Sprint(len(left), err)
	})
	// What the cycle before was late with may be among them.
	marks := slices.DeleteFunc(c.record(t, http.MethodDelete), func(m hop.Mark) bool { return !ran[m.Cycle] })
	table, err := hops(marks, length, way, beside)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d chains of %d nodes, one worker\n%s", rounds, length, table)
}

// idleChain is a chain of nodes that do nothing.
func idleChain(id string, length int) *doc {
	d := flow(id, 0).source(place(0))
	for i := 1; i < length; i++ {
		d.add(vertex{ID: place(i), Type: "log", Parameters: map[string]any{"level": "debug"}}).edge(place(i-1), "data", place(i), "data")
	}
	return d
}

func place(i int) string { return fmt.Sprintf("n%d", i) }

// over waits for the end of a cycle.
func (c *cluster) over(t *testing.T, flow string, n int64) {
	t.Helper()
	c.until(t, 60*time.Second, fmt.Sprintf("end of cycle %d of %s", n, flow), func() (bool, string) {
		s, err := c.ledger.Cycle(c.ctx, ids.FlowID(flow), n)
		if err != nil {
			return false, err.Error()
		}
		return !s.CompletedAt.IsZero(), s.Status
	})
}

// record begins a recording in every process, or ends it and returns its marks.
func (c *cluster) record(t *testing.T, method string) []hop.Mark {
	t.Helper()
	var mu sync.Mutex
	var marks []hop.Mark
	var faults []error
	var all sync.WaitGroup
	for _, a := range c.profiles {
		all.Go(func() {
			r, err := recording(method, a)
			mu.Lock()
			defer mu.Unlock()
			if r.Lost > 0 {
				err = errors.Join(err, fmt.Errorf("%d marks are lost", r.Lost))
			}
			marks, faults = append(marks, r.Marks...), append(faults, err)
		})
	}
	all.Wait()
	if err := errors.Join(faults...); err != nil {
		t.Fatal(err)
	}
	return marks
}

func recording(method, address string) (r hop.Recording, err error) {
	q, err := http.NewRequest(method, "http://"+address+hop.Path, nil)
	if err != nil {
		return r, err
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode == http.StatusNoContent {
		return r, err
	}
	if resp.StatusCode != http.StatusOK {
		return r, fmt.Errorf("%s %s answers %s: %s", method, q.URL, resp.Status, body)
	}
	return r, json.Unmarshal(body, &r)
}

// part is a stretch of a hop: from a step of a node, or of the one before it, to a
// step of the node.
type part struct {
	name     string
	before   bool // from is a step of the node before
	from, to hop.Step
}

// The way of a hop. Its parts follow each other, so they sum up to the hop.
var way = []part{
	{"report: complete's script, its XADD and the wake of the leader", true, hop.Handled, hop.Read},
	{"leader: entry read to its publish", false, hop.Read, hop.Offered},
	{"publish handed to the connection", false, hop.Offered, hop.Published},
	{"broker: publish to delivery", false, hop.Published, hop.Received},
	{"worker: delivery to claim", false, hop.Received, hop.Claiming},
	{"claim's round trip", false, hop.Claiming, hop.Claimed},
	{"worker: claim to handler", false, hop.Claimed, hop.Started},
	{"handler", false, hop.Started, hop.Handled},
}

// The way of a direct hop.
var directly = []part{
	{"report that claims the successor: one round trip", true, hop.Handled, hop.Claimed},
	{"worker: claim to handler", false, hop.Claimed, hop.Started},
	{"handler", false, hop.Started, hop.Handled},
}

// What goes on beside it.
var beside = []part{
	{"complete's round trip", false, hop.Handled, hop.Completed},
	{"complete answered to its message acked", false, hop.Completed, hop.Acked},
	{"publish to confirm", false, hop.Published, hop.Confirmed},
	{"dispatched's round trip", false, hop.Confirmed, hop.Dispatched},
}

// hops makes the table of the cycles of one flow, a chain of place(0), place(1), …
func hops(marks []hop.Mark, length int, way, beside []part) (string, error) {
	type pass struct {
		cycle int64
		node  ids.NodeID
		step  hop.Step
	}
	at := map[pass]int64{}
	cycles := map[int64]bool{}
	for _, m := range marks {
		if m.Attempt != 1 {
			return "", fmt.Errorf("%s was tried again: nothing disturbed it", m.Node)
		}
		at[pass{m.Cycle, m.Node, m.Step}] = m.At
		cycles[m.Cycle] = true
	}
	var missing []string
	took := func(p part) (all []float64) {
		for cycle := range cycles {
			for i := 1; i < length; i++ {
				begins := pass{cycle, ids.NodeID(place(i)), p.from}
				if p.before {
					begins.node = ids.NodeID(place(i - 1))
				}
				from, began := at[begins]
				to, ended := at[pass{cycle, ids.NodeID(place(i)), p.to}]
				if !began || !ended {
					missing = append(missing, fmt.Sprintf("%s or %s of %s", p.from, p.to, place(i)))
					continue
				}
				all = append(all, float64(to-from)/1000)
			}
		}
		slices.Sort(all)
		return all
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(name string, all []float64) {
		if len(all) > 0 {
			fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t\n", name, all[len(all)/2], all[len(all)/10], all[len(all)*9/10])
		}
	}
	fmt.Fprintln(w, "µs\tmedian\tp10\tp90\t")
	sum := 0.0
	for _, p := range way {
		all := took(p)
		if len(all) > 0 {
			sum += all[len(all)/2]
		}
		line(p.name, all)
	}
	line("one hop: from handler's end to handler's end", took(part{"", true, hop.Handled, hop.Handled}))
	fmt.Fprintf(w, "sum of the medians above\t%.0f\t\t\t\n", sum)
	for _, p := range beside {
		line("beside it: "+p.name, took(p))
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return out.String(), fmt.Errorf("%d steps were not passed, such as %s", len(missing), missing[0])
	}
	return out.String(), nil
}

// The table is made of the steps' times and tells of a step that is missing.
func TestTableOfHops(t *testing.T) {
	var marks []hop.Mark
	for i := range 11 {
		for s := hop.Read; s <= hop.Acked; s++ {
			at := int64(i)*int64(hop.Handled+1)*1000 + int64(s)*1000 + 1 // each step takes 1 µs
			marks = append(marks, hop.Mark{Step: s, At: at, Flow: "f", Cycle: 1, Node: ids.NodeID(place(i)), Attempt: 1})
		}
	}
	table, err := hops(marks, 11, way, beside)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one hop: from handler's end to handler's end  10  10  10", "sum of the medians above  10", "broker: publish to delivery   3   3   3"} {
		if !strings.Contains(strings.Join(strings.Fields(table), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	without := slices.DeleteFunc(slices.Clone(marks), func(m hop.Mark) bool { return m.Step == hop.Claimed && m.Node == "n5" })
	if _, err := hops(without, 11, way, beside); err == nil || !strings.Contains(err.Error(), "claimed or started of n5") {
		t.Errorf("a missing step gives %v", err)
	}
	again := slices.Clone(marks)
	again[0].Attempt = 2
	if _, err := hops(again, 11, way, beside); err == nil {
		t.Error("a second attempt gives no error")
	}
}
