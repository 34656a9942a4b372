package audit_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/audit"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// hand writes into Redis as a person with redis-cli does, past every script.
type hand struct {
	testing.TB
	conn   net.Conn
	in     *bufio.Reader
	prefix string
	names  *strings.Replacer
}

func reach(t testing.TB, address, prefix string, names ...string) *hand {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return &hand{TB: t, conn: conn, in: bufio.NewReader(conn), prefix: prefix, names: strings.NewReplacer(names...)}
}

// do sends a command of words; one that begins with ':' is a key, without the
// prefix, and '~' stands for a blank. The answer's lines are returned.
func (h *hand) do(command string) []string {
	h.Helper()
	words := strings.Fields(h.names.Replace(command))
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		if strings.HasPrefix(w, ":") {
			w = h.prefix + w
		}
		w = strings.ReplaceAll(w, "~", " ")
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := io.WriteString(h.conn, b.String()); err != nil {
		h.Fatal(err)
	}
	return h.answer()
}

func (h *hand) answer() []string {
	h.Helper()
	line, err := h.in.ReadString('\n')
	if err != nil {
		h.Fatal(err)
	}
	line = strings.TrimSpace(line)
	n, _ := strconv.Atoi(line[1:])
	switch line[0] {
	case '-':
		h.Fatalf("redis: %s", line)
	case '$':
		if n < 0 {
			return nil
		}
		text := make([]byte, n+2)
		if _, err := io.ReadFull(h.in, text); err != nil {
			h.Fatal(err)
		}
		return []string{string(text[:n])}
	case '*':
		var out []string
		for range n {
			out = append(out, h.answer()...)
		}
		return out
	}
	return []string{line[1:]}
}

// scene is a ledger with a chain that ran three times (flow f), and a cycle in
// which every kind of node stands (flow g): r runs, w waits for it, t will be
// retried, h is held, e is offered, d is done.
func scene(t *testing.T, l *ledger.Ledger) (names []string) {
	t.Helper()
	cluster(t, l, 3)
	ctx := t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p := &plan.Plan{Flow: "g", Revision: 1, OnFailure: plan.Continue, CycleTimeout: time.Hour}
	for _, id := range []ids.NodeID{"r", "w", "t", "h", "e", "d"} {
		p.Nodes = append(p.Nodes, plan.Node{ID: id, Join: plan.AllSuccess, Delivery: plan.AtLeastOnce, Component: len(p.Nodes)})
	}
	p.Nodes[1].Component = 0
	p.Nodes[0].Successors = []plan.Successor{{Target: "w", InDegree: 1, Plain: true, Edges: []plan.Edge{{SourceHandle: "out"}}}}
	p.Nodes[1].Inputs = []plan.Input{{Source: "r", SourceHandle: "out"}}
	p.Seal()
	ok(l.WritePlan(ctx, p))
	ok(l.ActivateFlow(ctx, ledger.Activation{Flow: "g", Revision: 1, Document: []byte("{}")}))
	s, err := l.StartCycle(ctx, 5, ledger.Start{Plan: p, Occasion: ids.Occasion(p.UID, "by hand"), Overlap: true})
	ok(err)
	at := func(n ids.NodeID) ids.Attempt {
		return ids.Attempt{Flow: "g", Cycle: s.Cycle, UUID: s.UUID, Node: n, N: 1}
	}
	claim := func(n ids.NodeID) ledger.Claim {
		t.Helper()
		c, _, err := l.Claim(ctx, ledger.ClaimRequest{Attempt: at(n), Token: ids.Occasion(s.UUID, string(n)), Worker: "w", Lease: time.Hour})
		ok(err)
		return c
	}
	r, tr, d := claim("r"), claim("t"), claim("d")
	_, err = l.Fail(ctx, ledger.Failure{Attempt: tr.Attempt, Token: tr.Token, Plan: p.Node("t"), Class: "retryable", Error: "x", Retries: 1, Delay: time.Hour, OnFailure: plan.Continue})
	ok(err)
	ok(l.Complete(ctx, ledger.Completion{Attempt: d.Attempt, Token: d.Token, Plan: p.Node("d"), Status: "succeeded", Decided: ledger.AllEdges(ledger.Live)}))
	all, err := l.Outbox(ctx, "", 1000)
	ok(err)
	var done, rest []string
	for _, e := range all {
		switch {
		case e.Kind != ledger.KindReady:
			rest = append(rest, e.ID)
		case e.Node == "h":
			ok(l.Hold(ctx, 5, e, "type:x", "no_worker"))
		case e.Node != "e":
			ok(l.Dispatched(ctx, 5, []ledger.Entry{e}))
			done = append(done, e.ID)
		}
	}
	ok(l.Drop(ctx, 5, rest...))
	if len(done) == 0 {
		t.Fatal("nothing was dispatched")
	}
	one, err := l.Cycle(ctx, "f", 1)
	ok(err)
	three, err := l.Cycle(ctx, "f", 3)
	ok(err)
	return []string{"{g}", s.UUID.String(), "{f1}", one.UUID.String(), "{f3}", three.UUID.String(), "{r}", r.Token.String(), "{some}", uuid.NewString()}
}

// jot is a record written by hand.
func jot(op, flow string, cycle int, uuid, node string, attempt, epoch int, token, detail string) string {
	text := fmt.Sprintf("XADD :journal * op %s flow %s cycle %d uuid %s node %s attempt %d epoch %d token %s worker ~ detail %s", op, dash(flow), cycle, dash(uuid), dash(node), attempt, epoch, dash(token), dash(detail))
	return text
}

func dash(s string) string {
	if s == "" {
		return "~"
	}
	return s
}

// planted are violations and the rule that has to find each.
var planted = []struct {
	name     string
	rule     string
	commands []string
}{
	{"the clock", audit.State, []string{"SET :clock 777"}}, // the first: only a real server tells

	// In the journal.
	{"an outcome twice", audit.Outcomes, []string{jot("outcome", "g", 1, "{g}", "d", 1, 0, "x", "succeeded")}},
	{"an outcome of an ended cycle", audit.Ends, []string{jot("outcome", "f", 1, "{f1}", "a", 3, 0, "x", "succeeded")}},
	{"a second claim", audit.Claims, []string{jot("claim", "g", 1, "{g}", "r", 1, 0, "x", "")}},
	{"a claim of a node that waits", audit.Claims, []string{jot("claim", "g", 1, "{g}", "w", 1, 0, "x", "")}},
	{"a direct claim before its input", audit.Inputs, []string{jot("claim", "g", 1, "{g}", "w", 1, 0, "x", "direct")}},
	{"a direct claim of what was offered", audit.Claims, []string{jot("claim", "g", 1, "{g}", "e", 1, 0, "x", "direct")}},
	{"a direct claim by who reported nothing", audit.Claims, []string{jot("outcome", "g", 1, "{g}", "r", 1, 0, "{r}", "succeeded"),
		strings.Replace(jot("claim", "g", 1, "{g}", "w", 1, 0, "x", "direct"), "worker ~", "worker other", 1)}},
	{"a direct claim of a later attempt", audit.Attempts, []string{jot("claim", "g", 1, "{g}", "w", 2, 0, "x", "direct")}},
	{"a node ready before its input", audit.Inputs, []string{jot("ready", "g", 1, "{g}", "w", 1, 0, "", "inputs")}},
	{"a stranger's result", audit.Claims, []string{jot("outcome", "g", 1, "{g}", "r", 1, 0, "x", "succeeded")}},
	{"a result that the state lacks", audit.State, []string{jot("outcome", "g", 1, "{g}", "r", 1, 0, "{r}", "succeeded")}},
	{"a dispatch twice", audit.Offers, []string{jot("dispatch", "g", 1, "{g}", "d", 1, 5, "", "")}},
	{"a dispatch after the end", audit.Offers, []string{jot("dispatch", "f", 1, "{f1}", "b", 1, 5, "", "")}},
	{"a dispatch of a lower epoch", audit.Epochs, []string{jot("dispatch", "g", 1, "{g}", "e", 1, 4, "", "")}},
	{"a dispatch that the state lacks", audit.State, []string{jot("dispatch", "g", 1, "{g}", "e", 1, 5, "", "")}},
	{"a takeover that the state lacks", audit.State, []string{jot("takeover", "", 0, "", "", 0, 9, "", "")}},
	{"a takeover of a lower epoch", audit.Epochs, []string{jot("takeover", "", 0, "", "", 0, 3, "", "")}},
	{"a leader that never took over", audit.Epochs, []string{jot("ready", "g", 1, "{g}", "e", 1, 8, "", "offer~timer"), jot("takeover", "", 0, "", "", 0, 9, "", "")}},
	{"a refusal by a lower epoch", audit.Epochs, []string{jot("fenced", "", 0, "", "", 0, 7, "", "5~retry")}},
	{"a live claim that is refused", audit.Claims, []string{jot("refused", "g", 1, "{g}", "r", 1, 0, "{r}", "complete:~running~1")}},
	{"a refusal that is not true", audit.Claims, []string{jot("refused", "g", 1, "{g}", "d", 1, 0, "x", "complete:~running~3")}},
	{"a slot twice", audit.Slots, []string{jot("slot_skipped", "f", 0, "", "", 0, 5, "", "3000~3000~1~overlap")}},
	{"a slot left out", audit.Slots, []string{jot("slot_skipped", "f", 0, "", "", 0, 5, "", "5000~5000~1~overlap")}},
	{"a slot off the grid", audit.Slots, []string{jot("slot_skipped", "f", 0, "", "", 0, 5, "", "4001~4001~1~overlap")}},
	{"a slot that the state lacks", audit.Slots, []string{jot("slot_skipped", "f", 0, "", "", 0, 5, "", "4000~4000~1~overlap")}},
	{"a start that the state lacks", audit.Counters, []string{jot("cycle_start", "f", 4, "{some}", "", 0, 5, "", "4000~1")}},
	{"a start out of order", audit.Slots, []string{jot("cycle_start", "f", 9, "{some}", "", 0, 0, "", "manual~1")}},
	{"a start of another revision", audit.Holds, []string{jot("cycle_start", "f", 4, "{some}", "", 0, 0, "", "manual~7")}},
	{"an end twice", audit.Ends, []string{jot("cycle_end", "f", 3, "{f3}", "", 0, 0, "", "completed")}},
	{"an end too early", audit.Ends, []string{jot("cycle_end", "g", 1, "{g}", "", 0, 0, "", "completed")}},
	{"a removal that the state lacks", audit.State, []string{jot("cycle_removed", "f", 3, "{f3}", "", 0, 5, "", "completed")}},
	{"a pause that the state lacks", audit.State, []string{jot("flow_paused", "f", 0, "", "", 0, 0, "", "")}},
	{"a claim while paused", audit.Holds, []string{jot("flow_paused", "g", 0, "", "", 0, 0, "", ""), jot("claim", "g", 1, "{g}", "e", 1, 0, "x", "")}},
	{"a retry that nobody granted", audit.Claims, []string{jot("retry_later", "g", 1, "{g}", "e", 1, 0, "x", "1")}},
	{"a retry before it is due", audit.Attempts, []string{jot("ready", "g", 1, "{g}", "t", 2, 5, "", "retry")}},
	{"a revocation of no claim", audit.Claims, []string{jot("expire", "g", 1, "{g}", "r", 1, 5, "x", "lease~over")}},
	{"a correction of the clock that the state lacks", audit.State, []string{jot("clock_set", "", 0, "", "", 0, 5, "", "0~3600000")}},
	// In the state: flows.
	{"slots_started", audit.Counters, []string{"HINCRBY :flow:f:state slots_started 1"}},
	{"slots_started lowered", audit.Counters, []string{"HINCRBY :flow:f:state slots_started -1"}},
	{"slots_skipped", audit.Counters, []string{"HSET :flow:f:state slots_skipped:overlap 2"}},
	{"last_slot ahead", audit.Slots, []string{"HSET :flow:f:state last_slot 9000"}},
	{"last_slot back", audit.Slots, []string{"HSET :flow:f:state last_slot 2000"}},
	{"last_slot gone", audit.Slots, []string{"HDEL :flow:f:state last_slot"}},
	{"last_cycle", audit.Counters, []string{"HSET :flow:f:state last_cycle 7"}},
	{"active", audit.Counters, []string{"HINCRBY :flow:g:state active 1"}},
	{"cycles_completed", audit.Counters, []string{"HINCRBY :flow:f:state cycles_completed 1"}},
	{"plan use", audit.Counters, []string{"HINCRBY :flow:f:state plan:1 1"}},
	{"the flow's status", audit.State, []string{"HSET :flow:f:state status paused"}},
	{"the flow's revision", audit.State, []string{"HSET :flow:f:state revision 9"}},
	{"the flow is gone", audit.State, []string{"DEL :flow:f:state"}},
	{"the epoch lowered", audit.State, []string{"SET :epoch 3"}},
	// Cycles.
	{"a cycle's status", audit.Ends, []string{"HSET :flow:f:cycle:2:status status failed"}},
	{"a cycle that runs on", audit.Ends, []string{"HSET :flow:f:cycle:2:status status running"}},
	{"a cycle that never ended", audit.Ends, []string{"HSET :flow:g:cycle:1:status status completed"}},
	{"completed_nodes", audit.Counters, []string{"HINCRBY :flow:g:cycle:1:status completed_nodes 1"}},
	{"succeeded_nodes", audit.Counters, []string{"HINCRBY :flow:f:cycle:2:status succeeded_nodes 1"}},
	{"both counters", audit.Counters, []string{"HINCRBY :flow:g:cycle:1:status completed_nodes 1", "HINCRBY :flow:g:cycle:1:status succeeded_nodes 1"}},
	{"total_nodes", audit.Counters, []string{"HSET :flow:g:cycle:1:status total_nodes 9"}},
	{"a cycle's uuid", audit.State, []string{"HSET :flow:f:cycle:2:status uuid {some}"}},
	{"a cycle's slot", audit.Slots, []string{"HSET :flow:f:cycle:2:status slot 9000"}},
	{"a cycle's revision", audit.State, []string{"HSET :flow:f:cycle:2:status revision 9"}},
	{"a cycle's record is gone", audit.State, []string{"DEL :flow:f:cycle:2:status"}},
	{"a cycle is not listed", audit.State, []string{"ZREM :flow:f:cycles 2"}},
	{"a cycle that is not there", audit.State, []string{"ZADD :flow:f:cycles 1 8"}},
	{"an open cycle is not listed as such", audit.State, []string{"ZREM :active g|1|{g}"}},
	{"an ended cycle is listed as open", audit.State, []string{"ZADD :active 1 f|1|{f1}"}},
	{"a cycle of nobody is listed as open", audit.State, []string{"ZADD :active 1 z|1|{some}"}},
	{"joins", audit.Counters, []string{"HINCRBY :flow:f:cycle:2:joins b:live 2"}},
	{"joins of an open node", audit.Counters, []string{"HSET :flow:g:cycle:1:joins w:live 1"}},
	// Nodes.
	{"a node's status", audit.State, []string{"HSET :flow:f:cycle:2:node:a:state status failed"}},
	{"a node's attempt", audit.State, []string{"HSET :flow:f:cycle:2:node:a:state attempt 9"}},
	{"a counted node is gone", audit.Outcomes, []string{"DEL :flow:f:cycle:2:node:a:state"}},
	{"a running node is gone", audit.State, []string{"DEL :flow:g:cycle:1:node:r:state"}},
	{"a held node is gone", audit.State, []string{"DEL :flow:g:cycle:1:node:h:state"}},
	{"a node runs that was not claimed", audit.State, []string{"HSET :flow:g:cycle:1:node:e:state status running token x"}},
	{"another token", audit.State, []string{"HSET :flow:g:cycle:1:node:r:state token x"}},
	{"a waiting node is counted", audit.State, []string{"HSET :flow:g:cycle:1:node:w:state status succeeded attempt 1"}},
	// Leases, timers, offers.
	{"a lease is gone", audit.State, []string{"DEL :leases"}},
	{"a lease of a node that does not run", audit.State, []string{"ZADD :leases 1 g|1|{g}|e"}},
	{"a lease of an ended cycle", audit.State, []string{"ZADD :leases 1 f|1|{f1}|a"}},
	{"a lease of nobody", audit.State, []string{"ZADD :leases 1 f|7|{some}|a"}},
	{"a timer is gone", audit.State, []string{"ZREM :timers retry|g|1|{g}|t|1"}},
	{"a deadline is gone", audit.State, []string{"ZREM :timers deadline|g|1|{g}||0"}},
	{"a timer of another attempt", audit.State, []string{"ZADD :timers 1 retry|g|1|{g}|t|5"}},
	{"a timer of nobody", audit.State, []string{"ZADD :timers 1 retry|f|9|{some}|a|1"}},
	{"an offer is gone", audit.Offers, []string{"DEL :outbox"}},
	{"an offer that nobody made", audit.State, []string{"XADD :outbox * kind ready flow g cycle 1 uuid {g} node r attempt 1"}},
	{"an offer of nobody", audit.State, []string{"XADD :outbox * kind ready flow f cycle 9 uuid {some} node a attempt 1"}},
}

// Every violation that is planted by hand, in the journal or in the state, is
// found under its rule, and before it there is none.
func TestWhatIsPlantedByHandIsFound(t *testing.T) {
	onServers(t, func(t *testing.T, open func(t *testing.T) (*ledger.Ledger, string)) {
		all := planted
		if l, _ := open(t); l.Server().Embedded {
			all = planted[1:]
		}
		var mu sync.Mutex
		found, rules := 0, map[string]int{}
		t.Run("all", func(t *testing.T) {
			for _, v := range all {
				t.Run(v.name, func(t *testing.T) {
					t.Parallel()
					l, address := open(t)
					names := scene(t, l)
					before := prove(t, l)
					if !before.Clean || before.Moving != 0 || before.Flows != 2 || before.Compared != 4 {
						t.Fatalf("before: %+v", before)
					}
					h := reach(t, address, l.Prefix(), names...)
					for _, c := range v.commands {
						h.do(c)
					}
					p := prove(t, l)
					if p.Clean || !slices.ContainsFunc(p.Violations, func(x audit.Violation) bool { return x.Rule == v.rule }) {
						t.Fatalf("not found under %s: %d violations %+v", v.rule, p.Broken, p.Violations)
					}
					for _, x := range p.Violations {
						if (x.Record == "") == (x.Key == "") {
							t.Errorf("names no place, or two: %+v", x)
						}
					}
					mu.Lock()
					defer mu.Unlock()
					found++
					rules[v.rule]++
				})
			}
		})
		if found != len(all) {
			t.Errorf("%d of %d found", found, len(all))
		}
		t.Logf("%d planted, %d found; by rule %v", len(all), found, rules)
	})
}

// Whatever record is taken out of the journal, a real server tells.
func TestARecordTakenOutIsMissed(t *testing.T) {
	onServers(t, func(t *testing.T, open func(t *testing.T) (*ledger.Ledger, string)) {
		l, _ := open(t)
		if l.Server().Embedded {
			t.Skip("the embedded server does not tell; see TestTheJournalOfALedgerMayNotBeTouched")
		}
		scene(t, l)
		all, err := l.Journal(t.Context(), "", 10_000)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range all {
			if strings.Contains(r.ID, ".") {
				continue // goes with the first record of its entry
			}
			l, address := open(t)
			scene(t, l)
			now, err := l.Journal(t.Context(), "", 10_000)
			if err != nil {
				t.Fatal(err)
			}
			reach(t, address, l.Prefix()).do("XDEL :journal " + now[i].ID)
			p := prove(t, l)
			if p.Clean || !slices.ContainsFunc(p.Violations, func(v audit.Violation) bool { return v.Rule == audit.Journal && v.Record == now[i].ID }) {
				t.Errorf("%s %s is not missed: %+v", r.Op, now[i].ID, p.Violations)
			}
		}
	})
}

func prove(t *testing.T, l *ledger.Ledger) audit.Proof {
	t.Helper()
	p, err := audit.Run(t.Context(), sceneSource{gridSource{source{l}}}, l, audit.Range{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sceneSource shows the plans as they are.
type sceneSource struct{ gridSource }

func onServers(t *testing.T, test func(t *testing.T, open func(t *testing.T) (*ledger.Ledger, string))) {
	t.Run("embedded", func(t *testing.T) {
		test(t, func(t *testing.T) (*ledger.Ledger, string) {
			m, l := server(t)
			t.Cleanup(m.Close)
			t.Cleanup(func() { _ = l.Close() })
			return l, m.Addr()
		})
	})
	t.Run("real", func(t *testing.T) {
		address := os.Getenv("STATION_TEST_REDIS_URL")
		if address == "" {
			if os.Getenv("STATION_TEST_REQUIRE") == "1" {
				t.Fatal("STATION_TEST_REDIS_URL is not set and STATION_TEST_REQUIRE=1")
			}
			t.Skip("STATION_TEST_REDIS_URL is not set; make test starts a server and sets it")
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		test(t, func(t *testing.T) (*ledger.Ledger, string) {
			l, err := ledger.Open(t.Context(), ledger.Config{URL: address, Prefix: "audit-" + uuid.NewString()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				h := reach(t, u.Host, l.Prefix())
				keys, err := l.Dump(context.Background())
				if err != nil {
					t.Error(err)
				}
				for k := range keys {
					h.do("DEL " + strings.TrimPrefix(k, l.Prefix()))
				}
				_ = h.conn.Close()
				_ = l.Close()
			})
			return l, u.Host
		})
	})
}

// BenchmarkAudit reads 20,000 records from a real server, and compares the state.
func BenchmarkAudit(b *testing.B) {
	address := os.Getenv("STATION_TEST_REDIS_URL")
	if address == "" {
		b.Skip("STATION_TEST_REDIS_URL is not set")
	}
	u, err := url.Parse(address)
	if err != nil {
		b.Fatal(err)
	}
	l, err := ledger.Open(b.Context(), ledger.Config{URL: address, Prefix: "audit-" + uuid.NewString(), JournalMax: 1_000_000})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	const records = 20_000
	const rounds = records / 14
	cluster(b, l, rounds)
	for n := range int64(rounds - 100) { // as retention does
		if err := l.DeleteCycles(b.Context(), 5, "f", []int64{n + 1}, [][]ids.NodeID{{"a", "b"}}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		p, err := audit.Run(b.Context(), gridSource{source{l}}, l, audit.Range{})
		if err != nil || !p.Clean {
			b.Fatalf("%v, %+v", err, p.Violations)
		}
		b.ReportMetric(float64(p.Records)/p.Took.Seconds(), "records/s")
		b.ReportMetric(float64(p.Records), "records")
		b.ReportMetric(float64(p.Nodes), "nodes")
	}
	b.StopTimer()
	keys, err := l.Dump(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	h := reach(b, u.Host, l.Prefix())
	for k := range keys {
		h.do("UNLINK " + strings.TrimPrefix(k, l.Prefix()))
	}
}
