package inproc

import (
	"context"
	"errors"
	"fmt"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// errEnded is returned by the second Ack, Park or Requeue of a delivery.
var errEnded = errors.New("delivery has ended already")

// Consumer hands out slots.
type Consumer struct{ face }

// Slot returns a new slot for queue, which comes into being if it is missing.
// The error is ErrClosed after Close.
func (c *Consumer) Slot(queue string) (taskqueue.Slot, error) {
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	if c.broker.closed {
		return nil, ErrClosed
	}
	c.broker.queue(queue)
	return &slot{broker: c.broker, name: queue, done: make(chan struct{})}, nil
}

// slot is a taskqueue.Slot; its fields are guarded by the broker's lock.
type slot struct {
	broker *Broker
	name   string
	done   chan struct{}
	closed bool
	held   *delivery // the last one handed out
}

// Receive waits for the next message; see taskqueue.Slot. A message that arrives
// as ctx ends is returned.
func (s *slot) Receive(ctx context.Context) (taskqueue.Delivery, error) {
	for {
		d, w, q, err := s.join(ctx)
		if d != nil || err != nil {
			return d, err
		}
		select {
		case d := <-w.given:
			return d, nil
		case <-w.again:
			continue
		case <-ctx.Done():
			err = ctx.Err()
		case <-s.done:
			err = ErrClosed
		case <-s.broker.done:
			err = ErrClosed
		}
		s.broker.mu.Lock()
		inLine := q.leave(w)
		s.broker.mu.Unlock()
		if !inLine {
			select {
			case d := <-w.given:
				return d, nil
			default: // it was not in line, or the queue was deleted
			}
		}
		return nil, err
	}
}

// join takes a message or a place in line.
func (s *slot) join(ctx context.Context) (taskqueue.Delivery, *waiter, *queue, error) {
	s.broker.mu.Lock()
	defer s.broker.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, nil, nil, err
	}
	if s.closed || s.broker.closed {
		return nil, nil, nil, ErrClosed
	}
	delete(s.broker.gone, s.name)
	q := s.broker.queue(s.name)
	q.slots[s] = true
	if s.held != nil && s.held.open() { // out of the line until that one ended
		return nil, &waiter{again: s.held.over}, q, nil
	}
	if d := q.take(s); d != nil {
		return d, nil, nil, nil
	}
	w := &waiter{slot: s, given: make(chan *delivery, 1), again: make(chan struct{})}
	q.waiting = append(q.waiting, w)
	return nil, w, q, nil
}

// AckEarly leaves consumption and acks; see taskqueue.Slot.
func (s *slot) AckEarly(_ context.Context, d taskqueue.Delivery) error {
	mine, ok := d.(*delivery)
	if !ok || mine.slot != s {
		return fmt.Errorf("ack early: delivery of type %T is not from this slot", d)
	}
	s.broker.mu.Lock()
	delete(mine.queue.slots, s)
	s.broker.mu.Unlock()
	return mine.Ack()
}

// Close gives the slot up; an unfinished delivery goes back to the queue.
func (s *slot) Close() error {
	s.broker.mu.Lock()
	defer s.broker.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.done)
	if q := s.broker.queues[s.name]; q != nil {
		delete(q.slots, s)
	}
	if s.held != nil && s.held.open() {
		s.held.queue.putBack(s.held.message)
	}
	return nil
}

// delivery is a taskqueue.Delivery.
type delivery struct {
	slot        *slot
	queue       *queue
	message     *message
	redelivered bool
	ended       bool          // by its user
	over        chan struct{} // closed when the message is no longer its own
}

func (d *delivery) Body() []byte      { return d.message.body }
func (d *delivery) Redelivered() bool { return d.redelivered }

// open tells whether the message still waits for this delivery's end.
func (d *delivery) open() bool { return d.message.holder == d }

func (d *delivery) Ack() error { return d.end(func() { d.queue.release(d.message) }) }

func (d *delivery) Park() error {
	return d.end(func() {
		d.queue.release(d.message)
		b := d.slot.broker
		b.queue(taskqueue.Parking(b.prefix)).put(&message{body: d.message.body})
	})
}

func (d *delivery) Requeue() error {
	return d.end(func() { d.queue.putBack(d.message) })
}

func (d *delivery) end(then func()) error {
	b := d.slot.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	if d.ended {
		return errEnded
	}
	d.ended = true
	if !d.open() {
		return taskqueue.ErrStale
	}
	then()
	return nil
}
