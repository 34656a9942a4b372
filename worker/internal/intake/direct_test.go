package intake_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/worker/internal/claims"
)

// line makes every node the head of a long line of nodes of that type, each of which may
// be claimed with the report of the one before. It returns what was asked for so far.
func (w *world) line(nodeType string) (wishes func() [][]ids.NodeID) {
	var mu sync.Mutex
	var all [][]ids.NodeID
	edge := []plan.Edge{{SourceHandle: plan.DefaultHandle}}
	w.heirs = []plan.Successor{{Target: "other", InDegree: 1, Edges: edge, Direct: "not carried"}, {Target: "far", InDegree: 1, Edges: edge},
		{Target: "next", InDegree: 1, Edges: edge, Direct: nodeType}}
	w.next = func(c ledger.Completion, q ledger.Next) []ledger.Claim {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, q.Nodes)
		if len(q.Nodes) == 0 {
			return nil
		}
		a := c.Attempt
		a.Node = q.Nodes[0]
		return []ledger.Claim{{Attempt: a, Token: q.Token, Node: plan.Node{ID: a.Node, Type: nodeType, Timeout: time.Hour, Delivery: plan.AtLeastOnce, Successors: w.heirs}}}
	}
	return func() [][]ids.NodeID {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// TestDirectHops: while a place is idle a line of nodes runs without messages, and ends
// with the worker's stop.
func TestDirectHops(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(time.Second))
		wishes := w.line("n")
		w.start(2)
		w.offer("n")
		pass(3500 * time.Millisecond)
		w.log("claim", "complete succeeded", "complete succeeded", "complete succeeded")
		w.stop()
		if took := w.ends(); took > time.Second {
			t.Errorf("took %s to end", took)
		}
		w.empty()
		got := wishes()
		for i, q := range got {
			if last := i == len(got)-1; last != (len(q) == 0) || !last && q[0] != "next" {
				t.Errorf("report %d of %d wished %q", i, len(got), q)
			}
		}
	})
}

// TestADirectHopKeepsItsSlot: what comes meanwhile is left to others as soon as the other
// places are taken.
func TestADirectHopKeepsItsSlot(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(time.Second))
		w.handle("long", takes(time.Hour))
		w.line("n")
		w.start(2)
		w.offer("n")
		pass(1500 * time.Millisecond)
		w.offer("long")
		w.offer("long")
		pass(time.Millisecond)
		if n := w.asked("claim"); n != 2 {
			t.Errorf("%d messages were claimed at two places", n)
		}
		if d := w.left(queue); d == nil || d.Redelivered() {
			t.Errorf("the message that nobody has a place for: %v", d)
		}
		w.stop()
		w.ends()
	})
}

// TestWishes: what can't become ready by a report is not asked for, nor, where places are
// short, what rarely does.
func TestWishes(t *testing.T) {
	edges := func(handles ...string) (all []plan.Edge) {
		for _, h := range handles {
			all = append(all, plan.Edge{SourceHandle: h})
		}
		return all
	}
	const out, none = plan.DefaultHandle, "none"
	for name, x := range map[string]struct {
		slots int
		want  string
	}{"idle": {2, "[alone pair big]"}, "busy": {1, "[alone pair]"}} {
		bubble(t, func(w *world) {
			w.handle("n", takes(0))
			wishes := w.line("n")
			w.heirs = []plan.Successor{{Target: "off", InDegree: 1, Edges: edges(none), Direct: "n"}, {Target: "alone", InDegree: 1, Edges: edges(out), Direct: "n"},
				{Target: "half", InDegree: 3, Edges: edges(out, none), Direct: "n"}, {Target: "pair", InDegree: 4, Edges: edges(out, out), Direct: "n"},
				{Target: "big", InDegree: 3, Edges: edges(out), Direct: "n"}, {Target: "last", InDegree: 1, Edges: edges(out), Direct: "m"}}
			granted := w.next
			w.next = func(c ledger.Completion, q ledger.Next) []ledger.Claim {
				granted(c, q)
				return nil
			}
			w.start(x.slots)
			w.offer("n")
			pass(time.Second)
			if got := fmt.Sprint(wishes()[0]); got != x.want {
				t.Errorf("%s: wished %s, want %s", name, got, x.want)
			}
			w.stop()
			w.ends()
		})
	}
}

// TestNobodyWaitsLongForDirectHops: with every place taken, one successor follows a task,
// and then what the queue has is next.
func TestNobodyWaitsLongForDirectHops(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(time.Second))
		wishes := w.line("n")
		w.start(1)
		for range 3 {
			w.offer("n")
		}
		pass(5500 * time.Millisecond)
		for i, q := range wishes() {
			if (i%2 == 0) != (len(q) != 0) {
				t.Errorf("report %d wished %q", i, q)
			}
		}
		if n := w.asked("claim"); n != 3 {
			t.Errorf("%d of 3 messages were claimed after five and a half seconds", n)
		}
		w.stop()
		w.ends()
	})
}

// TestALineOfShortNodesGoesOn: with every place taken, short nodes follow each other for some
// time before what the queue has is next.
func TestALineOfShortNodesGoesOn(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(10*time.Millisecond))
		wishes := w.line("n")
		w.start(1)
		w.offer("n")
		w.offer("n")
		pass(45 * time.Millisecond)
		got := wishes()
		if len(got) != 4 || len(got[2]) == 0 || len(got[3]) != 0 {
			t.Errorf("after 45 ms the reports wished %q, want three wishes and none", got)
		}
		if n := w.asked("claim"); n != 2 {
			t.Errorf("%d of 2 messages were claimed after 45 ms", n)
		}
		w.stop()
		w.ends()
	})
}

// TestQueueOnly: no successor is asked for.
func TestQueueOnly(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(time.Second))
		wishes := w.line("n")
		w.queueOnly = true
		w.start(4)
		w.offer("n")
		pass(5 * time.Second)
		if got := wishes(); len(got) != 1 || len(got[0]) != 0 {
			t.Errorf("wished %q", got)
		}
		w.stop()
		w.ends()
	})
}

// TestADirectHopIsInterrupted as any task: lost claims are not reported as failures, and
// what the grace doesn't suffice for is handed back.
func TestADirectHopIsInterrupted(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(time.Minute))
		w.line("n")
		w.start(2)
		w.offer("n")
		pass(70 * time.Second)
		w.log("claim", "complete succeeded")
		w.stop()
		if took := w.ends(); took != grace {
			t.Errorf("took %s to end", took)
		}
		w.log("claim", "complete succeeded", "release")
		w.empty()
	})
	bubble(t, func(w *world) {
		w.handle("n", takes(time.Minute))
		w.line("n")
		w.start(2)
		w.offer("n")
		pass(70 * time.Second)
		w.loses(claims.ErrLost)
		pass(time.Second)
		w.log("claim", "complete succeeded", "release")
		w.stop()
		w.ends()
	})
}
