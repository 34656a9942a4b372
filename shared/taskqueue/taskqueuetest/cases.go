package taskqueuetest

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

func publishDeliverAck(e *env) {
	e.publish("a")
	s := e.slot()
	d := e.expect(s, "a")
	if d.Redelivered() {
		e.Error("first delivery carries the redelivered hint")
	}
	e.ok("ack", d.Ack())
	if d.Ack() == nil || d.Park() == nil || d.Requeue() == nil {
		e.Error("a delivery ends twice")
	}
	e.publish("b")
	e.take(s, "b")
	e.close(s)
	e.depth(e.queue, taskqueue.Depth{})
}

func ackIsFinal(e *env) {
	e.publish("a", "b")
	s := e.slot()
	e.take(s, "a")
	e.close(s) // on the slot's channel, so the broker has the ack
	e.Disconnect()
	e.publishSurely("c")
	s = e.slot()
	// "b" may have been on its way to the closed slot. "c" may be there twice.
	e.take(s, "b")
	e.take(s, "c")
	e.close(s)
}

func burst(e *env) {
	const n = 1000
	receipts := make([]*taskqueue.Receipt, n)
	for i := range receipts {
		r, err := e.Publisher.Publish(e.ctx, e.queue, strconv.Itoa(i), []byte(strconv.Itoa(i)))
		e.ok("publish", err)
		receipts[i] = r
	}
	for i, r := range receipts {
		select {
		case <-r.Done():
			e.ok("receipt "+strconv.Itoa(i), r.Err())
		case <-e.ctx.Done():
			e.Fatalf("receipt %d never resolves", i)
		}
	}
	e.depth(e.queue, taskqueue.Depth{Ready: n})
}

func publishAfterContext(e *env) {
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if _, err := e.Publisher.Publish(ctx, e.queue, "a", []byte("a")); !errors.Is(err, context.Canceled) {
		e.Errorf("publish: got %v, want %v", err, context.Canceled)
	}
}

func unroutable(e *env) {
	e.publish("a")
	e.ok("delete", e.Admin.Delete(e.ctx, e.queue))
	if err := e.offer("b"); !errors.Is(err, taskqueue.ErrUnroutable) {
		e.Fatalf("publish to a deleted queue: got %v, want %v", err, taskqueue.ErrUnroutable)
	}
	e.until("queue declared again", func() bool {
		err := e.offer("c")
		if err != nil && !errors.Is(err, taskqueue.ErrUnroutable) {
			e.Fatalf("publish: %v", err)
		}
		return err == nil
	})
	s := e.slot()
	e.take(s, "c")
	e.close(s)
}

func ensure(e *env) {
	if _, err := e.Admin.Depth(e.ctx, e.queue); !errors.Is(err, taskqueue.ErrUnroutable) {
		e.Errorf("depth of a missing queue: got %v, want %v", err, taskqueue.ErrUnroutable)
	}
	for range 2 {
		e.ok("ensure", e.Admin.Ensure(e.ctx, e.queue))
		e.depth(e.queue, taskqueue.Depth{})
	}
	e.publish("a", "b")
	e.depth(e.queue, taskqueue.Depth{Ready: 2})
	s := e.slot()
	d := e.expect(s, "a")
	e.depth(e.queue, taskqueue.Depth{Ready: 1, Consumers: 1})
	e.ok("ack", d.Ack())
	e.close(s)
	e.depth(e.queue, taskqueue.Depth{Ready: 1})
}

// depthOfTheRest: a leader tells by the depth how far its workers have come, so what they
// hold is not in it, and comes back when they lose it.
func depthOfTheRest(e *env) {
	e.publish("1", "2", "3", "4", "5")
	a, b := e.slot(), e.slot()
	first, second := e.expect(a, "1", "2"), e.expect(b, "1", "2")
	e.until("three messages wait", func() bool { return e.ready() == 3 })
	e.ok("ack", first.Ack())
	next := e.expect(a, "3")
	e.until("two messages wait", func() bool { return e.ready() == 2 })
	e.close(b) // holds one
	e.isStale("ack after the slot's close", second.Ack())
	e.until("three messages wait", func() bool { return e.ready() == 3 })
	e.ok("ack", next.Ack())
	e.close(a)
	e.depth(e.queue, taskqueue.Depth{Ready: 3})
}

// manyDepths: questions at the same time, of queues that are there and of ones that are
// not, hold up neither each other nor what is asked later, on a new connection too.
func manyDepths(e *env) {
	e.publish("a", "b")
	ask := func() {
		var asking sync.WaitGroup
		for i := range 20 {
			asking.Go(func() {
				queue, want := e.queue, error(nil)
				if i%4 == 0 {
					queue, want = e.queue+"-missing", taskqueue.ErrUnroutable
				}
				d, err := e.Admin.Depth(e.ctx, queue)
				if !errors.Is(err, want) || err == nil && d.Ready != 2 {
					e.Errorf("depth of %s: got %+v, %v", queue, d, err)
				}
			})
		}
		asking.Wait()
	}
	for range 3 {
		ask()
	}
	e.Disconnect()
	e.depth(e.queue, taskqueue.Depth{Ready: 2})
	ask()
}

func deletedUnderConsumer(e *env) {
	s := e.slot()
	waiting := e.waiting(e.ctx, s, 1)
	e.ok("delete", e.Admin.Delete(e.ctx, e.queue))
	e.until("slot consumes again", func() bool {
		d, err := e.Admin.Depth(e.ctx, e.queue)
		return err == nil && d.Consumers == 1
	})
	e.publishSurely("a")
	r := e.finish(waiting)
	e.ok("receive", r.err)
	e.ok("ack", r.delivery.Ack())
	e.close(s)
}

func deletedIsLost(e *env) {
	e.publish("a")
	before, more := e.Publisher.Losses()
	e.ok("delete", e.Admin.Delete(e.ctx, e.queue))
	e.publishSurely("b")
	after, _ := e.Publisher.Losses()
	if !after[e.queue].After(before[e.queue]) {
		e.Errorf("loss is of %s, before it was of %s", after[e.queue], before[e.queue])
	}
	select {
	case <-more:
	default:
		e.Error("nobody is woken by the loss")
	}
}

func redeliveryAfterClose(e *env) {
	e.publish("a")
	first := e.slot()
	old := e.expect(first, "a")
	e.close(first)
	second := e.slot()
	d := e.expect(second, "a")
	if !d.Redelivered() {
		e.Error("second delivery lacks the redelivered hint")
	}
	e.isStale("ack after the slot's close", old.Ack())
	e.ok("ack", d.Ack())
	e.close(second)
}

func redeliveryAfterDisconnect(e *env) {
	e.publish("a")
	s := e.slot()
	old := e.expect(s, "a")
	e.Disconnect()
	d := e.expect(s, "a")
	if !d.Redelivered() {
		e.Error("second delivery lacks the redelivered hint")
	}
	e.isStale("old ack", old.Ack())
	e.ok("new ack", d.Ack())
	e.close(s)
	e.depth(e.queue, taskqueue.Depth{})
}

func requeue(e *env) {
	e.publish("a")
	s := e.slot()
	e.ok("requeue", e.expect(s, "a").Requeue())
	d := e.expect(s, "a")
	if !d.Redelivered() {
		e.Error("delivery after requeue lacks the redelivered hint")
	}
	e.ok("ack", d.Ack())
	e.close(s)
}

func park(e *env) {
	e.publish("bad", "good")
	s := e.slot()
	e.ok("park", e.expect(s, "bad").Park())
	e.take(s, "good")
	e.close(s)
	parked := e.slotOf(e.parking)
	e.take(parked, "bad")
	e.close(parked)
	e.depth(e.queue, taskqueue.Depth{})
}

func prefetch(e *env) {
	busy, free := e.slot(), e.slot()
	e.publish("a")
	held := e.expect(busy, "a")
	for _, body := range []string{"b", "c", "d"} {
		e.publish(body)
		e.take(free, body)
	}
	e.ok("ack", held.Ack())
	e.close(free)
	e.publish("e")
	e.take(busy, "e")
	e.close(busy)
}

func busyThroughDisconnect(e *env) {
	busy, free := e.slot(), e.slot()
	e.publish("a")
	old := e.expect(busy, "a")
	e.Disconnect()
	e.take(free, "a") // the busy slot is connected again too, and idle for the broker
	for _, body := range []string{"b", "c", "d"} {
		e.publishSurely(body)
		e.take(free, body)
	}
	e.isStale("old ack", old.Ack())
	e.close(free)
	e.publish("e")
	e.take(busy, "e")
	e.close(busy)
}

// staleAck is the accident that a resubscribing client runs into: a slot holds A
// when the connection breaks; B reaches the same slot under the tag that A had;
// acking A must not remove B.
func staleAck(e *env) {
	first, second := e.slot(), e.slot()
	e.publish("a")
	old := e.expect(first, "a")
	e.publish("b")
	e.Disconnect()
	x := e.expect(second, "a", "b")
	y := e.expect(first, "a", "b")
	if string(x.Body()) == string(y.Body()) {
		e.Fatalf("both slots hold %q", x.Body())
	}
	e.isStale("old ack", old.Ack())
	e.close(first) // y is not acked, so it is still owed
	e.ok("ack", x.Ack())
	e.take(second, string(y.Body()))
	e.close(second)
	e.depth(e.queue, taskqueue.Depth{})
}

func ackEarly(e *env) {
	working, free := e.slot(), e.slot()
	e.publish("long")
	d := e.expect(working, "long")
	e.ok("early ack", working.AckEarly(e.ctx, d))
	if d.Ack() == nil {
		e.Error("an early acked delivery can be acked again")
	}
	for _, body := range []string{"a", "b", "c"} {
		e.publish(body)
		e.take(free, body)
	}
	e.depth(e.queue, taskqueue.Depth{Consumers: 1})
	e.close(free)
	e.publish("d")
	e.depth(e.queue, taskqueue.Depth{Ready: 1})
	e.take(working, "d") // consumes again; "long" does not come back
	e.publish("e", "f")
	d = e.expect(working, "e")
	e.ok("second early ack", working.AckEarly(e.ctx, d))
	e.depth(e.queue, taskqueue.Depth{Ready: 1})
	e.take(working, "f")
	e.close(working)
	e.depth(e.queue, taskqueue.Depth{})
}

func ackEarlyStale(e *env) {
	first, second := e.slot(), e.slot()
	e.publish("a")
	old := e.expect(first, "a")
	e.Disconnect()
	d := e.expect(second, "a")
	e.isStale("early ack", first.AckEarly(e.ctx, old))
	e.ok("ack", d.Ack())
	e.publishSurely("b")
	e.close(second)
	e.take(first, "b")
	e.close(first)
}

// fullHouse: a process holds as many messages as it has slots, whatever becomes of each.
func fullHouse(e *env) {
	a, b, c := e.slot(), e.slot(), e.slot()
	e.publish("1", "2", "3")
	var held []taskqueue.Delivery
	for _, s := range []taskqueue.Slot{a, b, c} {
		held = append(held, e.expect(s, "1", "2", "3"))
	}
	e.publish("4", "5", "6")
	e.until("three messages wait", func() bool { return e.ready() == 3 })
	e.ok("early ack", a.AckEarly(e.ctx, held[0]))
	e.publish("7")
	e.until("four messages wait", func() bool { return e.ready() == 4 })
	e.ok("ack", held[1].Ack())
	next := e.expect(b, "4", "5", "6", "7")
	e.until("three messages wait", func() bool { return e.ready() == 3 })
	e.ok("ack", e.receive(a).Ack()) // its long work was done
	e.close(c)                      // holds one
	e.isStale("ack after the slot's close", held[2].Ack())
	e.ok("ack", next.Ack())
	counts := newTally(3)
	ctx, cancel := context.WithCancel(e.ctx)
	var working sync.WaitGroup
	for _, s := range []taskqueue.Slot{a, b} {
		working.Go(func() { e.work(ctx, s, counts) })
	}
	counts.await(e)
	cancel()
	working.Wait()
	e.depth(e.queue, taskqueue.Depth{})
}

func receiveContext(e *env) {
	s := e.slot()
	ctx, cancel := context.WithCancel(e.ctx)
	waiting := e.waiting(ctx, s, 1)
	cancel()
	if r := e.finish(waiting); !errors.Is(r.err, context.Canceled) {
		e.Fatalf("receive: got %v, want %v", r.err, context.Canceled)
	}
	e.publish("a")
	e.take(s, "a") // the slot is still of use
	e.close(s)
}

func receiveClosed(e *env) {
	s := e.slot()
	e.close(s)
	if _, err := s.Receive(e.ctx); err == nil {
		e.Error("a closed slot receives")
	}
	e.ok("second close", s.Close())
}
