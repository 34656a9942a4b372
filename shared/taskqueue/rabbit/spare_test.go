package rabbit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/relay"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/rabbit"
)

// TestSpare: no message is sent for a spare slot, whichever of them that is, and what is
// here when more slots are spare stays.
func TestSpare(t *testing.T) {
	b := newBench(t)
	c := rabbit.NewConsumer(b.cfg)
	start(t, b.publisher, c)
	c.Spare(b.queue, 2)
	all := slots(t, c, b.queue, 4)
	got := make(chan taskqueue.Delivery)
	for _, s := range all {
		go func() {
			for {
				d, err := s.Receive(t.Context())
				if err != nil {
					return
				}
				got <- d
			}
		}()
	}
	for range 8 {
		resolves(t, b.publish(t, b.queue), nil)
	}
	depth := func(want int) {
		t.Helper()
		until(t, "messages wait in the queue", func() bool {
			d, err := c.Depth(t.Context(), b.queue)
			return err == nil && d.Ready == want
		})
	}
	held := []taskqueue.Delivery{<-got, <-got}
	depth(6)
	must(t, held[0].Ack()) // one more for its slot, or for another
	held[0] = <-got
	depth(5)
	c.Spare(b.queue, 0)
	held = append(held, <-got, <-got)
	depth(3)
	c.Spare(b.queue, 2)
	for _, d := range held[:2] {
		must(t, d.Ack())
	}
	select {
	case <-got:
		t.Error("a message came for a spare slot")
	case <-time.After(300 * time.Millisecond):
	}
	depth(3)
	must(t, held[2].Requeue())
	must(t, held[3].Ack())
	held = []taskqueue.Delivery{<-got, <-got}
	for _, d := range held {
		must(t, d.Ack())
	}
	for range 2 {
		must(t, (<-got).Ack())
	}
	depth(0)
	for _, s := range all {
		must(t, s.Close())
	}
}

// TestDepthOfAConsumer: questions without an answer keep nobody, and the next connection
// answers again.
func TestDepthOfAConsumer(t *testing.T) {
	b := newBench(t)
	c := rabbit.NewConsumer(b.cfg)
	if _, err := c.Depth(t.Context(), b.queue); !errors.Is(err, taskqueue.ErrDisconnected) {
		t.Errorf("without a connection: %v", err)
	}
	start(t, b.publisher, c)
	resolves(t, b.publish(t, b.queue), nil)
	until(t, "the queue tells", func() bool {
		d, err := c.Depth(t.Context(), b.queue)
		return err == nil && d.Ready == 1
	})
	if _, err := c.Depth(t.Context(), b.queue+"-none"); err == nil {
		t.Error("a queue that is not there has a depth")
	}
	b.fault(t, relay.Faults{Hole: relay.Both})
	for range 2 { // the second one finds the first still out
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := c.Depth(ctx, b.queue); err == nil {
			t.Error("a broker that can't be reached has answered")
		}
		cancel()
	}
	b.fault(t, relay.Faults{Cut: true})
	b.fault(t, relay.Faults{})
	until(t, "the next connection answers", func() bool {
		d, err := c.Depth(t.Context(), b.queue)
		return err == nil && d.Ready == 1
	})
}
