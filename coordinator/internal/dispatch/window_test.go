package dispatch

import (
	"testing"
	"time"
)

// drain has the window offer messages of one node, and the workers take them all before each of the answers.
func drain(w *window, now time.Time, messages, answers int) time.Time {
	for range answers {
		for range messages {
			w.offered(1, now)
		}
		now = now.Add(10 * time.Millisecond)
		w.asked, w.then, w.later, w.messages = now, w.nodes, 0, 0
		w.answer(0, now)
	}
	return now
}

// TestSlotsThatAreGoneWorkedOnNothing: what they held is no sign of how fast the workers are.
func TestSlotsThatAreGoneWorkedOnNothing(t *testing.T) {
	var w window
	w.resize(16, 2)
	now := drain(&w, time.UnixMilli(1000), 15, 3) // 30 messages after the first answer: two for each slot may lie there
	if w.rate > 0 || w.best > 0 {
		t.Fatalf("rate %.0f, best %.0f of slots that were empty", w.rate, w.best)
	}
	w.resize(4, 1)
	now = drain(&w, now, 0, 2)
	if w.rate > 0 || w.best > 0 {
		t.Errorf("rate %.0f, best %.0f after slots were lost", w.rate, w.best)
	}
	drain(&w, now, 10, 4)
	if w.rate == 0 || w.best == 0 {
		t.Errorf("rate %.0f, best %.0f after more was taken than slots can hold", w.rate, w.best)
	}
}

// TestARateIsForgotten: both of them, whichever is known.
func TestARateIsForgotten(t *testing.T) {
	for _, known := range []struct{ rate, best float64 }{{100, 0}, {0, 100}, {100, 200}} {
		now := time.UnixMilli(1_000_000)
		w := window{rate: known.rate, best: known.best, learned: now, read: now}
		w.forget(now.Add(fresh))
		if w.rate != known.rate || w.best != known.best {
			t.Errorf("forgotten after %s: %.0f, %.0f", fresh, w.rate, w.best)
		}
		w.forget(now.Add(fresh + 1))
		if w.rate != 0 || w.best != 0 || !w.read.IsZero() {
			t.Errorf("not forgotten: %.0f, %.0f", w.rate, w.best)
		}
	}
}
