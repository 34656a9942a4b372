package audit

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// cycle compares one cycle.
func (e *examiner) cycle(p *entry) {
	e.count(Counters)
	if !e.quiet {
		e.audit.proof.Compared++
		e.audit.proof.Nodes += int64(len(p.nodes))
	}
	key := fmt.Sprintf("cycle:%d:status", p.Cycle)
	wrong := func(rule, format string, args ...any) { e.wrong(rule, p.Cycle, "", key, format, args...) }
	if want := ids.CycleUUID(p.Occasion, p.Revision); p.UUID != want {
		wrong(State, "uuid is %s; occasion and revision make %s", p.UUID, want)
	}
	sum := int64(0)
	for _, n := range p.Counts {
		sum += n
	}
	if sum != p.Completed {
		wrong(Counters, "completed_nodes is %d; the counts by outcome make %d", p.Completed, sum)
	}
	if p.plan != nil && p.Total != int64(len(p.plan.Nodes)) {
		wrong(Counters, "total_nodes is %d; the plan has %d nodes", p.Total, len(p.plan.Nodes))
	}
	switch full := p.Completed == p.Total; {
	case p.Ended() && !full:
		wrong(Ends, "the cycle is %s with %d of %d nodes counted", p.Status, p.Completed, p.Total)
	case !p.Ended() && full:
		wrong(Ends, "every node is counted and the cycle is %s", p.Status)
	}
	if p.Ended() {
		e.finalStatus(p, wrong)
	}
	listed := e.lists.active[p.UUID] > 0
	if listed == p.Ended() {
		wrong(State, "the cycle is %s; that it is listed as running is %t", p.Status, listed)
	}
	e.nodes(p)
	e.entries(p)
	f := e.audit.flow(e.id)
	x := e.audit.cycles[p.UUID]
	if x == nil {
		x = e.audit.ended.get(p.UUID)
	}
	switch {
	case x != nil:
		e.story(p, x)
	case f.first != 0 && p.Cycle >= f.first && p.Cycle > f.forgotten:
		wrong(State, "the journal has no start of cycle %d (%s)", p.Cycle, p.UUID)
	}
}

func (e *examiner) finalStatus(p *entry, wrong func(rule, format string, args ...any)) {
	want := p.Raw["cause"]
	if want == "" {
		want = "completed"
		if p.Counts["failed"]+p.Counts["unknown"] > 0 && p.OnFailure != plan.Continue {
			want = "failed"
		}
	}
	if p.Status != want {
		wrong(Ends, "the cycle is %s; its counts say %s", p.Status, want)
	}
}

// nodes compares a cycle's counters with the records of its nodes.
func (e *examiner) nodes(p *entry) {
	if p.nodes == nil {
		return
	}
	counts := map[string]int64{}
	for i := range p.nodes {
		if n := &p.nodes[i]; n.Status.Final() {
			counts[string(n.Status)]++
		} else if p.Ended() {
			e.wrong(Ends, p.Cycle, n.Node, nodeKey(p, n.Node), "the cycle is %s; the node is %s", p.Status, n.Status)
		}
	}
	stored := map[string]int64{}
	for status, n := range p.Counts {
		stored[string(status)] = n
	}
	for _, status := range keys(stored, counts) {
		if stored[status] != counts[status] {
			e.wrong(Counters, p.Cycle, "", fmt.Sprintf("cycle:%d:status", p.Cycle), "%s_nodes is %d; %d nodes are %s", status, stored[status], counts[status], status)
		}
	}
	e.joins(p)
}

func nodeKey(p *entry, n ids.NodeID) string { return fmt.Sprintf("cycle:%d:node:%s:state", p.Cycle, n) }

// joins compares the counters of decided edges with the nodes they come from.
// What a component's end cut off was not counted.
func (e *examiner) joins(p *entry) {
	if p.joins == nil || p.plan == nil || p.Raw["cause"] != "" || p.Raw["spread"] != "" {
		return
	}
	want, uncounted := map[string]int64{}, map[string]bool{}
	for i := range p.nodes {
		s, n := &p.nodes[i], p.plan.Node(p.nodes[i].Node)
		if s.Spread {
			return // counted in parts, and the rest comes
		}
		if n != nil {
			decide(want, uncounted, n, s, p.OnFailure)
		}
	}
	stored := map[string]int64{}
	for field, text := range p.joins {
		stored[field], _ = strconv.ParseInt(text, 10, 64)
	}
	for _, field := range keys(stored, want) {
		i := strings.LastIndex(field, ":")
		target := p.plan.Node(ids.NodeID(field[:max(i, 0)]))
		switch {
		case target == nil:
			e.wrong(Counters, p.Cycle, "", fmt.Sprintf("cycle:%d:joins", p.Cycle), "%s counts edges into no node", field)
		case p.Components[strconv.Itoa(target.Component)] != "":
		case uncounted[field] && stored[field] == 0:
		case stored[field] != want[field]:
			e.wrong(Counters, p.Cycle, target.ID, fmt.Sprintf("cycle:%d:joins", p.Cycle), "%s is %d; the nodes make %d", field, stored[field], want[field])
		}
	}
}

// decide adds what a node's end makes of its out-edges. Those that are all that their target waits for
// are not counted when they are live: it is ready at once.
func decide(want map[string]int64, uncounted map[string]bool, n *plan.Node, s *ledger.NodeState, onFailure string) {
	dead := map[string]bool{}
	passes := ":live"
	switch s.Status {
	case "succeeded":
		for i := range strings.SplitSeq(s.Dead, ",") {
			dead[i] = true
		}
	case "skipped":
		passes = ":dead"
		if s.Reason == "upstream_failed" {
			passes = ":failed"
		}
	case "failed", "unknown":
		if onFailure != plan.Continue {
			return
		}
		passes = ":failed"
	default:
		return
	}
	index := 0
	for i := range n.Successors {
		s := &n.Successors[i]
		for range s.Edges {
			to := passes
			if dead[strconv.Itoa(index)] {
				to = ":dead"
			}
			want[string(s.Target)+to]++
			index++
		}
		if live := string(s.Target) + ":live"; s.Plain && want[live] == int64(s.InDegree) && len(s.Edges) == s.InDegree {
			uncounted[live] = true
		}
	}
}

// story compares a cycle with what the journal tells of it.
func (e *examiner) story(p *entry, x *cycle) {
	e.count(State)
	key := fmt.Sprintf("cycle:%d:status", p.Cycle)
	wrong := func(rule, format string, args ...any) { e.wrong(rule, p.Cycle, "", key, format, args...) }
	status := p.Status
	switch {
	case x.end != "" && status != x.end:
		wrong(Ends, "the cycle is %s; the journal ended it as %s", status, x.end)
	case x.end == "" && p.Ended():
		wrong(Ends, "the cycle is %s; the journal has no end of it", status)
	case x.end == "" && !x.partial && (status == "cancelling") != (x.cancelled != ""):
		wrong(State, "the cycle is %s; that it was cancelled by the journal is %t", status, x.cancelled != "")
	}
	if x.slim {
		return
	}
	if !x.partial {
		e.whole(p, x, wrong)
	}
	for i := range p.nodes {
		e.node(p, x, &p.nodes[i])
	}
}

// whole compares what the journal has told from the cycle's start on.
func (e *examiner) whole(p *entry, x *cycle, wrong func(rule, format string, args ...any)) {
	if p.Cycle != x.number || (x.revision != 0 && p.Revision != x.revision) {
		wrong(State, "it is cycle %d of revision %d; the journal says cycle %d of revision %d", p.Cycle, p.Revision, x.number, x.revision)
	}
	if x.slot != 0 && p.Slot.UnixMilli() != x.slot || (p.Trigger == "slot") != (x.slot != 0) {
		wrong(Slots, "it was started by %s for %s; the journal says slot %s", p.Trigger, instant(p.Slot.UnixMilli()), instant(x.slot))
	}
	stored := map[string]int64{}
	for s, n := range p.Counts {
		stored[string(s)] = n
	}
	for _, s := range keys(stored, x.by) {
		if stored[s] != x.by[s] {
			wrong(Counters, "%s_nodes is %d; the journal counted %d", s, stored[s], x.by[s])
		}
	}
	e.offers(p, x)
}

// offers requires that every offer was answered, or stands in the outbox.
func (e *examiner) offers(p *entry, x *cycle) {
	type offer struct {
		node    ids.NodeID
		attempt int
	}
	posted := map[offer]int{}
	for _, o := range e.lists.outbox[p.UUID] {
		if o.Kind == ledger.KindReady {
			posted[offer{o.Node, o.N}]++
		}
	}
	for id, n := range x.nodes {
		for i, open := range n.offers {
			at := offer{id, i + 1}
			e.count(Offers)
			if posted[at] < open {
				e.wrong(Offers, p.Cycle, id, "outbox", "attempt %d was offered, and the journal does not say what became of the offer", at.attempt)
			} else if posted[at] > open {
				e.wrong(State, p.Cycle, id, "outbox", "the outbox offers attempt %d more often than the journal does", at.attempt)
			}
			delete(posted, at)
		}
	}
	for at := range posted {
		e.wrong(State, p.Cycle, at.node, "outbox", "the outbox offers attempt %d, the journal does not", at.attempt)
	}
}

// node compares one node's record with the journal.
func (e *examiner) node(p *entry, x *cycle, s *ledger.NodeState) {
	n := x.nodes[s.Node]
	if n == nil {
		if x.partial {
			return
		}
		n = &node{state: unseen}
	}
	e.count(State)
	same := true
	switch n.state {
	case unknown, revoked:
	case unseen:
		same = s.Status == "waiting"
	case ready:
		same = (s.Status == "ready" || s.Status == "dispatched") && s.Attempt == n.attempt
	case running:
		same = s.Status == "running" && s.Attempt == n.attempt && s.Token == n.token
	case retrying:
		same = s.Status == "retrying" && s.Attempt == n.attempt
	case final:
		same = string(s.Status) == n.outcome && s.Attempt == n.attempt
		if !same && s.Status == "waiting" {
			e.wrong(Outcomes, p.Cycle, s.Node, nodeKey(p, s.Node), "the node has no record; the journal counted it as %s", n.outcome)
			return
		}
	}
	if !same {
		at := n.state
		if at == final {
			at = state(n.outcome)
		}
		e.wrong(State, p.Cycle, s.Node, nodeKey(p, s.Node), "the node is %s with attempt %d; the journal says %s with attempt %d", s.Status, s.Attempt, at, n.attempt)
	}
}
