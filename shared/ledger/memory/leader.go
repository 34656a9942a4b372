package memory

import (
	"context"
	"slices"
	"strings"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/ledger/memory/mutant"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// Dispatched records that the broker stored these offers.
func (l *Ledger) Dispatched(_ context.Context, epoch ids.Epoch, done []ledger.Entry) error {
	defer l.begin()()
	if err := l.fence("dispatched", epoch); err != nil {
		return err
	}
	for _, e := range done {
		p := at(e.Attempt, epoch)
		first := l.removeEntry(e.ID)
		if mutant.Active == mutant.XdelNoID {
			for _, o := range slices.Clone(l.outbox.items) {
				if o.value.Kind == ledger.KindReady && o.value.Node == e.Node && o.value.UUID == e.UUID {
					first = l.removeEntry(o.value.ID) || first
				}
			}
		}
		if !l.here(p) {
			continue
		}
		status, attempt := l.state(p)
		ready := status == task.Ready && attempt == e.N && l.get(p.node, "held") == ""
		if mutant.Active == mutant.Overwrite {
			ready = true
		}
		if ready {
			l.put(p.node, "status", "dispatched", "dispatched_at", itoa(l.now))
		}
		if first {
			l.note(p, "dispatch", e.N, "", "", "")
		}
	}
	return nil
}

// Drop removes entries that were acted on.
func (l *Ledger) Drop(_ context.Context, epoch ids.Epoch, entryIDs ...string) error {
	defer l.begin()()
	if err := l.fence("drop_entries", epoch); err != nil {
		return err
	}
	for _, id := range entryIDs {
		l.removeEntry(id)
	}
	return nil
}

// Decide carries out the leader's verdict on a node whose inputs are decided.
func (l *Ledger) Decide(_ context.Context, epoch ids.Epoch, e ledger.Entry, n *plan.Node, v ledger.Verdict) error {
	defer l.begin()()
	if err := l.fence("decide", epoch); err != nil {
		return err
	}
	p := at(e.Attempt, epoch).of(n.ID)
	open := l.here(p) && !l.ending(p, n) && !l.exists(p.node)
	joins, name := p.base+":joins", string(n.ID)
	if open && (l.number(joins, name+":live") != int64(v.Live) || l.number(joins, name+":dead") != int64(v.Dead) ||
		l.number(joins, name+":failed") != int64(v.Failed)) {
		return nil
	}
	if e.ID != "" {
		l.removeEntry(e.ID)
	}
	switch {
	case !open:
		return nil
	case v.Run:
		l.makeReady(p, 1, v.Reason)
		return nil
	}
	l.put(p.node, "status", string(task.Skipped), "reason", v.Reason)
	l.finish(p, 0, task.Skipped, "", "", v.Reason)
	l.spreadOut(p, n, ledger.AllEdges(v.Passes), ledger.Next{})
	l.closeCycle(p)
	return nil
}

// SpreadFrom returns how far a spread has come, and whether one is under way.
func (l *Ledger) SpreadFrom(_ context.Context, e ledger.Entry) (int, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.hashes[spreadKey(at(e.Attempt, 0))]["spread"]
	return int(number(v)), ok, nil
}

// spreadKey is where the cursor of a spread stands: of a node, or of the cycle
// for its entry nodes.
func spreadKey(p place) string {
	if p.Node == "" {
		return p.cycle
	}
	return p.node
}

// SpreadEdges counts one more part of a node's decided edges.
func (l *Ledger) SpreadEdges(_ context.Context, epoch ids.Epoch, e ledger.Entry, n *plan.Node, from int, decided ledger.Decided) (int, error) {
	next := min(from+ledger.SpreadChunk, len(n.Successors))
	return next, l.spreadPart(epoch, e, from, next, next == len(n.Successors), func(p place) {
		l.spreadEdges(p.of(n.ID), n, from, next, decided, ledger.Next{})
	})
}

// SpreadEntries offers one more part of a cycle's entry nodes.
func (l *Ledger) SpreadEntries(_ context.Context, epoch ids.Epoch, e ledger.Entry, all []*plan.Node, from int) (int, error) {
	next := min(from+ledger.SpreadChunk, len(all))
	return next, l.spreadPart(epoch, e, from, next, next == len(all), func(p place) {
		for _, n := range all[from:next] {
			if q := p.of(n.ID); !l.exists(q.node) {
				l.makeReady(q, 1, "entry")
			}
		}
	})
}

func (l *Ledger) spreadPart(epoch ids.Epoch, e ledger.Entry, from, next int, last bool, do func(place)) error {
	defer l.begin()()
	if err := l.fence("spread", epoch); err != nil {
		return err
	}
	p := at(e.Attempt, epoch)
	if !l.here(p) || !l.open(p) {
		if last {
			l.removeEntry(e.ID)
		}
		return ledger.ErrGone
	}
	key := spreadKey(p)
	if cursor, ok := l.hashes[key]["spread"]; !ok || number(cursor) != int64(from) {
		return nil
	}
	l.put(key, "spread", itoa(int64(next)))
	do(p)
	if last {
		l.drop(key, "spread")
		l.removeEntry(e.ID)
	}
	return nil
}

// Sweep gives the nodes that do not run a final status.
func (l *Ledger) Sweep(_ context.Context, epoch ids.Epoch, e ledger.Entry, status, reason string, nodes []ids.NodeID) error {
	defer l.begin()()
	if err := l.fence("sweep", epoch); err != nil {
		return err
	}
	p := at(e.Attempt, epoch)
	if e.ID != "" {
		l.removeEntry(e.ID)
	}
	cancelling := l.get(p.cycle, "status") == "cancelling"
	if !l.here(p) || !l.open(p) && !cancelling {
		return nil
	}
	ending := cancelling
	if strings.Contains(string(e.Node), ":") {
		ending = l.has(p.cycle, string(e.Node))
	} else if e.Node != "" {
		s, _ := l.state(p)
		ending = s == task.Failed || s == task.Unknown || s == task.Stopped
	}
	if !ending { // the ledger went back in time
		return nil
	}
	for _, id := range nodes {
		q := p.of(id)
		s, attempt := l.state(q)
		if s.Final() || s == task.Running {
			continue
		}
		q.N = attempt
		l.unrank(timersKey, timerMember("retry", q.Attempt), timerMember("offer", q.Attempt))
		l.unhold(q, l.get(q.node, "held"))
		l.put(q.node, "status", status, "reason", reason)
		l.finish(q, attempt, task.Status(status), "", "", reason)
	}
	l.closeCycle(p)
	return nil
}

// Hold sets an offer aside until somebody releases what it waits for.
func (l *Ledger) Hold(_ context.Context, epoch ids.Epoch, e ledger.Entry, waitsFor, blocker string) error {
	defer l.begin()()
	if err := l.fence("hold", epoch); err != nil {
		return err
	}
	p := at(e.Attempt, epoch)
	first := l.removeEntry(e.ID)
	status, attempt := l.state(p)
	if !l.here(p) || status != task.Ready || attempt != e.N {
		if first && l.here(p) {
			l.note(p, "dropped", e.N, "", "", blocker)
		}
		return nil
	}
	before := l.get(p.node, "held")
	l.hold(p, waitsFor)
	l.put(p.node, "blocker", blocker, "held", waitsFor)
	if before != waitsFor {
		l.unhold(p, before)
	}
	if !first {
		blocker += ", again"
	}
	l.note(p, "held", e.N, "", "", blocker)
	return nil
}

// ReleaseHeld offers everything again that waits for one thing.
func (l *Ledger) ReleaseHeld(_ context.Context, epoch ids.Epoch, waitsFor, entryID string) (int64, error) {
	defer l.begin()()
	if err := l.fence("release_held", epoch); err != nil {
		return 0, err
	}
	var offered int64
	for _, member := range sortedNames(l.sets[heldKey(waitsFor)]) {
		if a, err := parseMember(member); err == nil {
			p := at(a, epoch)
			status, attempt := l.state(p)
			if l.here(p) && offerable(status) && attempt == a.N && l.get(p.node, "held") == waitsFor {
				l.makeReady(p, a.N, "released")
				offered++
			}
		}
		l.leave(heldKey(waitsFor), member)
	}
	l.leave(holdsKey, waitsFor)
	if entryID != "" {
		l.removeEntry(entryID)
	}
	return offered, nil
}

// ReleaseFlow is ReleaseHeld for a resumed flow.
func (l *Ledger) ReleaseFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, entryID string) (int64, error) {
	return l.ReleaseHeld(ctx, epoch, "flow:"+string(f), entryID)
}

// PruneHold forgets a reason that no offer waits for any more.
func (l *Ledger) PruneHold(_ context.Context, epoch ids.Epoch, waitsFor string) error {
	defer l.begin()()
	if err := l.fence("release_held", epoch); err != nil {
		return err
	}
	if len(l.sets[heldKey(waitsFor)]) == 0 {
		l.leave(holdsKey, waitsFor)
	}
	return nil
}

// Holds lists what held offers wait for.
func (l *Ledger) Holds(context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return sortedNames(l.sets[holdsKey]), nil
}
