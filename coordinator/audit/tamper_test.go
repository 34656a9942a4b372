package audit

import (
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// tape is a legal history that a tampering changes.
type tape struct {
	*source
	pick func(int) int
}

// any picks one of the records that are as wanted; -1 when there is none.
func (t *tape) any(want func(i int, r ledger.Record) bool) int {
	var all []int
	for i, r := range t.records {
		if want(i, r) {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return -1
	}
	return all[t.pick(len(all))]
}

func (t *tape) next(i int, want func(ledger.Record) bool) int {
	for j := i + 1; j < len(t.records); j++ {
		if want(t.records[j]) {
			return j
		}
	}
	return -1
}

func (t *tape) prev(i int, want func(ledger.Record) bool) int {
	for j := i - 1; j >= 0; j-- {
		if want(t.records[j]) {
			return j
		}
	}
	return -1
}

func (t *tape) drop(i int) { t.records = slices.Delete(t.records, i, i+1) }

// insert puts records before position i, at its time.
func (t *tape) insert(i int, more ...ledger.Record) {
	at := t.records[min(i, len(t.records)-1)].At
	for k := range more {
		more[k].At = at
	}
	t.records = slices.Insert(t.records, i, more...)
}

// move takes the record at i to position j < i.
func (t *tape) move(i, j int) {
	r := t.records[i]
	t.drop(i)
	t.insert(j, r)
}

func op(names ...string) func(ledger.Record) bool {
	return func(r ledger.Record) bool { return slices.Contains(names, r.Op) }
}

func ofFlow(x ledger.Record, names ...string) func(ledger.Record) bool {
	return func(r ledger.Record) bool { return r.Flow == x.Flow && slices.Contains(names, r.Op) }
}

func ofCycle(x ledger.Record, names ...string) func(ledger.Record) bool {
	return func(r ledger.Record) bool { return r.UUID == x.UUID && slices.Contains(names, r.Op) }
}

func ofNode(x ledger.Record, names ...string) func(ledger.Record) bool {
	return func(r ledger.Record) bool {
		return r.UUID == x.UUID && r.Node == x.Node && slices.Contains(names, r.Op)
	}
}

// open reports whether the cycle of record i runs on after it: it neither ends,
// nor is it cancelled or removed before, and its flow is never being deleted.
func (t *tape) open(i int) bool {
	r := t.records[i]
	return t.prev(i+1, ofCycle(r, "cycle_end", "cycle_removed", "cycle_cancel")) < 0 && t.life(i) && t.prev(i, ofCycle(r, "cycle_start")) >= 0
}

// life reports whether the flow of record i is not deleted later: its plans are
// those of the source.
func (t *tape) life(i int) bool {
	return t.next(i, ofFlow(t.records[i], "flow_deleted", "flow_purged")) < 0 && t.steady(i)
}

// steady reports whether the flow of record i is not being deleted at it.
func (t *tape) steady(i int) bool {
	j := t.prev(i+1, ofFlow(t.records[i], "flow_deleted", "flow_purged"))
	return j < 0 || t.records[j].Op == "flow_purged"
}

// plan returns the plan of the cycle of record i, and its node.
func (t *tape) plan(i int) (*plan.Plan, *plan.Node) {
	j := t.prev(i+1, ofCycle(t.records[i], "cycle_start"))
	_, rev, _ := strings.Cut(t.records[j].Detail, " ")
	n, _ := strconv.ParseInt(rev, 10, 64)
	p := t.plans[revision{t.records[i].Flow, n}]
	return p, p.Node(t.records[i].Node)
}

// once reports whether record i names an at-most-once node of an open cycle.
func (t *tape) once(i int) bool {
	if !t.open(i) {
		return false
	}
	_, n := t.plan(i)
	return n.Delivery == plan.AtMostOnce
}

// starts reports whether the claim of record i may have started its node: it was
// neither handed back nor did it meet another's once-key.
func (t *tape) starts(i int) bool {
	r := t.records[i]
	j := t.next(i, func(x ledger.Record) bool {
		return x.UUID == r.UUID && x.Node == r.Node && (x.Op == "ready" || x.Op == "expire" || x.Op == "outcome")
	})
	if j < 0 {
		return false // not known yet
	}
	x := t.records[j]
	return x.Op != "ready" && !strings.HasSuffix(x.Detail, "no once-key") && !strings.HasSuffix(x.Detail, met)
}

// slots reads first and last of a slot record; ok when they are on the present
// grid, with a slot of it before.
func (t *tape) slots(i int) (first, last int64, ok bool) {
	r := t.records[i]
	if r.Op != "slot_skipped" || !t.life(i) || t.grids[r.Flow][1] == 0 {
		return 0, 0, false
	}
	parts := strings.Fields(r.Detail)
	first, _ = strconv.ParseInt(parts[0], 10, 64)
	last, _ = strconv.ParseInt(parts[1], 10, 64)
	g := grid{anchor: t.grids[r.Flow][0], step: t.grids[r.Flow][1]}
	before := t.prev(i, func(x ledger.Record) bool {
		s, _ := strconv.ParseInt(strings.Fields(x.Detail + " x")[0], 10, 64)
		return x.Flow == r.Flow && (x.Op == "slot_skipped" || x.Op == "cycle_start") && g.on(s)
	})
	return first, last, g.on(first) && before >= 0 && t.life(before) && t.prev(i, ofFlow(r, "flow_purged")) < before
}

// number gives every record an id again.
func (t *tape) number() {
	ms := int64(0)
	for i := range t.records {
		r := &t.records[i]
		ms = max(ms, r.At.UnixMilli())
		r.At = time.UnixMilli(ms).UTC()
		r.ID = fmt.Sprintf("%d-%d", ms, i)
	}
}

// change is a tampering at a record that is as wanted.
func change(want func(t *tape, i int, r ledger.Record) bool, do func(t *tape, i int, r *ledger.Record)) func(*tape) bool {
	return func(t *tape) bool {
		i := t.any(func(i int, r ledger.Record) bool { return want(t, i, r) })
		if i < 0 {
			return false
		}
		do(t, i, &t.records[i])
		return true
	}
}

// at wants records of an operation in a cycle that goes on.
func at(names ...string) func(*tape, int, ledger.Record) bool {
	return func(t *tape, i int, r ledger.Record) bool { return op(names...)(r) && t.open(i) }
}

func (t *tape) single(r ledger.Record) bool {
	offers := 0
	for _, x := range t.records {
		if x.UUID == r.UUID && x.Node == r.Node && x.N == r.N && (x.Op == "ready" || x.Op == "repair") {
			offers++
		}
	}
	return offers == 1
}

func copyOf(r *ledger.Record, change func(*ledger.Record)) ledger.Record {
	x := *r
	if change != nil {
		change(&x)
	}
	return x
}

func flowRecord(r *ledger.Record, what string) ledger.Record {
	x := ledger.Record{Op: what}
	x.Flow = r.Flow
	return x
}

type tampering struct {
	name  string
	rules []string // one of them has to be reported
	apply func(*tape) bool
}

func TestEveryTamperingIsFound(t *testing.T) {
	const seeds = 50
	all := tamperings()
	seen := map[string]bool{}
	byRule := map[string]int{}
	total := 0
	for _, m := range all {
		if seen[m.name] {
			t.Fatalf("tampering %q stands twice", m.name)
		}
		seen[m.name] = true
		t.Run(m.name, func(t *testing.T) {
			planted := 0
			for seed := range int64(seeds) {
				s := legal(seed, 300)
				tp := &tape{source: s, pick: rand.New(rand.NewSource(seed * 31)).Intn}
				if !m.apply(tp) {
					continue
				}
				planted++
				tp.number()
				p := audit(t, tp, Range{})
				found := slices.ContainsFunc(p.Violations, func(v Violation) bool { return slices.Contains(m.rules, v.Rule) })
				if p.Clean || !found {
					t.Fatalf("seed %d: not found under %v; %d violations %+v", seed, m.rules, p.Broken, p.Violations)
				}
			}
			if planted < 3 {
				t.Fatalf("planted in %d histories of %d: too few", planted, seeds)
			}
			total += planted
			byRule[m.rules[0]]++
			t.Logf("%d of %d found", planted, planted)
		})
	}
	for _, rule := range journalRules {
		if byRule[rule] == 0 {
			t.Errorf("no tampering breaks rule %s", rule)
		}
	}
	t.Logf("%d tamperings, planted %d times; by rule %v", len(all), total, byRule)
}

func tamperings() []tampering {
	return slices.Concat(slotTamperings(), inputTamperings(), claimTamperings(), attemptTamperings(), outcomeTamperings(), onceTamperings(),
		holdTamperings(), epochTamperings(), endTamperings())
}

func slotTamperings() []tampering {
	onGrid := func(t *tape, i int, _ ledger.Record) bool { _, _, ok := t.slots(i); return ok }
	skip := func(t *tape, i int, r ledger.Record) bool { return r.Op == "slot_skipped" && t.steady(i) }
	later := func(t *tape, i int, r ledger.Record) bool { // not the first start of a flow
		j := t.prev(i, ofFlow(r, "cycle_start", "flow_purged"))
		return r.Op == "cycle_start" && j >= 0
	}
	return []tampering{
		{"a slot is dropped", []string{Slots}, change(func(t *tape, i int, r ledger.Record) bool {
			j := t.next(i, func(x ledger.Record) bool {
				return x.Flow == r.Flow && (x.Op == "slot_skipped" || x.Op == "cycle_start" && !manual(x))
			})
			return onGrid(t, i, r) && j >= 0
		}, func(t *tape, i int, _ *ledger.Record) { t.drop(i) })},
		{"a slot is accounted twice", []string{Slots}, change(skip, func(t *tape, i int, r *ledger.Record) { t.insert(i+1, *r) })},
		{"a started slot is skipped as well", []string{Slots}, change(func(_ *tape, _ int, r ledger.Record) bool { return r.Op == "cycle_start" && !manual(r) },
			func(t *tape, i int, r *ledger.Record) {
				slot := strings.Fields(r.Detail)[0]
				x := flowRecord(r, "slot_skipped")
				x.Epoch, x.Detail = r.Epoch, slot+" "+slot+" 1 overlap"
				t.insert(i+1, x)
			})},
		{"slots come in falling order", []string{Slots}, change(func(t *tape, i int, r ledger.Record) bool {
			j := t.next(i, ofFlow(r, "slot_skipped", "flow_purged"))
			return skip(t, i, r) && j >= 0 && t.records[j].Op == "slot_skipped"
		}, func(t *tape, i int, r *ledger.Record) {
			j := t.next(i, ofFlow(*r, "slot_skipped"))
			r.Detail, t.records[j].Detail = t.records[j].Detail, r.Detail
		})},
		{"a slot off the grid", []string{Slots}, change(onGrid, func(t *tape, i int, r *ledger.Record) {
			first, _, _ := t.slots(i)
			r.Detail = fmt.Sprintf("%d %d 1 overlap", first+1, first+1)
		})},
		{"a run of slots counts too many", []string{Slots}, change(onGrid, func(t *tape, i int, r *ledger.Record) {
			first, last, _ := t.slots(i)
			r.Detail = fmt.Sprintf("%d %d %d missed", first, last, (last-first)/t.grids[r.Flow][1]+2)
		})},
		{"a run of slots ends before it begins", []string{Slots}, change(skip, func(_ *tape, _ int, r *ledger.Record) { r.Detail = "2000 1000 2 missed" })},
		{"a skip can't be read", []string{Slots}, change(skip, func(_ *tape, _ int, r *ledger.Record) { r.Detail = "1000 x 2 missed" })},
		{"a start can't be read", []string{Slots}, change(func(_ *tape, _ int, r ledger.Record) bool { return r.Op == "cycle_start" },
			func(_ *tape, _ int, r *ledger.Record) { r.Detail = "soon" })},
		{"a slot starts ahead of its time", []string{Slots}, change(func(_ *tape, _ int, r ledger.Record) bool { return r.Op == "cycle_start" && !manual(r) },
			func(_ *tape, _ int, r *ledger.Record) {
				_, rev, _ := strings.Cut(r.Detail, " ")
				r.Detail = fmt.Sprintf("%d %s", r.At.UnixMilli()+10_000, rev)
			})},
		{"a cycle's number is skipped", []string{Slots}, change(later, func(_ *tape, _ int, r *ledger.Record) { r.Cycle++ })},
		{"a cycle's start is dropped", []string{Ends}, change(later, func(t *tape, i int, _ *ledger.Record) { t.drop(i) })},
	}
}

// lastInput returns where the last input of the node of record i was counted.
func (t *tape) lastInput(i int) int {
	_, n := t.plan(i)
	if n == nil || len(n.Inputs) == 0 {
		return -1
	}
	return t.prev(i, func(x ledger.Record) bool {
		return x.UUID == t.records[i].UUID && x.Op == "outcome" && slices.ContainsFunc(n.Inputs, func(in plan.Input) bool { return in.Source == x.Node })
	})
}

func inputTamperings() []tampering {
	after := func(t *tape, i int, r ledger.Record) bool { // became ready by its inputs
		return r.Op == "ready" && r.N == 1 && t.open(i) && t.prev(i, ofNode(r, "ready")) < 0 && t.lastInput(i) >= 0
	}
	return []tampering{
		{"ready before an input was counted", []string{Inputs}, change(after, func(t *tape, i int, _ *ledger.Record) { t.move(i, t.lastInput(i)) })},
		{"ready after an input failed", []string{Inputs}, change(func(t *tape, i int, r ledger.Record) bool {
			return after(t, i, r) && r.Detail == "inputs"
		}, func(t *tape, i int, _ *ledger.Record) { t.records[t.lastInput(i)].Detail = "failed: permanent" })},
		{"ready after an input was skipped", []string{Inputs}, change(func(t *tape, i int, r ledger.Record) bool {
			return after(t, i, r) && r.Detail == "inputs"
		}, func(t *tape, i int, _ *ledger.Record) { t.records[t.lastInput(i)].Detail = "skipped: not_taken" })},
		{"ready is not of the plan", []string{Inputs}, change(at("ready"), func(_ *tape, _ int, r *ledger.Record) { r.Node = "ghost" })},
		{"skipped before an input was counted", []string{Inputs}, change(func(t *tape, i int, r ledger.Record) bool {
			calm := t.prev(i, func(x ledger.Record) bool {
				return x.UUID == r.UUID && x.Op == "outcome" && !strings.HasPrefix(x.Detail, "s") || x.UUID == r.UUID && strings.HasPrefix(x.Detail, "stopped")
			}) < 0
			return r.Op == "outcome" && r.Detail == "skipped: not_taken" && calm && t.open(i) && t.lastInput(i) >= 0
		}, func(t *tape, i int, _ *ledger.Record) { t.move(i, t.lastInput(i)) })},
		{"dispatched twice", []string{Offers}, change(func(t *tape, i int, r ledger.Record) bool { return at("dispatch")(t, i, r) && t.single(r) },
			func(t *tape, i int, r *ledger.Record) { t.insert(i+1, *r) })},
		{"dispatched before it was ready", []string{Offers}, change(func(t *tape, i int, r ledger.Record) bool { return at("dispatch")(t, i, r) && t.single(r) },
			func(t *tape, i int, r *ledger.Record) {
				t.move(i, t.prev(i, func(x ledger.Record) bool { return ofNode(*r, "ready")(x) && x.N == r.N }))
			})},
		{"an attempt to come is dispatched", []string{Offers}, change(at("dispatch"), func(_ *tape, _ int, r *ledger.Record) { r.N += 7 })},
		{"an attempt to come is held", []string{Offers}, change(at("held"), func(_ *tape, _ int, r *ledger.Record) { r.N++ })},
		{"a running node is declined", []string{Offers}, change(at("claim"), func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, copyOf(r, func(x *ledger.Record) { x.Op, x.Token = "declined", "" }))
		})},
	}
}

func claimTamperings() []tampering {
	stranger := func(r *ledger.Record) { r.Token = "a-stranger" }
	settled := func(t *tape, i int, r ledger.Record) bool { return r.Op == "outcome" && r.Token != "" && t.open(i) }
	return []tampering{
		{"a revocation is dropped", []string{Claims}, change(func(t *tape, i int, r ledger.Record) bool {
			return r.Op == "expire" && t.records[i+1].Op == "ready"
		}, func(t *tape, i int, _ *ledger.Record) { t.drop(i) })},
		{"a hand-back is dropped", []string{Claims}, change(func(t *tape, i int, r ledger.Record) bool {
			j, k := t.prev(i, ofNode(r, "ready", "claim", "expire", "retry_later", "outcome")), t.next(i, ofNode(r, "ready", "claim"))
			return r.Op == "ready" && r.Detail == "released" && j >= 0 && t.records[j].Op == "claim" && k >= 0 && t.records[k].Op == "claim"
		}, func(t *tape, i int, _ *ledger.Record) { t.drop(i) })},
		{"two workers hold one attempt", []string{Claims}, change(at("claim"), func(t *tape, i int, r *ledger.Record) { t.insert(i+1, copyOf(r, stranger)) })},
		{"a claim is written twice", []string{Claims}, change(at("claim"), func(t *tape, i int, r *ledger.Record) { t.insert(i+1, *r) })},
		{"a claim comes before its offer", []string{Claims}, change(func(t *tape, i int, r ledger.Record) bool { return at("claim")(t, i, r) && r.N == 1 },
			func(t *tape, i int, r *ledger.Record) {
				t.move(i, slices.IndexFunc(t.records, ofNode(*r, "ready")))
			})},
		{"a claim has no token", []string{Claims}, change(at("claim"), func(_ *tape, _ int, r *ledger.Record) { r.Token = "" })},
		{"a stranger's result counts", []string{Claims}, change(settled, func(_ *tape, _ int, r *ledger.Record) { stranger(r) })},
		{"the result of an old attempt counts", []string{Claims}, change(func(t *tape, i int, r ledger.Record) bool { return settled(t, i, r) && r.N > 1 },
			func(_ *tape, _ int, r *ledger.Record) { r.N-- })},
		{"a stranger's claim is revoked", []string{Claims}, change(at("expire"), func(_ *tape, _ int, r *ledger.Record) { stranger(r) })},
		{"a stranger's failure is taken", []string{Claims}, change(at("retry_later"), func(_ *tape, _ int, r *ledger.Record) { stranger(r) })},
		{"a stranger is suspected", []string{Claims}, change(at("suspect"), func(_ *tape, _ int, r *ledger.Record) { stranger(r) })},
		{"the live claim is refused", []string{Claims}, change(at("claim"), func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, copyOf(r, func(x *ledger.Record) { x.Op = "lost" }))
		})},
		{"a revoked claim is claimed on", []string{Claims}, change(at("expire"), func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, copyOf(r, func(x *ledger.Record) { x.Op, x.Epoch = "claim", 0 }))
		})},
	}
}

func attemptTamperings() []tampering {
	retried := func(t *tape, i int, r ledger.Record) bool {
		j := t.next(i, ofNode(r, "ready", "repair", "outcome"))
		return r.Op == "retry_later" && t.open(i) && j >= 0 && t.records[j].Op == "ready"
	}
	return []tampering{
		{"an attempt is left out", []string{Attempts}, change(at("ready"), func(_ *tape, _ int, r *ledger.Record) { r.N++ })},
		{"the same attempt follows a loss", []string{Attempts}, change(func(t *tape, i int, r ledger.Record) bool { return r.Op == "ready" && r.Detail == "lost" && t.open(i) },
			func(_ *tape, _ int, r *ledger.Record) { r.N-- })},
		{"another attempt is claimed", []string{Attempts}, change(at("claim"), func(_ *tape, _ int, r *ledger.Record) { r.N++ })},
		{"a retry comes too early", []string{Attempts}, change(retried, func(_ *tape, _ int, r *ledger.Record) {
			r.Detail = fmt.Sprint(r.At.Add(time.Hour).UnixMilli())
		})},
		{"the time of a retry can't be read", []string{Attempts}, change(retried, func(_ *tape, _ int, r *ledger.Record) { r.Detail = "later" })},
		{"a retry without a failure", []string{Claims}, change(retried, func(t *tape, i int, _ *ledger.Record) { t.drop(i) })},
		{"a waiting retry is claimed", []string{Claims}, change(retried, func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, copyOf(r, func(x *ledger.Record) { x.Op, x.Detail = "claim", "" }))
		})},
		{"more retries than the plan allows", []string{Attempts}, change(at("retry_later"), func(t *tape, i int, _ *ledger.Record) {
			_, n := t.plan(i)
			n.Retry = plan.Retry{}
		})},
	}
}

func outcomeTamperings() []tampering {
	return []tampering{
		{"counted twice", []string{Outcomes}, change(at("outcome"), func(t *tape, i int, r *ledger.Record) { t.insert(i+1, *r) })},
		{"claimed after it was counted", []string{Outcomes}, change(func(t *tape, i int, r ledger.Record) bool { return at("outcome")(t, i, r) && r.Token != "" },
			func(t *tape, i int, r *ledger.Record) {
				t.insert(i+1, copyOf(r, func(x *ledger.Record) { x.Op, x.Epoch, x.Detail = "claim", 0, "" }))
			})},
		{"ready after it was counted", []string{Outcomes}, change(at("outcome"), func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, copyOf(r, func(x *ledger.Record) { x.Op, x.N, x.Token, x.Detail = "ready", r.N+1, "", "offer timer" }))
		})},
		{"success without a claim", []string{Outcomes}, change(func(t *tape, i int, r ledger.Record) bool { return at("outcome")(t, i, r) && r.Detail == "succeeded" },
			func(_ *tape, _ int, r *ledger.Record) { r.Token, r.Epoch = "", 1<<30 })},
		{"a running node is swept", []string{Outcomes}, change(at("claim"), func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, copyOf(r, func(x *ledger.Record) {
				x.Op, x.Token, x.Epoch, x.Detail = "outcome", "", 1<<30, "stopped: component_stopped"
			}))
		})},
		{"an offered node is skipped", []string{Outcomes}, change(func(t *tape, i int, r ledger.Record) bool {
			calm := t.prev(i, func(x ledger.Record) bool { return x.UUID == r.UUID && x.Op == "outcome" }) < 0
			return at("ready")(t, i, r) && calm
		}, func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, copyOf(r, func(x *ledger.Record) { x.Op, x.Epoch, x.Detail = "outcome", 1<<30, "skipped: not_taken" }))
		})},
		{"cancelled without a cancel", []string{Outcomes}, change(func(t *tape, i int, r ledger.Record) bool { return at("outcome")(t, i, r) && r.Token == "" },
			func(_ *tape, _ int, r *ledger.Record) { r.Detail = "cancelled: cancelled" })},
		{"a revoked attempt succeeds", []string{Outcomes}, change(func(t *tape, i int, r ledger.Record) bool {
			return r.Op == "outcome" && t.records[i-1].Op == "expire" && t.open(i)
		}, func(_ *tape, _ int, r *ledger.Record) { r.Detail = "succeeded" })},
		{"an outcome of no kind", []string{Outcomes}, change(at("outcome"), func(_ *tape, _ int, r *ledger.Record) { r.Detail = "retrying" })},
	}
}

func onceTamperings() []tampering {
	claim := func(t *tape, i int, r ledger.Record) bool { return r.Op == "claim" && t.once(i) && t.starts(i) }
	return []tampering{
		{"at most once, again after a loss", []string{Once}, change(func(t *tape, i int, r ledger.Record) bool {
			return r.Op == "expire" && t.once(i) && t.records[i+1].Op == "outcome" && !strings.HasSuffix(r.Detail, "no once-key")
		}, func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, copyOf(r, func(x *ledger.Record) { x.Op, x.N, x.Token, x.Detail = "ready", r.N+1, "", "lost" }),
				copyOf(r, func(x *ledger.Record) { x.Op, x.N, x.Token, x.Epoch, x.Detail = "claim", r.N+1, "a-stranger", 0, "" }))
		})},
		{"at most once, tried again", []string{Once}, change(claim, func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, copyOf(r, func(x *ledger.Record) { x.Op, x.Detail = "retry_later", "1" }),
				copyOf(r, func(x *ledger.Record) { x.Op, x.N, x.Token, x.Epoch, x.Detail = "ready", r.N+1, "", 1<<30, "retry" }),
				copyOf(r, func(x *ledger.Record) { x.Op, x.N, x.Token = "claim", r.N+1, "a-stranger" }))
		})},
		{"at most once, by two at a time", []string{Once}, change(claim, func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, copyOf(r, func(x *ledger.Record) { x.Token = "a-stranger" }))
		})},
		{"at most once, beside a claim that Redis forgot", []string{Once}, change(claim, func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, copyOf(r, func(x *ledger.Record) { x.Op, x.Token, x.Detail = "lost", "a-stranger", "" }))
		})},
		{"at most once, after a claim that Redis forgot", []string{Once}, change(claim, func(t *tape, i int, r *ledger.Record) {
			t.insert(i, copyOf(r, func(x *ledger.Record) { x.Op, x.Token, x.Detail = "lost", "a-stranger", "" }))
		})},
	}
}

func holdTamperings() []tampering {
	fresh := func(t *tape, i int, r ledger.Record) bool { return at("claim")(t, i, r) && r.Detail == "" }
	start := func(t *tape, i int, r ledger.Record) bool { return r.Op == "cycle_start" && t.life(i) }
	within := func(before, after string) func(*tape, int, *ledger.Record) {
		return func(t *tape, i int, r *ledger.Record) {
			x := *r
			t.insert(i, flowRecord(&x, before))
			if after != "" {
				t.insert(i+2, flowRecord(&x, after))
			}
		}
	}
	return []tampering{
		{"claimed while paused", []string{Holds}, change(fresh, within("flow_paused", "flow_resumed"))},
		{"claimed while deleting", []string{Holds}, change(fresh, within("flow_deleted", ""))},
		{"started while paused", []string{Holds}, change(start, within("flow_paused", "flow_resumed"))},
		{"started while deleting", []string{Holds}, change(start, within("flow_deleted", ""))},
		{"a slot is accounted while deleting", []string{Holds}, change(func(t *tape, i int, r ledger.Record) bool { return r.Op == "slot_skipped" && t.life(i) },
			within("flow_deleted", ""))},
		{"a resume is dropped", []string{Holds}, change(func(t *tape, i int, r ledger.Record) bool {
			j := t.next(i, ofFlow(r, "cycle_start", "flow_paused", "flow_deleted"))
			return r.Op == "flow_resumed" && j >= 0 && t.records[j].Op != "flow_deleted"
		}, func(t *tape, i int, _ *ledger.Record) { t.drop(i) })},
		{"a pause is dropped", []string{Holds}, change(func(t *tape, i int, r ledger.Record) bool {
			j, k := t.prev(i, ofFlow(r, "flow_resumed", "flow_purged")), t.next(i, ofFlow(r, "flow_resumed", "flow_deleted"))
			return r.Op == "flow_paused" && j >= 0 && k >= 0 && t.records[j].Op == "flow_resumed" && t.records[k].Op == "flow_resumed"
		}, func(t *tape, i int, _ *ledger.Record) { t.drop(i) })},
		{"a deletion is dropped", []string{Holds}, change(func(t *tape, i int, r ledger.Record) bool {
			j := t.prev(i, ofFlow(r, "flow_resumed", "flow_paused", "flow_purged"))
			return r.Op == "flow_deleted" && j >= 0 && t.records[j].Op != "flow_purged" && t.next(i, ofFlow(r, "flow_purged")) >= 0
		}, func(t *tape, i int, _ *ledger.Record) { t.drop(i) })},
		{"a flow is changed while deleting", []string{Holds}, change(func(_ *tape, _ int, r ledger.Record) bool { return r.Op == "flow_deleted" },
			func(t *tape, i int, r *ledger.Record) { t.insert(i+1, flowRecord(r, "flow_activated")) })},
		{"claimed after a cancel", []string{Holds}, change(at("claim"), func(t *tape, i int, r *ledger.Record) {
			t.insert(i, copyOf(r, func(x *ledger.Record) { x.Op, x.Node, x.N, x.Token, x.Detail = "cycle_cancel", "", 0, "", "cancelled" }))
		})},
		{"claimed after its component stopped", []string{Holds}, change(func(t *tape, i int, r ledger.Record) bool { return fresh(t, i, r) && t.counterpart(i) >= 0 },
			func(t *tape, i int, _ *ledger.Record) { t.records[t.counterpart(i)].Detail = "stopped: enough" })},
		{"claimed after its component failed", []string{Holds}, change(func(t *tape, i int, r ledger.Record) bool {
			if !fresh(t, i, r) || t.counterpart(i) < 0 {
				return false
			}
			p, _ := t.plan(i)
			return p.OnFailure == plan.FailCycle
		}, func(t *tape, i int, _ *ledger.Record) { t.records[t.counterpart(i)].Detail = "failed: permanent" })},
	}
}

// counterpart returns the success of another node of the component of the claim
// at i, between the offer and the claim; -1 when there is none.
func (t *tape) counterpart(i int) int {
	p, n := t.plan(i)
	r := t.records[i]
	from := t.prev(i, ofNode(r, "ready"))
	j := t.prev(i, func(x ledger.Record) bool {
		return x.UUID == r.UUID && x.Op == "outcome" && x.Detail == "succeeded" && x.Node != r.Node && p.Node(x.Node).Component == n.Component
	})
	if j < from {
		return -1
	}
	return j
}

func epochTamperings() []tampering {
	led := func(t *tape, i int, r ledger.Record) bool {
		return r.Op != "takeover" && r.Epoch > 1 && t.prev(i, func(x ledger.Record) bool { return x.Epoch == r.Epoch }) >= 0
	}
	return []tampering{
		{"a deposed leader writes", []string{Epochs}, change(led, func(_ *tape, _ int, r *ledger.Record) { r.Epoch-- })},
		{"a leader writes ahead of its epoch", []string{Epochs}, change(func(t *tape, i int, r ledger.Record) bool {
			return led(t, i, r) && t.next(i, func(x ledger.Record) bool { return x.Epoch == r.Epoch }) >= 0
		}, func(_ *tape, _ int, r *ledger.Record) { r.Epoch++ })},
		{"a takeover comes too early", []string{Epochs}, change(func(t *tape, i int, r ledger.Record) bool {
			return r.Op == "takeover" && i > 0 && t.prev(i, func(x ledger.Record) bool { return x.Epoch > 0 && x.Op != "takeover" }) >= 0
		}, func(t *tape, i int, _ *ledger.Record) {
			t.move(i, t.prev(i, func(x ledger.Record) bool { return x.Epoch > 0 && x.Op != "takeover" }))
		})},
		{"a leader's record carries no epoch", []string{Epochs}, change(func(_ *tape, _ int, r ledger.Record) bool { return leaderOnly(r) },
			func(_ *tape, _ int, r *ledger.Record) { r.Epoch = 0 })},
	}
}

func endTamperings() []tampering {
	end := func(t *tape, i int, r ledger.Record) bool {
		return r.Op == "cycle_end" && t.life(i) && t.prev(i, ofCycle(r, "cycle_start")) >= 0
	}
	byOutcome := func(t *tape, i int, r ledger.Record) bool { return end(t, i, r) && t.records[i-1].Op == "outcome" }
	return []tampering{
		{"an end is dropped", []string{Ends}, change(end, func(t *tape, i int, _ *ledger.Record) { t.drop(i) })},
		{"an end is written twice", []string{Ends}, change(end, func(t *tape, i int, r *ledger.Record) { t.insert(i+1, *r) })},
		{"an end comes before the last outcome", []string{Ends}, change(byOutcome, func(t *tape, i int, _ *ledger.Record) { t.move(i, i-1) })},
		{"an end comes later than the last outcome", []string{Ends}, change(byOutcome, func(t *tape, i int, r *ledger.Record) {
			t.insert(i, flowRecord(r, "flow_activated"))
		})},
		{"a cycle is removed instead of ending", []string{Ends}, change(byOutcome, func(t *tape, i int, r *ledger.Record) {
			r.Op, r.Epoch = "cycle_removed", 1<<30
		})},
		{"an end names another status", []string{Ends}, change(end, func(_ *tape, _ int, r *ledger.Record) {
			r.Detail = map[bool]string{true: "failed", false: "completed"}[r.Detail == "completed"]
		})},
		{"an outcome is dropped", []string{Ends}, change(func(t *tape, i int, r ledger.Record) bool {
			return r.Op == "outcome" && t.life(i) && t.next(i, ofCycle(r, "cycle_end")) >= 0
		}, func(t *tape, i int, _ *ledger.Record) { t.drop(i) })},
		{"an outcome is dropped, and the plan is gone", []string{Ends}, change(func(t *tape, i int, r ledger.Record) bool {
			return r.Op == "outcome" && r.Token != "" && t.next(i, ofCycle(r, "cycle_end")) >= 0
		}, func(t *tape, i int, _ *ledger.Record) {
			clear(t.plans)
			t.drop(i)
		})},
		{"claimed after the end", []string{Ends}, change(end, func(t *tape, i int, r *ledger.Record) {
			j := t.prev(i, ofCycle(*r, "outcome"))
			t.insert(i+1, copyOf(&t.records[j], func(x *ledger.Record) { x.Op, x.Epoch, x.Token, x.Detail = "claim", 0, "a-stranger", "" }))
		})},
		{"a cycle is started twice", []string{Ends}, change(func(_ *tape, _ int, r ledger.Record) bool { return r.Op == "cycle_start" },
			func(t *tape, i int, r *ledger.Record) { t.insert(i+1, *r) })},
		{"an ended cycle is started again", []string{Ends}, change(end, func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, t.records[t.prev(i, ofCycle(*r, "cycle_start"))])
		})},
		{"a cycle is cancelled twice", []string{Ends}, change(func(_ *tape, _ int, r ledger.Record) bool { return r.Op == "cycle_cancel" },
			func(t *tape, i int, r *ledger.Record) { t.insert(i+1, *r) })},
		{"a running cycle is removed", []string{Ends}, change(at("claim", "ready"), func(t *tape, i int, r *ledger.Record) {
			gone := copyOf(r, func(x *ledger.Record) {
				x.Op, x.Node, x.N, x.Token, x.Epoch, x.Detail = "cycle_removed", "", 0, "", 1<<30, "running"
			})
			t.records = append(t.records[:i+1], slices.DeleteFunc(t.records[i+1:], func(x ledger.Record) bool { return x.UUID == gone.UUID })...)
			t.insert(i+1, gone)
		})},
		{"something happens in a removed cycle", []string{Ends}, change(func(t *tape, i int, r ledger.Record) bool {
			return r.Op == "cycle_removed" && t.prev(i, ofCycle(r, "cycle_start")) >= 0 && t.prev(i, ofCycle(r, "outcome")) >= 0
		}, func(t *tape, i int, r *ledger.Record) {
			t.insert(i+1, t.records[t.prev(i, ofCycle(*r, "outcome"))])
		})},
		{"a flow is removed with a cycle in it", []string{Ends}, change(func(t *tape, i int, r ledger.Record) bool {
			return r.Op == "cycle_removed" && r.Detail != "completed" && t.prev(i, ofCycle(r, "cycle_end")) < 0 && t.next(i, ofFlow(r, "flow_purged")) >= 0
		}, func(t *tape, i int, _ *ledger.Record) { t.drop(i) })},
	}
}

// One violation in a long history is told once or a few times, at the record
// that breaks the rule.
func TestAViolationNamesItsRecord(t *testing.T) {
	s := legal(3, 300)
	tp := &tape{source: s, pick: rand.New(rand.NewSource(1)).Intn}
	i := tp.any(func(i int, r ledger.Record) bool { return at("claim")(tp, i, r) && r.Detail == "" })
	twice := copyOf(&tp.records[i], func(x *ledger.Record) { x.Token = "a-stranger" })
	tp.insert(i+1, twice)
	tp.number()
	p := audit(t, tp, Range{})
	v := p.Violations[0]
	want := Violation{Rule: Claims, Record: tp.records[i+1].ID, At: tp.records[i+1].At, Flow: twice.Flow, Cycle: twice.Cycle, Node: twice.Node,
		Message: fmt.Sprintf("claimed by a-stranger while %s holds it", tp.records[i].Token)}
	if v != want {
		t.Errorf("got %+v, want %+v", v, want)
	}
}

func TestTheListOfViolationsIsBounded(t *testing.T) {
	s := &source{}
	for i := range int64(MaxViolations + 500) {
		s.records = append(s.records, ledger.Record{ID: fmt.Sprintf("%d-0", begins+i), At: time.UnixMilli(begins + i), Op: "takeover"})
	}
	p := audit(t, s, Range{})
	if p.Broken != MaxViolations+500 || len(p.Violations) != MaxViolations || p.Clean {
		t.Errorf("%d violations, %d listed, clean %v", p.Broken, len(p.Violations), p.Clean)
	}
}
