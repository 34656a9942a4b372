package ledgertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

const (
	epoch  ids.Epoch    = 10
	flow   ids.FlowID   = "f"
	worker ids.WorkerID = "w1"
	lease               = 10 * time.Second
)

// kit is one test's ledger with a leader of epoch 10 and some short words.
type kit struct {
	testing.TB
	Ledger
	ctx   context.Context
	plans map[int64]*plan.Plan // by revision
	seq   int
}

func newKit(t testing.TB, l Ledger) *kit {
	k := &kit{TB: t, Ledger: l, ctx: t.Context(), plans: map[int64]*plan.Plan{}}
	_, err := l.Takeover(k.ctx, epoch)
	k.ok(err)
	return k
}

func (k *kit) ok(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k *kit) is(err, want error) {
	k.Helper()
	if !errors.Is(err, want) {
		k.Fatalf("error is %v, want %v", err, want)
	}
}

func (k *kit) equal(got, want any) {
	k.Helper()
	if d := cmp.Diff(want, got); d != "" {
		k.Fatalf("differs (-want +got):\n%s", d)
	}
}

func (k *kit) dump() map[string]string {
	k.Helper()
	d, err := k.Dump(k.ctx)
	k.ok(err)
	return d
}

// unchanged runs a call and requires that it left every key as it was, but for
// the journal's word that the call was refused.
func (k *kit) unchanged(call func()) {
	k.Helper()
	before := k.settled()
	call()
	if d := cmp.Diff(before, k.settled()); d != "" {
		k.Fatalf("state changed (-before +after):\n%s", d)
	}
}

// settled is a dump without the journal's refusals.
func (k *kit) settled() map[string]string {
	k.Helper()
	d := k.dump()
	key := k.Prefix() + ":journal"
	lines := slices.DeleteFunc(strings.Split(d[key], "\n"), func(line string) bool {
		return strings.Contains(line, " op:fenced ") || strings.Contains(line, " op:refused ")
	})
	d[key] = strings.Join(lines, "\n")
	return d
}

// activate writes and activates a plan of flow "f".
func (k *kit) activate(p *plan.Plan) *plan.Plan {
	k.Helper()
	k.ok(k.WritePlan(k.ctx, p))
	k.ok(k.ActivateFlow(k.ctx, activation(p)))
	k.plans[p.Revision] = p
	return p
}

func activation(p *plan.Plan) ledger.Activation {
	return ledger.Activation{Flow: p.Flow, UID: p.UID, Revision: p.Revision, Document: []byte(`{"flow_id":"f"}`), Anchor: time.UnixMilli(1000)}
}

// trigger is a start by hand.
func (k *kit) trigger(p *plan.Plan) ledger.Start {
	k.seq++
	return ledger.Start{Plan: p, Occasion: ids.Occasion(p.UID, fmt.Sprint("trigger ", k.seq)), Overlap: true}
}

// slot is a start of the slot ms milliseconds after the epoch.
func slot(p *plan.Plan, ms int64) ledger.Start {
	return ledger.Start{Plan: p, Slot: time.UnixMilli(ms), Occasion: ids.Occasion(p.UID, fmt.Sprint(ms))}
}

func (k *kit) start(s ledger.Start) ledger.Started {
	k.Helper()
	c, err := k.StartCycle(k.ctx, epoch, s)
	k.ok(err)
	return c
}

// run activates a plan of these words and starts a cycle of it.
func (k *kit) run(words string, opts ...option) (*plan.Plan, ledger.Started) {
	k.Helper()
	p := k.activate(build(flow, 1, words, opts...))
	return p, k.start(k.trigger(p))
}

func attempt(c ledger.Started, node ids.NodeID, n int) ids.Attempt {
	return ids.Attempt{Flow: flow, Cycle: c.Cycle, UUID: c.UUID, Node: node, N: n}
}

func request(a ids.Attempt) ledger.ClaimRequest {
	return ledger.ClaimRequest{Attempt: a, Token: uuid.New(), Worker: worker, Lease: lease}
}

func (k *kit) claim(a ids.Attempt) ledger.Claim {
	k.Helper()
	c, refusal, err := k.Claim(k.ctx, request(a))
	k.ok(err)
	if refusal != ledger.Granted {
		k.Fatalf("claim %s: %s", a, refusal)
	}
	return c
}

func (k *kit) refused(q ledger.ClaimRequest, want ledger.Refusal) {
	k.Helper()
	_, got, err := k.Claim(k.ctx, q)
	k.ok(err)
	if got != want {
		k.Fatalf("claim %s: %s, want %s", q.Attempt, got, want)
	}
}

// success is the completion of a claim whose every handle carries 1.
func success(p *plan.Plan, c ledger.Claim) ledger.Completion {
	n := p.Node(c.Attempt.Node)
	outputs := map[string]json.RawMessage{"out": json.RawMessage("1")}
	for _, s := range n.Successors {
		for _, e := range s.Edges {
			outputs[e.SourceHandle] = json.RawMessage("1")
		}
	}
	return ledger.Completion{Attempt: c.Attempt, Token: c.Token, Plan: n, Status: task.Succeeded, Outputs: outputs, Decided: ledger.AllEdges(ledger.Live)}
}

func stop(p *plan.Plan, c ledger.Claim) ledger.Completion {
	return ledger.Completion{Attempt: c.Attempt, Token: c.Token, Plan: p.Node(c.Attempt.Node), Status: task.Stopped, Reason: "enough"}
}

func failure(p *plan.Plan, c ledger.Claim) ledger.Failure {
	return ledger.Failure{Attempt: c.Attempt, Token: c.Token, Plan: p.Node(c.Attempt.Node), Class: task.Retryable, Error: "boom", OnFailure: p.OnFailure}
}

func expiry(p *plan.Plan, c ledger.Claim) ledger.Expiry {
	return ledger.Expiry{Attempt: c.Attempt, Token: c.Token, Plan: p.Node(c.Attempt.Node), OnFailure: p.OnFailure, MaxLost: 2, Cause: "worker gone"}
}

// finish claims and completes the first attempt of nodes, in order.
func (k *kit) finish(p *plan.Plan, c ledger.Started, nodes ...ids.NodeID) {
	k.Helper()
	for _, n := range nodes {
		k.ok(k.Complete(k.ctx, success(p, k.claim(attempt(c, n, 1)))))
	}
}

func (k *kit) node(c ledger.Started, node ids.NodeID) ledger.NodeState {
	k.Helper()
	s, err := k.Nodes(k.ctx, flow, c.Cycle, []ids.NodeID{node})
	k.ok(err)
	return s[0]
}

func (k *kit) status(c ledger.Started, node ids.NodeID, want task.Status) {
	k.Helper()
	if got := k.node(c, node).Status; got != want {
		k.Fatalf("node %s is %s, want %s", node, got, want)
	}
}

func (k *kit) cycle(c ledger.Started) ledger.CycleState {
	k.Helper()
	s, err := k.Cycle(k.ctx, flow, c.Cycle)
	k.ok(err)
	return s
}

// archive and remove are for one cycle what the ledger does for several.
func (k *kit) archive(by ids.Epoch, c ledger.CycleState, nodes []ids.NodeID) error {
	return k.ArchiveCycles(k.ctx, by, []ledger.CycleState{c}, [][]ids.NodeID{nodes})
}

func (k *kit) remove(by ids.Epoch, n int64, nodes []ids.NodeID) error {
	return k.DeleteCycles(k.ctx, by, flow, []int64{n}, [][]ids.NodeID{nodes})
}

func (k *kit) ended(c ledger.Started, want string) {
	k.Helper()
	if got := k.cycle(c).Status; got != want {
		k.Fatalf("cycle is %s, want %s", got, want)
	}
	k.consistent()
}

func (k *kit) state() ledger.FlowState {
	k.Helper()
	s, err := k.Flow(k.ctx, flow)
	k.ok(err)
	return s
}

func (k *kit) outbox() []ledger.Entry {
	k.Helper()
	all, err := k.Outbox(k.ctx, "", 1_000_000)
	k.ok(err)
	return all
}

// posted returns the entries of one kind.
func (k *kit) posted(kind ledger.Kind) []ledger.Entry {
	k.Helper()
	var out []ledger.Entry
	for _, e := range k.outbox() {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

func (k *kit) journal() []ledger.Record {
	k.Helper()
	all, err := k.Journal(k.ctx, "", 1_000_000)
	k.ok(err)
	return all
}

// journaled counts records of an operation whose detail begins with a text.
func (k *kit) journaled(op, detail string) int {
	k.Helper()
	count := 0
	for _, r := range k.journal() {
		if r.Op == op && strings.HasPrefix(r.Detail, detail) {
			count++
		}
	}
	return count
}

func (k *kit) wants(op, detail string, want int) {
	k.Helper()
	if got := k.journaled(op, detail); got != want {
		k.Fatalf("the journal has %d records %s %q, want %d", got, op, detail, want)
	}
}

// consistent requires that counters agree with node states, that the journal has
// one outcome per counted node, and that what ended left no lease, timer or hold.
func (k *kit) consistent() {
	k.Helper()
	numbers, err := k.CycleNumbers(k.ctx, flow)
	k.ok(err)
	outcomes, ends := map[string]int{}, map[string]int{}
	claims := map[string]string{}
	for _, r := range k.journal() {
		switch r.Op {
		case "outcome":
			outcomes[r.UUID.String()+string(r.Node)]++
		case "cycle_end":
			ends[r.UUID.String()]++
		case "claim":
			if t := claims[r.UUID.String()+r.Attempt.String()]; t != "" && t != r.Token {
				k.Fatalf("%s was claimed by two tokens", r.Attempt)
			}
			claims[r.UUID.String()+r.Attempt.String()] = r.Token
		}
	}
	open := int64(0)
	for _, n := range numbers {
		c, err := k.Cycle(k.ctx, flow, n)
		k.ok(err)
		if c.Archived || c.Archiving || c.Status == "deleting" {
			continue
		}
		p := k.plans[c.Revision]
		names := make([]ids.NodeID, len(p.Nodes))
		for i := range p.Nodes {
			names[i] = p.Nodes[i].ID
		}
		states, err := k.Nodes(k.ctx, flow, n, names)
		k.ok(err)
		counts := map[task.Status]int64{}
		for _, s := range states {
			want := 0
			if s.Status.Final() {
				counts[s.Status]++
				want = 1
			}
			if got := outcomes[c.UUID.String()+string(s.Node)]; got != want {
				k.Fatalf("cycle %d node %s is %s and has %d outcomes in the journal", n, s.Node, s.Status, got)
			}
		}
		total := int64(0)
		for v := range maps.Values(counts) {
			total += v
		}
		if c.Completed != total || !cmp.Equal(c.Counts, counts) {
			k.Fatalf("cycle %d counts %d %v, its nodes say %d %v", n, c.Completed, c.Counts, total, counts)
		}
		want := 0
		if c.Ended() {
			want = 1
			if total != c.Total {
				k.Fatalf("cycle %d ended with %d of %d nodes counted", n, total, c.Total)
			}
		} else {
			open++
		}
		if got := ends[c.UUID.String()]; got != want {
			k.Fatalf("cycle %d is %s and ended %d times in the journal", n, c.Status, got)
		}
	}
	if s, err := k.Flow(k.ctx, flow); err == nil && s.Status != "deleting" && s.Active != open {
		k.Fatalf("the flow counts %d active cycles, there are %d", s.Active, open)
	}
}

// quiet requires that nothing is under way any more.
func (k *kit) quiet() {
	k.Helper()
	for key := range k.dump() {
		for _, name := range []string{":active", ":closing", ":leases", ":timers", ":outbox", ":held:"} {
			rest := strings.TrimPrefix(key, k.Prefix())
			if rest == name || name == ":held:" && strings.HasPrefix(rest, name) {
				d := k.dump()[key]
				if d != "" {
					k.Fatalf("%s holds:\n%s", key, d)
				}
			}
		}
	}
}

// Fail is the ledger's, not the test's.
func (k *kit) Fail(ctx context.Context, f ledger.Failure) (ledger.Failed, error) {
	return k.Ledger.Fail(ctx, f)
}
