package memory

import (
	"slices"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/ledger/memory/mutant"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// place is where the records of one attempt's cycle and node stand.
type place struct {
	ids.Attempt
	base   string // begins the cycle's keys
	cycle  string // key of the cycle's status
	node   string // key of the node's record
	id     string // the cycle's uuid
	caller ids.Epoch
}

func at(a ids.Attempt, epoch ids.Epoch) place {
	base := cycleKey(a.Flow, a.Cycle)
	return place{Attempt: a, base: base, cycle: base + ":status", node: nodeKey(base, a.Node), id: a.UUID.String(), caller: epoch}
}

// of is the place of another node of the same cycle.
func (p place) of(n ids.NodeID) place {
	p.Node, p.node = n, nodeKey(p.base, n)
	return p
}

// here reports whether the place's cycle is the one that its uuid names.
func (l *Ledger) here(p place) bool { return l.get(p.cycle, "uuid") == p.id && l.has(p.cycle, "uuid") }

// open reports whether the cycle takes new work.
func (l *Ledger) open(p place) bool { return l.get(p.cycle, "status") == "running" }

// state returns a node's status and attempt.
func (l *Ledger) state(p place) (task.Status, int) {
	return task.Status(l.get(p.node, "status")), int(l.number(p.node, "attempt"))
}

func offerable(s task.Status) bool { return s == task.Ready || s == task.Dispatched }

func component(n int) string { return "component:" + itoa(int64(n)) }

func (l *Ledger) note(p place, op string, n int, token, worker, detail string) {
	a := p.Attempt
	a.N = n
	l.jot(op, a, p.caller, token, worker, detail)
}

// turnAway journals that a worker was refused, with the token it presented.
func (l *Ledger) turnAway(p place, token, worker, verb, why string) {
	l.note(p, "refused", p.N, token, worker, verb+": "+why)
}

// standing is why an attempt is not the caller's: what the node is by now.
func (l *Ledger) standing(p place) string {
	status, attempt := l.state(p)
	if status == "" {
		status = task.Waiting
	}
	return string(status) + " " + itoa(int64(attempt))
}

// repaired counts and journals a repair.
func (l *Ledger) repaired(p place, kind, cause string, n int, token string) {
	l.add(repairsKey, kind, 1)
	l.note(p, "repair", n, token, "", kind+": "+cause)
}

// hold puts a node into the set of those that wait for the same thing, before the
// write that says so.
func (l *Ledger) hold(p place, waitsFor string) {
	l.join(heldKey(waitsFor), heldMember(p.Attempt))
	l.join(holdsKey, waitsFor)
}

// unhold takes a node out of the set that kept it, after the write that says it is
// not held any more.
func (l *Ledger) unhold(p place, held string) {
	if held != "" {
		l.leave(heldKey(held), heldMember(p.Attempt))
	}
}

func (l *Ledger) makeReady(p place, n int, why string) {
	l.put(p.node, "status", "ready", "attempt", itoa(int64(n)), "ready_at", itoa(l.now))
	l.drop(p.node, "token", "suspect", "blocker", "held", "again")
	l.post(ledger.KindReady, p.Attempt, n)
	l.note(p, "ready", n, "", "", why)
}

// finish writes a node's final status and counts it. Callers have checked that it
// was not counted before.
func (l *Ledger) finish(p place, n int, status task.Status, token, worker, detail string) {
	l.put(p.node, "status", string(status), "attempt", itoa(int64(n)), "completed_at", itoa(l.now))
	l.drop(p.node, "blocker", "suspect", "held", "due")
	l.add(p.cycle, string(status)+"_nodes", 1)
	l.add(p.cycle, "completed_nodes", 1)
	text := string(status)
	if detail != "" {
		text += ": " + detail
	}
	l.note(p, "outcome", n, token, worker, text)
}

// closeCycle ends the cycle when every node is counted.
func (l *Ledger) closeCycle(p place) {
	status := l.get(p.cycle, "status")
	if status != "running" && status != "cancelling" {
		return
	}
	if l.number(p.cycle, "completed_nodes") < l.number(p.cycle, "total_nodes") {
		return
	}
	l.end(p)
}

func (l *Ledger) end(p place) {
	final := l.get(p.cycle, "cause")
	if final == "" {
		final = "completed"
		if l.number(p.cycle, "failed_nodes")+l.number(p.cycle, "unknown_nodes") > 0 && l.get(p.cycle, "on_failure") != plan.Continue {
			final = "failed"
		}
	}
	l.put(p.cycle, "status", final, "completed_at", itoa(l.now))
	l.unrank(activeKey, cycleMember(p.Flow, p.Cycle, p.id))
	whole := ids.Attempt{Flow: p.Flow, Cycle: p.Cycle, UUID: p.UUID}
	l.unrank(timersKey, timerMember("deadline", whole))
	l.add(flowKey(p.Flow, "state"), "active", -1)
	l.add(flowKey(p.Flow, "state"), "cycles_"+final, 1)
	l.rank(closingKey, leaseMember(whole), l.now)
	l.post(ledger.KindClosed, whole, 0)
	l.note(p.of(""), "cycle_end", 0, "", "", final)
}

// spreadEdges counts the decided edges of n into its successors [from, to).
// q's wish is granted for the first nodes that become ready.
func (l *Ledger) spreadEdges(p place, n *plan.Node, from, to int, decided ledger.Decided, q ledger.Next) {
	joins, index, left := p.base+":joins", 0, max(q.Most, 1)
	for i := range n.Successors[:to] {
		s := &n.Successors[i]
		if i < from {
			index += len(s.Edges)
			continue
		}
		var sum [3]int64
		for range s.Edges {
			sum[decided(index)]++
			index++
		}
		name, alone := string(s.Target), s.Plain && sum[ledger.Live] == int64(s.InDegree) // nothing is counted then
		live, dead, failed := sum[ledger.Live], sum[ledger.Dead], sum[ledger.FailedSource]
		if !alone {
			live, dead, failed = l.count(joins, name+":live", live), l.count(joins, name+":dead", dead), l.count(joins, name+":failed", failed)
		}
		target := p.of(s.Target)
		switch {
		case s.Plain && sum[ledger.Live] > 0 && live == int64(s.InDegree):
			switch {
			case l.exists(target.node):
			case left > 0 && slices.Contains(q.Nodes, s.Target):
				l.startDirect(target, q)
				left--
			default:
				l.makeReady(target, 1, "inputs")
			}
		case live+dead+failed >= int64(s.InDegree):
			l.post(ledger.KindDecide, target.Attempt, 0)
		}
	}
}

// count adds to a counter and returns its value.
func (l *Ledger) count(key, field string, n int64) int64 {
	if n == 0 {
		return l.number(key, field)
	}
	return l.add(key, field, n)
}

// spreadOut counts the edges of a node that ended, the first Chunk of them; the
// leader counts the rest.
func (l *Ledger) spreadOut(p place, n *plan.Node, decided ledger.Decided, q ledger.Next) {
	given := min(len(n.Successors), ledger.Chunk)
	l.spreadEdges(p, n, 0, given, decided, q)
	if len(n.Successors) > given {
		l.put(p.node, "spread", itoa(int64(given)))
		l.post(ledger.KindSpread, p.Attempt, 0)
	}
}

// giveUp applies the failure policy to a node that failed for good.
func (l *Ledger) giveUp(p place, attempt int, n *plan.Node, why, policy string) {
	l.putNew(p.cycle, "error", string(p.Node)+": "+why)
	l.post(ledger.KindAlert, p.Attempt, attempt)
	if policy == plan.Continue {
		l.spreadOut(p, n, ledger.AllEdges(ledger.FailedSource), ledger.Next{})
		return
	}
	l.put(p.cycle, component(n.Component), "failed")
	l.post(ledger.KindSweep, p.Attempt, 0)
}

// ending reports whether the cycle or the component takes no more work.
func (l *Ledger) ending(p place, n *plan.Node) bool {
	return !l.open(p) || l.has(p.cycle, component(n.Component))
}

// drained ends a cancelled cycle at once, which no right build does.
func (l *Ledger) drained(p place) {
	if mutant.Active == mutant.CloseNow {
		l.end(p)
	}
}
