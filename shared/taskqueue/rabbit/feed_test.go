package rabbit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/rabbit"
)

// idle makes the slot one that the broker sends a message for, and that waits for none.
func idle(t *testing.T, s taskqueue.Slot) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if d, err := s.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("receive: %v, %v", d, err)
	}
}

func slots(t *testing.T, c *rabbit.Consumer, queue string, n int) []taskqueue.Slot {
	t.Helper()
	all := make([]taskqueue.Slot, n)
	for i := range all {
		var err error
		if all[i], err = c.Slot(queue); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestIdleSlotsHandBack: what has arrived for slots that are closed goes back, and no
// more than that.
func TestIdleSlotsHandBack(t *testing.T) {
	b := newBench(t)
	c := rabbit.NewConsumer(b.cfg)
	start(t, b.publisher, c)
	all := slots(t, c, b.queue, 3)
	for _, s := range all {
		idle(t, s)
	}
	ready := func() int {
		d, err := b.admin.Depth(t.Context(), b.queue)
		if err != nil {
			return -1
		}
		return d.Ready
	}
	for range 4 {
		resolves(t, b.publish(t, b.queue), nil)
	}
	for closed, s := range all {
		until(t, "messages are with the slots", func() bool { return ready() == closed+1 })
		must(t, s.Close())
	}
	until(t, "all are back", func() bool { return ready() == 4 })
}

// TestRenewal: a channel that is old is replaced while a slot waits, and what another
// slot holds from the old one stays its own.
func TestRenewal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := rabbit.NewConsumer(b.cfg)
	start(t, b.publisher, c)
	all := slots(t, c, b.queue, 2)
	resolves(t, b.publish(t, b.queue), nil)
	held, err := all[0].Receive(t.Context())
	must(t, err)
	for range 3 { // the slot waits for longer than a channel lives, each time
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		d, err := all[1].Receive(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("receive: %v, %v", d, err)
		}
		resolves(t, b.publish(t, b.queue), nil)
		d, err = all[1].Receive(t.Context())
		must(t, err)
		must(t, d.Ack())
	}
	must(t, held.Ack())
	for _, s := range all {
		must(t, s.Close())
	}
	until(t, "nothing is left", func() bool {
		d, err := b.admin.Depth(t.Context(), b.queue)
		return err == nil && d == taskqueue.Depth{}
	})
}

// TestHandedBackIsNotSentAgain to the slot that handed it back, before it asks.
func TestHandedBackIsNotSentAgain(t *testing.T) {
	b := newBench(t)
	c := rabbit.NewConsumer(b.cfg)
	start(t, b.publisher, c)
	s := slots(t, c, b.queue, 1)[0]
	for range 3 {
		resolves(t, b.publish(t, b.queue), nil)
	}
	for range 3 {
		d, err := s.Receive(t.Context())
		must(t, err)
		must(t, d.Requeue())
		until(t, "all three wait, with no consumer", func() bool {
			d, err := b.admin.Depth(t.Context(), b.queue)
			return err == nil && d == taskqueue.Depth{Ready: 3}
		})
	}
	must(t, s.Close())
}
