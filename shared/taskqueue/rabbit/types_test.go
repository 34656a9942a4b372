package rabbit_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/relay"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/rabbit"
)

func TestParseTypes(t *testing.T) {
	got, err := rabbit.ParseTypes(rabbit.Auto, []string{"research=transient", " live=quorum"})
	if want := map[string]string{"research": rabbit.Transient, "live": rabbit.Quorum}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	_, err = rabbit.ParseTypes("stream", []string{"research", "live=mirrored", "a b=quorum", "x=auto", "x=classic"})
	if err == nil {
		t.Fatal("faults are taken")
	}
	for _, want := range []string{`"stream"`, `"research"`, `"mirrored"`, "a b", `"x" has two`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
}

// as returns the settings of b for another type of queues.
func (b bench) as(kind string) rabbit.Config {
	cfg := b.cfg
	cfg.QueueType = kind
	return cfg
}

// takes receives the next message.
func takes(t *testing.T, s taskqueue.Slot, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d, err := s.Receive(ctx)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if err := d.Ack(); err != nil {
		t.Fatalf("%s: ack: %v", what, err)
	}
}

// TestTheLeadersTypeCounts: workers consume whatever queue there is; the first message
// of a publisher that wants another type replaces the queue, under its consumers, and
// nothing is lost from then on. Opening the way to a queue changes nothing.
func TestTheLeadersTypeCounts(t *testing.T) {
	b := newBench(t)
	maker := rabbit.NewAdmin(b.as(rabbit.Classic))
	worker := rabbit.NewConsumer(b.as(rabbit.Classic))
	start(t, maker, worker, b.publisher)
	if err := maker.Ensure(t.Context(), b.queue); err != nil {
		t.Fatal(err)
	}
	slot, err := worker.Slot(b.queue)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		for {
			d, err := slot.Receive(ctx)
			if err != nil {
				return
			}
			if d.Ack() == nil {
				got <- string(d.Body())
			}
		}
	}()
	defer func() { cancel(); <-ended }()
	consumers := func() int {
		d, err := b.admin.Depth(t.Context(), b.queue)
		if err != nil {
			return -1
		}
		return d.Consumers
	}
	until(t, "a consumer", func() bool { return consumers() == 1 })
	b.publisher.Prepare(b.queue)
	_, err = b.publisher.Publish(t.Context(), taskqueue.Parking(b.cfg.Prefix), "id", nil) // its answer comes after the other lane has opened, or tells nothing
	if err != nil {
		t.Fatal(err)
	}
	before, _ := b.publisher.Losses()
	resolves(t, b.publish(t, b.queue), nil)
	select {
	case <-got:
	case <-time.After(30 * time.Second):
		t.Fatal("the message is not received")
	}
	after, _ := b.publisher.Losses()
	if !after[b.queue].After(before[b.queue]) {
		t.Error("the publisher does not tell that the old queue is lost")
	}
	// A declaration of the wrong type is refused; that of the right one is not.
	for kind, like := range map[string]bool{rabbit.Quorum: true, rabbit.Classic: false} {
		if got := alike(t, b.as(kind), b.queue); got != like {
			t.Errorf("the queue is a %s queue: %v", kind, got)
		}
	}
	// The slot is back for good: more messages arrive.
	for range 3 {
		resolves(t, b.publish(t, b.queue), nil)
		select {
		case <-got:
		case <-time.After(30 * time.Second):
			t.Fatal("the message is not received")
		}
	}
}

// alike tells whether a publisher with these settings takes the queue as it is.
func alike(t *testing.T, cfg rabbit.Config, queue string) bool {
	t.Helper()
	p := rabbit.NewPublisher(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	await(t, "connection", p.Ready())
	return p.Alike(queue)
}

// TestLosses: a connection that comes back to an empty queue tells so if that queue
// forgets; one that comes back to its messages does not, and a quorum queue keeps them.
func TestLosses(t *testing.T) {
	for kind, empty := range map[string]bool{rabbit.Quorum: false, rabbit.Classic: true, rabbit.Transient: true} {
		t.Run(kind, func(t *testing.T) {
			b := newBench(t)
			p := rabbit.NewPublisher(b.as(kind))
			consumer := rabbit.NewConsumer(b.as(kind))
			start(t, p, consumer)
			publish := func() {
				t.Helper()
				r, err := p.Publish(t.Context(), b.queue, "id", []byte("{}"))
				if err != nil {
					t.Fatal(err)
				}
				resolves(t, r, nil)
			}
			again := func() {
				t.Helper()
				was := []<-chan struct{}{p.Ready(), consumer.Ready()}
				b.fault(t, relay.Faults{Cut: true})
				b.fault(t, relay.Faults{})
				lost(t, []face{p, consumer}, was)
			}
			publish()
			made, _ := p.Losses()
			if made[b.queue].IsZero() {
				t.Error("a queue that had to be made is not told")
			}
			again()
			publish() // after what the way to the queue found
			if now, _ := p.Losses(); !now[b.queue].Equal(made[b.queue]) {
				t.Error("a queue that has its messages is told as lost")
			}
			slot, err := consumer.Slot(b.queue)
			if err != nil {
				t.Fatal(err)
			}
			takes(t, slot, "first")
			takes(t, slot, "second")
			if err := slot.Close(); err != nil {
				t.Fatal(err)
			}
			until(t, "an empty queue", func() bool {
				d, err := b.admin.Depth(t.Context(), b.queue)
				return err == nil && d.Ready == 0
			})
			again()
			publish()
			if now, _ := p.Losses(); now[b.queue].After(made[b.queue]) != empty {
				t.Errorf("an empty queue is told as lost: %v, want %v", !empty, empty)
			}
		})
	}
}
