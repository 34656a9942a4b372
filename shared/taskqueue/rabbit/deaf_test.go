package rabbit_test

import (
	"context"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/rabbit"
)

// RabbitMQ moves a consumer to a queue that was declared again before the consumer
// could be told of the deletion, and sends it nothing any more.
func TestForgottenConsumer(t *testing.T) {
	b := newBench(t)
	consumer := rabbit.NewConsumer(b.cfg)
	start(t, b.publisher, consumer)
	slot, err := consumer.Slot(b.queue)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan taskqueue.Delivery)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			d, err := slot.Receive(ctx)
			if err != nil {
				return
			}
			if err := d.Ack(); err != nil {
				continue // it comes again
			}
			select {
			case got <- d:
			case <-ctx.Done():
				return
			}
		}
	}()
	for range 3 {
		until(t, "a consumer", func() bool {
			d, err := b.admin.Depth(t.Context(), b.queue)
			return err == nil && d.Consumers == 1
		})
		if err := b.admin.Delete(t.Context(), b.queue); err != nil {
			t.Fatal(err)
		}
		if err := b.admin.Ensure(t.Context(), b.queue); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		resolves(t, b.publish(t, b.queue), nil)
		select {
		case <-got:
			t.Logf("received after %s", time.Since(began))
		case <-time.After(15 * time.Second):
			t.Fatal("the message is not received")
		}
	}
	cancel()
	<-ended
}
