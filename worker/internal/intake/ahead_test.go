package intake_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// far is a source far away: it sends no messages for spare slots, and each that it sends
// is on its way for a while.
type far struct {
	w *world

	mu     sync.Mutex
	slots  int
	spare  int
	here   int
	change chan struct{} // closed when one of them changes
	asked  int
	err    error // of every question
}

func newFar(w *world) *far { return &far{w: w, change: make(chan struct{})} }

const trip = 5 * time.Millisecond

func (f *far) Slot(queue string) (taskqueue.Slot, error) {
	s, err := f.w.broker.Consumer().Slot(queue)
	f.update(func() { f.slots++ })
	return &farSlot{s, f}, err
}

func (f *far) Depth(ctx context.Context, queue string) (taskqueue.Depth, error) {
	f.mu.Lock()
	f.asked++
	err := f.err
	f.mu.Unlock()
	if err != nil {
		return taskqueue.Depth{}, err
	}
	return f.w.broker.Admin().Depth(ctx, queue)
}

func (f *far) Spare(_ string, n int) { f.update(func() { f.spare = n }) }

func (f *far) update(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.change)
	f.change = make(chan struct{})
}

// state returns how many questions were asked and how many slots are spare.
func (f *far) state() (asked, spare int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked, f.spare
}

type farSlot struct {
	taskqueue.Slot
	far *far
}

func (s *farSlot) Receive(ctx context.Context) (taskqueue.Delivery, error) {
	f := s.far
	for {
		f.mu.Lock()
		if f.here < f.slots-f.spare {
			f.here++
			f.mu.Unlock()
			break
		}
		change := f.change
		f.mu.Unlock()
		select {
		case <-change:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	select {
	case <-time.After(trip):
	case <-ctx.Done():
	}
	d, err := s.Slot.Receive(ctx)
	if err != nil {
		f.update(func() { f.here-- })
		return nil, err
	}
	return &farDelivery{d, f}, nil
}

type farDelivery struct {
	taskqueue.Delivery
	far *far
}

func (d *farDelivery) Ack() error {
	d.far.update(func() { d.far.here-- })
	return d.Delivery.Ack()
}

func (d *farDelivery) Requeue() error {
	d.far.update(func() { d.far.here-- })
	return d.Delivery.Requeue()
}

// TestAhead: of many short nodes the next is here when a place is left, so no time goes by
// between the two; when there is no more, messages come for free places alone again.
func TestAhead(t *testing.T) {
	bubble(t, func(w *world) {
		f := newFar(w)
		w.source = f
		w.handle("n", takes(50*time.Millisecond))
		w.start(2)
		for range 40 {
			w.offer("n")
		}
		pass(20*50*time.Millisecond + 4*trip) // of 20 turns all but the first few cost no trip
		w.counts(map[string]int{"claim": 40, "complete": 40})
		if _, spare := f.state(); spare != 0 {
			t.Errorf("%d slots are spare at the end of a backlog", spare)
		}
		pass(time.Second)
		asked, spare := f.state()
		if spare != 2 {
			t.Errorf("%d slots are spare when nothing waits, want 2", spare)
		}
		pass(time.Hour)
		if again, _ := f.state(); again != asked {
			t.Errorf("%d questions were asked while nothing ran", again-asked)
		}
		w.stop()
		w.ends()
		w.empty()
	})
}

// TestNoPacksAhead: no message is wanted ahead while those that are here have more tasks than there are places.
func TestNoPacksAhead(t *testing.T) {
	bubble(t, func(w *world) {
		f := newFar(w)
		w.source = f
		w.handle("n", takes(10*time.Millisecond))
		w.start(2)
		for range 40 {
			w.together("n", 8)
		}
		most := 0
		for range 150 {
			pass(10 * time.Millisecond)
			f.mu.Lock()
			most = max(most, f.here)
			f.mu.Unlock()
		}
		if most != 2 {
			t.Errorf("%d messages of many tasks were here for 2 places", most)
		}
		pass(time.Second)
		w.counts(map[string]int{"claim": 320, "complete": 320})
		w.stop()
		w.ends()
		w.empty()
	})
}

// TestNothingAhead of long nodes, without a backlog, and when the broker does not tell.
func TestNothingAhead(t *testing.T) {
	for _, c := range []struct {
		name  string
		took  time.Duration
		nodes int
		err   error
	}{
		{"long nodes", time.Second, 10, nil},
		{"no backlog", 50 * time.Millisecond, 2, nil},
		{"no answers", 50 * time.Millisecond, 10, errors.New("no")},
	} {
		bubble(t, func(w *world) {
			f := newFar(w)
			f.err = c.err
			w.source = f
			w.handle("n", takes(c.took))
			w.start(2)
			for range 10 {
				for range c.nodes {
					w.offer("n")
				}
				for range c.nodes / 2 {
					pass(c.took + 2*trip)
					if _, spare := f.state(); spare != 2 {
						t.Errorf("%s: %d slots are spare, want 2", c.name, spare)
					}
				}
			}
			w.counts(map[string]int{"claim": 10 * c.nodes, "complete": 10 * c.nodes})
			w.stop()
			w.ends()
			w.empty()
		})
	}
}

// TestAheadOfLongNodes: what waits here when nodes begin to take long goes back soon, and
// at once when the worker drains; none of it was claimed.
func TestAheadOfLongNodes(t *testing.T) {
	for _, drains := range []bool{false, true} {
		bubble(t, func(w *world) {
			f := newFar(w)
			w.source = f
			w.handle("n", takes(50*time.Millisecond))
			w.handle("long", takes(20*time.Second))
			w.start(2)
			for range 8 {
				w.offer("n")
			}
			for range 10 {
				w.offer("long")
			}
			pass(4*50*time.Millisecond + 10*trip)
			w.counts(map[string]int{"claim": 10, "complete": 8})
			f.mu.Lock()
			if f.here != 4 {
				t.Errorf("%d messages are here, want 4", f.here)
			}
			f.mu.Unlock()
			after := 300 * time.Millisecond // one that was on its way waits too
			if drains {
				w.stop()
				after = time.Millisecond
			}
			pass(after)
			if d, _ := w.broker.Admin().Depth(t.Context(), queue); d.Ready != 8 {
				t.Errorf("%d messages wait in the queue, want 8", d.Ready)
			}
			w.counts(map[string]int{"claim": 10, "complete": 8})
			w.stop()
			if took := w.ends(); took > 20*time.Second {
				t.Errorf("intake took %s to end", took)
			}
			w.counts(map[string]int{"claim": 10, "complete": 10})
			for range 8 {
				if w.left(queue) == nil {
					t.Error("a message is lost")
				}
			}
		})
	}
}
