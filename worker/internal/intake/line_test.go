package intake_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/worker/internal/intake"
	"github.com/tradingflow/weather-station/worker/node"
)

// tree is the nodes that follow the one whose message is offered: b, c and d, and e after each
// of them. All are of one type, and are granted with a report as far as it asks for them.
type tree struct {
	mu     sync.Mutex
	wishes map[ids.NodeID]ledger.Next
	began  []string // "node at ms"
	start  time.Time
}

// grow handles nodes of a type so, each of them for as long as took says.
func (w *world) grow(nodeType string, took func(n ids.NodeID) time.Duration) *tree {
	t := &tree{wishes: map[ids.NodeID]ledger.Next{}, start: time.Now()}
	to := func(targets ...ids.NodeID) (out []plan.Successor) {
		for _, n := range targets {
			out = append(out, plan.Successor{Target: n, InDegree: 1, Edges: []plan.Edge{{SourceHandle: plan.DefaultHandle}}, Direct: nodeType})
		}
		return out
	}
	w.heirs = to("b", "c", "d")
	w.next = func(c ledger.Completion, q ledger.Next) (claims []ledger.Claim) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.wishes[c.Attempt.Node] = q
		if c.Attempt.Node == "other" {
			return nil
		}
		for _, n := range q.Nodes[:min(len(q.Nodes), max(q.Most, 1))] {
			a := c.Attempt
			a.Node = n
			x := plan.Node{ID: n, Type: nodeType, Timeout: time.Hour, Delivery: plan.AtLeastOnce}
			if n != "e" {
				x.Successors = to("e")
			}
			claims = append(claims, ledger.Claim{Attempt: a, Token: q.Token, Node: x})
		}
		return claims
	}
	w.handle(nodeType, func(ctx context.Context, in *node.Input) (node.Result, error) {
		t.mu.Lock()
		t.began = append(t.began, fmt.Sprintf("%s at %d", in.Node, time.Since(t.start).Milliseconds()))
		t.mu.Unlock()
		return takes(took(in.Node))(ctx, in)
	})
	return t
}

// again forgets what was and begins to count anew.
func (t *tree) again() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wishes, t.began, t.start = map[ids.NodeID]ledger.Next{}, nil, time.Now()
}

// runs demands that these nodes ran, in any order.
func (t *tree) runs(tt *testing.T, want ...string) {
	tt.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Equal(slices.Sorted(slices.Values(t.began)), slices.Sorted(slices.Values(want))) {
		tt.Errorf("ran %v, want %v", t.began, want)
	}
}

func (t *tree) wished(n ids.NodeID) ledger.Next {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wishes[n]
}

// grown starts a worker of so many places that knows nodes of type n to be brief. Those that are slow take as long
// as is said with the function it returns.
func (w *world) grown(places int, slow func(ids.NodeID) bool) (t *tree, last func(time.Duration)) {
	w.t.Helper()
	var lasts atomic.Int64
	t = w.grow("n", func(n ids.NodeID) time.Duration {
		if slow(n) {
			return time.Duration(lasts.Load())
		}
		return 0
	})
	w.start(places)
	w.offer("n")
	pass(time.Second)
	if q := t.wished("n"); len(q.Nodes) == 0 || q.Most > 1 {
		w.t.Errorf("the first node of its type wished %d of %v", q.Most, q.Nodes)
	}
	t.again()
	return t, func(d time.Duration) { lasts.Store(int64(d)) }
}

func heirs(n ids.NodeID) bool { return n != "n" }
func onlyB(n ids.NodeID) bool { return n == "b" }

// TestBriefNodesComeTogether: at idle places they run at the same time.
func TestBriefNodesComeTogether(t *testing.T) {
	bubble(t, func(w *world) {
		tr, last := w.grown(3, heirs)
		last(20 * time.Millisecond)
		w.offer("n")
		pass(10 * time.Millisecond)
		tr.runs(t, "n at 0", "b at 0", "c at 0", "d at 0")
		if q := tr.wished("n"); q.Most < 3 {
			t.Errorf("wished %d of %v", q.Most, q.Nodes)
		}
		if n := w.asked("claim"); n != 2 {
			t.Errorf("%d claims by message, want the first node's", n)
		}
		pass(time.Second)
		w.stop()
		w.ends()
		w.empty()
	})
}

// TestALineAtOnePlace: where no other place is free, those that came together follow each other, and what a
// report gets that has passed its place on comes after them. The message is theirs until all have ended.
func TestALineAtOnePlace(t *testing.T) {
	bubble(t, func(w *world) {
		tr, last := w.grown(1, heirs)
		last(5 * time.Millisecond)
		w.offer("n")
		w.offer("n")
		pass(time.Second)
		tr.runs(t, "n at 0", "b at 0", "c at 5", "d at 10", "e at 15", "e at 20", "e at 25",
			"n at 30", "b at 30", "e at 35") // they are not brief any more
		w.stop()
		w.ends()
		w.empty()
	})
}

// TestAClaimThatFindsNoPlace goes back when the node before it turns out to be long.
func TestAClaimThatFindsNoPlace(t *testing.T) {
	bubble(t, func(w *world) {
		tr, last := w.grown(1, onlyB)
		last(time.Second)
		before := w.asked("release")
		w.offer("n")
		pass(99 * time.Millisecond)
		if n := w.asked("release") - before; n != 0 {
			t.Errorf("%d claims were handed back at once", n)
		}
		pass(2 * time.Millisecond)
		if n := w.asked("release") - before; n != 2 {
			t.Errorf("%d claims were handed back that found no place, want 2", n)
		}
		tr.runs(t, "n at 0", "b at 0")
		pass(10 * time.Second)
		w.stop()
		w.ends()
		w.empty()
	})
}

// TestOthersTakeThePlaceOfALine: a place that is left elsewhere will do, and none is kept twice.
func TestOthersTakeThePlaceOfALine(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("other", takes(50*time.Millisecond))
		w.handle("long", takes(time.Hour))
		tr, last := w.grown(2, onlyB)
		last(time.Second)
		w.offer("other")
		pass(time.Millisecond)
		w.offer("n")
		pass(70 * time.Millisecond)
		tr.runs(t, "n at 1", "b at 1", "c at 50", "d at 50", "e at 50", "e at 50")
		pass(10 * time.Second)
		before := w.asked("claim")
		for range 3 {
			w.offer("long")
		}
		pass(time.Millisecond)
		if n := w.asked("claim") - before; n != 2 {
			t.Errorf("%d messages were claimed at two places", n)
		}
		w.stop()
		w.ends()
	})
}

// TestALineIsLeftAtTheEnd: what waits for a place when the worker is killed is nobody's work, and
// what waits when it drains is done within the grace.
func TestALineIsLeftAtTheEnd(t *testing.T) {
	for _, killed := range []bool{false, true} {
		bubble(t, func(w *world) {
			tr, last := w.grown(1, onlyB)
			last(50 * time.Millisecond)
			w.offer("n")
			pass(10 * time.Millisecond)
			if killed {
				close(w.killed)
				if err := <-w.done; !errors.Is(err, intake.ErrKilled) {
					t.Errorf("ended with %v", err)
				}
				tr.runs(t, "n at 0", "b at 0")
				w.back()
			} else {
				w.stop()
				if took := w.ends(); took > 50*time.Millisecond {
					t.Errorf("took %s to end", took)
				}
				tr.runs(t, "n at 0", "b at 0", "c at 50", "d at 50")
				w.empty()
			}
		})
	}
}

// TestALineIsBounded: where every node lets four others go, most of them are left to the queue, none is
// handed back, and a message that comes has a place when the line has had its turn.
func TestALineIsBounded(t *testing.T) {
	bubble(t, func(w *world) {
		var mu sync.Mutex
		granted, began := 0, time.Duration(0)
		start := time.Now()
		four := func(n ids.NodeID) (out []plan.Successor) {
			for i := range 4 {
				out = append(out, plan.Successor{Target: ids.NodeID(fmt.Sprintf("%s%d", n, i)), InDegree: 1, Edges: []plan.Edge{{SourceHandle: plan.DefaultHandle}}, Direct: "n"})
			}
			return out
		}
		w.heirs = four("n")
		w.next = func(c ledger.Completion, q ledger.Next) (claims []ledger.Claim) {
			mu.Lock()
			defer mu.Unlock()
			for _, n := range q.Nodes[:min(len(q.Nodes), max(q.Most, 1))] {
				granted++
				a := c.Attempt
				a.Node = n
				claims = append(claims, ledger.Claim{Attempt: a, Token: q.Token, Node: plan.Node{ID: n, Type: "n", Timeout: time.Hour, Delivery: plan.AtLeastOnce, Successors: four(n)}})
			}
			return claims
		}
		w.handle("n", takes(500*time.Microsecond))
		w.handle("m", func(context.Context, *node.Input) (node.Result, error) {
			mu.Lock()
			defer mu.Unlock()
			began = time.Since(start)
			return node.Result{Stop: true}, nil
		})
		w.start(1)
		w.offer("n")
		pass(2 * time.Millisecond)
		w.offer("m")
		pass(time.Second)
		if n := w.asked("release"); n != 0 {
			t.Errorf("%d claims were handed back", n)
		}
		mu.Lock()
		if began == 0 || began > 70*time.Millisecond || granted < 50 {
			t.Errorf("the message had a place after %s, %d nodes came directly", began, granted)
		}
		mu.Unlock()
		w.stop()
		w.ends()
	})
}
