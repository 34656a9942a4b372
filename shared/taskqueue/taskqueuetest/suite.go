package taskqueuetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Publisher is the sending side under test.
type Publisher interface {
	Publish(ctx context.Context, queue, id string, body []byte) (*taskqueue.Receipt, error)
	Losses() (map[string]time.Time, <-chan struct{})
}

// Consumer is the receiving side under test.
type Consumer interface {
	Slot(queue string) (taskqueue.Slot, error)
}

// Admin is the side that tells about queues. Depth of a missing queue is
// ErrUnroutable.
type Admin interface {
	Depth(ctx context.Context, queue string) (taskqueue.Depth, error)
	Ensure(ctx context.Context, queue string) error
	Delete(ctx context.Context, queue string) error
}

// Broker is one process's view of a broker.
type Broker struct {
	Publisher  Publisher
	Consumer   Consumer
	Admin      Admin
	Disconnect func() // breaks every connection; they come back by themselves
}

// Factory opens a broker for queues with prefix; it registers with t what closes
// it. It returns when the broker is connected.
type Factory func(t *testing.T, prefix string) Broker

// Run runs the suite, each case with a prefix of its own. The first three begin
// without a queue, all others with one. Queues are deleted at the end.
func Run(t *testing.T, open Factory) {
	cases := []struct {
		name string
		run  func(*env)
	}{
		{"publish, deliver, ack", publishDeliverAck},
		{"a deleted queue is unroutable once", unroutable},
		{"ensure and depth", ensure},
		{"an ack is final", ackIsFinal},
		{"a burst of receipts resolves", burst},
		{"publish after ctx ended", publishAfterContext},
		{"a deleted queue is consumed again", deletedUnderConsumer},
		{"a deleted queue is told as lost", deletedIsLost},
		{"depth counts what no slot has", depthOfTheRest},
		{"many ask for the depth", manyDepths},
		{"redelivery after slot close", redeliveryAfterClose},
		{"redelivery after disconnect", redeliveryAfterDisconnect},
		{"requeue", requeue},
		{"park", park},
		{"a busy slot gets no second message", prefetch},
		{"a busy slot takes nothing after a disconnect", busyThroughDisconnect},
		{"a stale ack removes nothing", staleAck},
		{"a process holds no more than it has slots", fullHouse},
		{"early ack leaves consumption", ackEarly},
		{"early ack of a stale delivery", ackEarlyStale},
		{"receive ends with ctx", receiveContext},
		{"receive of a closed slot", receiveClosed},
		{"no message is lost when ctx ends", contextRace},
		{"many publishers and slots", stress},
		{"many disconnects", stressDisconnect},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t, open)
			if i >= 3 {
				e.ok("ensure", e.Admin.Ensure(e.ctx, e.queue))
			}
			c.run(e)
		})
	}
}

// patience is how long the suite waits for what must happen.
const patience = 30 * time.Second

// env is one case's broker, queue and helpers. Helpers end the test on failure.
type env struct {
	*testing.T
	Broker
	ctx            context.Context
	queue, parking string
}

func newEnv(t *testing.T, open Factory) *env {
	t.Helper()
	prefix := "test-" + rand.Text()
	e := &env{T: t, Broker: open(t, prefix), queue: taskqueue.Queue(prefix, "default"), parking: taskqueue.Parking(prefix)}
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	e.ctx = ctx
	t.Cleanup(func() {
		defer cancel()
		for _, queue := range []string{e.queue, e.parking} {
			e.until("deleting "+queue, func() bool { return e.Admin.Delete(ctx, queue) == nil })
		}
	})
	return e
}

// until polls condition.
func (e *env) until(what string, condition func() bool) {
	e.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			e.Fatalf("%s: still not so after %s", what, patience)
		}
	}
}

// offer publishes body once and returns the receipt's error, or Publish's.
func (e *env) offer(body string) error {
	receipt, err := e.Publisher.Publish(e.ctx, e.queue, body, []byte(body))
	if err != nil {
		return err
	}
	select {
	case <-receipt.Done():
		return receipt.Err()
	case <-e.ctx.Done():
		return e.ctx.Err()
	}
}

// publish publishes bodies one after the other; each must be stored.
func (e *env) publish(bodies ...string) {
	e.Helper()
	for _, body := range bodies {
		if err := e.offer(body); err != nil {
			e.Fatalf("publish %s: %v", body, err)
		}
	}
}

// publishSurely publishes again until body is stored.
func (e *env) publishSurely(body string) {
	e.Helper()
	e.until("publishing "+body, func() bool { return e.offer(body) == nil })
}

func (e *env) slotOf(queue string) taskqueue.Slot {
	e.Helper()
	s, err := e.Consumer.Slot(queue)
	if err != nil {
		e.Fatalf("slot of %s: %v", queue, err)
	}
	return s
}

func (e *env) slot() taskqueue.Slot {
	e.Helper()
	return e.slotOf(e.queue)
}

func (e *env) receive(s taskqueue.Slot) taskqueue.Delivery {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	d, err := s.Receive(ctx)
	if err != nil {
		e.Fatalf("receive: %v", err)
	}
	return d
}

// expect receives a message that must be one of bodies.
func (e *env) expect(s taskqueue.Slot, bodies ...string) taskqueue.Delivery {
	e.Helper()
	d := e.receive(s)
	if !slices.Contains(bodies, string(d.Body())) {
		e.Fatalf("received %q, want one of %q", d.Body(), bodies)
	}
	return d
}

// take receives a message that must be body, and acks it.
func (e *env) take(s taskqueue.Slot, body string) {
	e.Helper()
	e.ok("ack of "+body, e.expect(s, body).Ack())
}

func (e *env) close(s taskqueue.Slot) {
	e.Helper()
	e.ok("close slot", s.Close())
}

func (e *env) ok(what string, err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", what, err)
	}
}

func (e *env) isStale(what string, err error) {
	e.Helper()
	if !errors.Is(err, taskqueue.ErrStale) {
		e.Fatalf("%s: got %v, want %v", what, err, taskqueue.ErrStale)
	}
}

// depth waits until queue has this depth.
func (e *env) depth(queue string, want taskqueue.Depth) {
	e.Helper()
	e.until(fmt.Sprintf("depth %+v", want), func() bool {
		got, err := e.Admin.Depth(e.ctx, queue)
		return err == nil && got == want
	})
}

// ready is how many messages wait in the queue; -1 when that can't be told.
func (e *env) ready() int {
	d, err := e.Admin.Depth(e.ctx, e.queue)
	if err != nil {
		return -1
	}
	return d.Ready
}

// waiting calls Receive in a goroutine and returns when the broker knows of
// consumers slots.
func (e *env) waiting(ctx context.Context, s taskqueue.Slot, consumers int) <-chan received {
	e.Helper()
	result := make(chan received, 1)
	go func() {
		d, err := s.Receive(ctx)
		result <- received{d, err}
	}()
	e.until("slot is a consumer", func() bool {
		d, err := e.Admin.Depth(e.ctx, e.queue)
		return err == nil && d.Consumers == consumers
	})
	return result
}

type received struct {
	delivery taskqueue.Delivery
	err      error
}

// finish waits for a Receive that waiting started.
func (e *env) finish(result <-chan received) received {
	e.Helper()
	select {
	case r := <-result:
		return r
	case <-time.After(patience):
		e.Fatal("Receive does not return")
		return received{}
	}
}
