package audit

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// examiner compares one item of a sheet with the journal. quiet = it was counted
// before.
type examiner struct {
	audit *checker
	*sheet
	quiet bool
	found []seen
}

// seen is a violation, and what makes two of them the same.
type seen struct {
	Violation
	suspect
}

func (e *examiner) wrong(rule string, cycle int64, node ids.NodeID, key, format string, args ...any) {
	if !slices.Contains([]string{"active", "leases", "timers", "outbox"}, key) {
		key = fmt.Sprintf("flow:%s:%s", e.id, key)
	}
	e.found = append(e.found, seen{
		Violation{Rule: rule, Key: key, Flow: e.id, Cycle: cycle, Node: node, Message: fmt.Sprintf(format, args...)},
		suspect{rule: rule, key: fmt.Sprint(key, " ", cycle), node: node, format: format},
	})
}

func (e *examiner) count(rule string) {
	if !e.quiet {
		e.audit.proof.Checked[rule]++
	}
}

// flow compares a flow's own numbers, and what names cycles that it has not.
func (e *examiner) flow() {
	e.count(State)
	known := map[uuid.UUID]bool{}
	for i := range e.cycles {
		known[e.cycles[i].UUID] = true
	}
	for u, n := range e.lists.of[e.id] {
		if !known[u] {
			e.orphans(u, n)
		}
	}
	if e.state == nil {
		if f := e.audit.flows[e.id]; f != nil && f.whole && f.revision > 0 {
			e.wrong(State, 0, "", "state", "the flow is gone, and the journal has no removal of it")
		}
		return
	}
	if !e.quiet {
		e.audit.proof.Flows++
	}
	if e.state.Status == deleting {
		return // its cycles go one by one
	}
	f := e.audit.flow(e.id)
	e.flowState(f)
	e.flowCounts(f)
	e.kept(known)
}

// orphans names the entries of a cycle that does not exist.
func (e *examiner) orphans(u uuid.UUID, n int64) {
	l := e.lists
	if l.active[u] > 0 {
		e.wrong(State, n, "", "active", "cycle %d (%s) is listed as running and does not exist", n, u)
	}
	for node := range l.leases[u] {
		e.wrong(State, n, node, "leases", "a lease names cycle %d (%s), which does not exist", n, u)
	}
	for _, t := range l.timers[u] {
		e.wrong(State, n, t.Node, "timers", "a %s timer names cycle %d (%s), which does not exist", t.Kind, n, u)
	}
	if e.audit.gone[u] {
		return // what is left of it is dropped when its turn comes
	}
	for _, x := range l.outbox[u] {
		e.wrong(State, n, x.Node, "outbox", "entry %s (%s) names cycle %d (%s), which does not exist", x.ID, x.Kind, n, u)
	}
}

func (e *examiner) flowState(f *flow) {
	s := e.state
	if f.status != "" && s.Status != f.status {
		e.wrong(State, 0, "", "state", "the flow is %s; the journal says %s", s.Status, f.status)
	}
	if f.revision != 0 && s.Revision != f.revision {
		e.wrong(State, 0, "", "state", "revision %d is active; the journal says %d", s.Revision, f.revision)
	}
	e.count(Slots)
	if f.began && !f.rebuilt && s.LastSlot.UnixMilli() != f.slot {
		e.wrong(Slots, 0, "", "state", "last_slot is %s; the journal accounted slots up to %s", instant(s.LastSlot.UnixMilli()), instant(f.slot))
	}
	if g := gridOf(e.audit.src, e.id); (f.began || f.whole) && !f.rebuilt && len(g.past) > 0 && s.Anchor.UnixMilli() == g.anchor {
		if n := g.missing(s.LastSlot.UnixMilli(), g.past[len(g.past)-1].until); n > 0 {
			e.wrong(Slots, 0, "", "state", "last_slot is %s: %d slots of schedules that were replaced since are not accounted", instant(s.LastSlot.UnixMilli()), n)
		}
	}
	if g := f.grid; f.began && g != nil && g.entered && !s.LastSlot.IsZero() && !g.on(s.LastSlot.UnixMilli()) {
		e.wrong(Slots, 0, "", "state", "last_slot %s does not lie on the grid of %s", instant(s.LastSlot.UnixMilli()), g)
	}
}

// flowCounts compares a flow's counters with each other, with its cycles, and with
// the journal: equal to what that has when it has everything, else no less.
func (e *examiner) flowCounts(f *flow) {
	s := e.state
	e.count(Counters)
	ended := int64(0)
	for _, n := range s.Ended {
		ended += n
	}
	if sum := ended + s.Active; sum > s.LastCycle || (f.whole && sum != s.LastCycle) {
		e.wrong(Counters, 0, "", "state", "%d cycles ended and %d run, of %d that were started", ended, s.Active, s.LastCycle)
	}
	if s.SlotsStarted > s.LastCycle {
		e.wrong(Counters, 0, "", "state", "%d slots started %d cycles", s.SlotsStarted, s.LastCycle)
	}
	if f.first != 0 && (f.last != 0 || f.whole) && !f.rebuilt && s.LastCycle != f.last {
		e.wrong(Counters, 0, "", "state", "last_cycle is %d; the journal's last is %d", s.LastCycle, f.last)
	}
	same := func(name string, stored, seen int64) {
		if stored < seen || (f.whole && stored != seen) {
			e.wrong(Counters, 0, "", "state", name+" is %d; the journal has %d", stored, seen)
		}
	}
	same("slots_started", s.SlotsStarted, f.started)
	for _, reason := range keys(s.SlotsSkipped, f.skipped) {
		same("slots_skipped:"+reason, s.SlotsSkipped[reason], f.skipped[reason])
	}
	for _, status := range keys(s.Ended, f.ended) {
		same("cycles_"+status, s.Ended[status], f.ended[status])
	}
	open, uses := int64(0), map[int64]int64{}
	for i := range e.cycles {
		c := &e.cycles[i]
		if !c.Ended() {
			open++
		}
		if !c.Archived {
			uses[c.Revision]++
		}
	}
	if s.Active != open {
		e.wrong(Counters, 0, "", "state", "active is %d; %d cycles run", s.Active, open)
	}
	for _, revision := range keys(s.PlanUses, uses) {
		if s.PlanUses[revision] != uses[revision] {
			e.wrong(Counters, 0, "", "state", fmt.Sprintf("plan:%d", revision)+" is %d; %d cycles need that plan", s.PlanUses[revision], uses[revision])
		}
	}
}

func keys[K string | int64](a, b map[K]int64) []K {
	var out []K
	for k := range a {
		out = append(out, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// kept compares the list of a flow's cycles with their records and the journal.
func (e *examiner) kept(known map[uuid.UUID]bool) {
	have := map[int64]bool{}
	for i := range e.cycles {
		have[e.cycles[i].Cycle] = true
	}
	for _, n := range e.numbers {
		if !have[n] {
			e.wrong(State, n, "", "cycles", "cycle %d is listed and has no record", n)
		}
		if n > e.state.LastCycle {
			e.wrong(State, n, "", "cycles", "cycle %d is listed; the last one was %d", n, e.state.LastCycle)
		}
	}
	missing := func(x *cycle) {
		if x.flow == e.id && !known[x.uuid] && !x.partial {
			what := "runs"
			if x.end != "" {
				what = "ended"
			}
			e.wrong(State, x.number, "", "cycles", "cycle %d (%s) %s by the journal, was not removed, and is not there", x.number, x.uuid, what)
		}
	}
	for _, x := range e.audit.cycles {
		missing(x)
	}
	for _, x := range e.audit.ended.flows[e.id] {
		missing(x)
	}
}

// entries compares leases, timers and offers with the nodes they name.
func (e *examiner) entries(p *entry) {
	if p.Archived || p.Archiving {
		if len(e.lists.leases[p.UUID])+len(e.lists.timers[p.UUID]) > 0 {
			e.wrong(State, p.Cycle, "", "leases", "the cycle is archived, and leases or timers name it")
		}
		return
	}
	if p.nodes == nil {
		return
	}
	status := map[ids.NodeID]*ledger.NodeState{}
	for i := range p.nodes {
		status[p.nodes[i].Node] = &p.nodes[i]
	}
	leases := e.lists.leases[p.UUID]
	for node := range leases {
		if s := status[node]; s == nil || s.Status != "running" {
			e.wrong(State, p.Cycle, node, "leases", "a lease names a node that does not run")
		}
	}
	retries, deadline := map[ids.NodeID]bool{}, false
	for _, t := range e.lists.timers[p.UUID] {
		s, ok := status[t.Node], false
		switch t.Kind {
		case "deadline":
			ok, deadline = !p.Ended(), true
		case "retry":
			ok = s != nil && s.Status == "retrying" && s.Attempt == t.N
			retries[t.Node] = true
		case "offer":
			ok = s != nil && (s.Status == "ready" || s.Status == "dispatched") && s.Attempt == t.N
		}
		if !ok {
			e.wrong(State, p.Cycle, t.Node, "timers", "a %s timer of attempt %d has nothing to do", t.Kind, t.N)
		}
	}
	if p.Status == "running" && !p.Deadline.IsZero() && !deadline {
		e.wrong(State, p.Cycle, "", "timers", "the cycle has a deadline and no timer for it")
	}
	offered := map[ids.NodeID]bool{}
	for _, x := range e.lists.outbox[p.UUID] {
		if x.Kind == ledger.KindReady {
			offered[x.Node] = true
		}
	}
	for i := range p.nodes {
		s := &p.nodes[i]
		n := p.plan.Node(s.Node)
		if n == nil || p.Status != "running" || p.Components[strconv.Itoa(n.Component)] != "" {
			continue
		}
		switch {
		case s.Status == "running" && !leases[s.Node]:
			e.wrong(State, p.Cycle, s.Node, nodeKey(p, s.Node), "the node runs without a lease")
		case s.Status == "retrying" && !retries[s.Node]:
			e.wrong(State, p.Cycle, s.Node, nodeKey(p, s.Node), "the node waits for a retry that no timer brings")
		case s.Status == "ready" && s.Blocker == "" && !offered[s.Node]:
			e.wrong(State, p.Cycle, s.Node, nodeKey(p, s.Node), "the node is ready, and nobody will offer it")
		}
	}
}
