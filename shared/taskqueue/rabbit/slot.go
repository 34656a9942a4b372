package rabbit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// slotCloseTimeout is how long Close waits for the broker's answer.
const slotCloseTimeout = 2 * time.Second

// slot is a taskqueue.Slot. Its user's goroutine consumes, receives and acks;
// attend, in another, opens its channel and replaces it when it is lost.
type slot struct {
	consumer *Consumer
	queue    string
	number   int
	log      hclog.Logger

	open    context.Context // until Close
	close   context.CancelFunc
	running sync.WaitGroup // attend

	mu      sync.Mutex
	current *attachment   // nil while there is no channel
	changed chan struct{} // closed when current changes
}

func newSlot(c *Consumer, queue string, number int) *slot {
	s := &slot{
		consumer: c,
		queue:    queue,
		number:   number,
		log:      c.link.log.With("queue", queue, "slot", number),
		changed:  make(chan struct{}),
	}
	s.open, s.close = context.WithCancel(context.Background())
	return s
}

// attend keeps a channel open for the slot until the generation's ctx ends or
// the slot closes.
func (s *slot) attend(ctx context.Context, conn *connection, queues *declarations) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.open, cancel)()
	pause := newPause()
	for ctx.Err() == nil {
		began := time.Now()
		renewed, err := s.serve(ctx, conn, queues)
		if renewed && err == nil {
			continue
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("slot lost its channel, opening another", "error", err)
		}
		if time.Since(began) > steady {
			pause.Reset()
		}
		wait(ctx, pause.NextBackOff())
	}
}

// serve opens one channel and returns when it is gone; renewed says that it was to be
// replaced, and is closed in good order.
func (s *slot) serve(ctx context.Context, conn *connection, queues *declarations) (renewed bool, err error) {
	declare := func(deleted bool) error {
		return conn.bounded(answerTimeout, func() error { return s.consumer.link.cfg.attendOn(ctx, conn.Connection, s.queue, deleted) })
	}
	if err := queues.ensure(ctx, s.queue, declare); err != nil {
		return false, err
	}
	var channel *amqp.Channel
	err = conn.bounded(answerTimeout, func() (err error) {
		if channel, err = conn.Channel(); err != nil {
			return fmt.Errorf("open a channel: %w", err)
		}
		if err := channel.Qos(1, 0, false); err != nil {
			return fmt.Errorf("set prefetch: %w", err)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	cancelled := channel.NotifyCancel(make(chan string, 4))
	a := &attachment{channel: channel, queue: s.queue, old: make(chan struct{}), tag: fmt.Sprintf("%s-%d", s.consumer.link.cfg.Name, s.number)}
	s.set(a)
	select {
	case <-ctx.Done():
	case reason := <-closed:
		queues.forget(s.queue) // it may be the reason
		if reason != nil {
			err = fmt.Errorf("channel closed: %w", reason)
		}
	case <-cancelled:
		queues.forget(s.queue)
		err = errors.New("consumer cancelled by the broker")
	case <-a.old:
		renewed = true
	}
	a.stale.Store(true)
	s.set(nil)
	if gone := conn.bounded(slotCloseTimeout, channel.Close); renewed && gone != nil { // what is not acked goes back to the queue
		err = fmt.Errorf("close a channel: %w", gone)
	}
	return renewed, err
}

func (s *slot) set(a *attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = a
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *slot) attached() (*attachment, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.changed
}

// Receive waits for the next message; see taskqueue.Slot. A message that arrives
// as ctx ends is returned, or stays with the slot for the next Receive.
func (s *slot) Receive(ctx context.Context) (taskqueue.Delivery, error) {
	for {
		var deliveries <-chan amqp.Delivery
		a, changed := s.attached()
		if a != nil {
			deliveries = a.consume() // nil when the channel just closed: changed comes
			a.begin()
		}
		for waiting := true; waiting; {
			select {
			case d, ok := <-deliveries:
				if !ok {
					deliveries = nil // lost: changed comes
					continue
				}
				if !a.finish() || a.stale.Load() {
					waiting = false
					continue
				}
				return &delivery{from: a, message: d}, nil
			case <-changed:
				waiting = false
			case <-ctx.Done():
				if a != nil {
					a.finish()
				}
				return nil, ctx.Err()
			case <-s.open.Done():
				return nil, ErrClosed
			case <-s.consumer.done:
				return nil, ErrClosed
			}
		}
	}
}

// AckEarly leaves consumption and acks; see taskqueue.Slot. It only writes.
func (s *slot) AckEarly(_ context.Context, d taskqueue.Delivery) error {
	mine, ok := d.(*delivery)
	if !ok {
		return fmt.Errorf("ack early: delivery of type %T is not from this slot", d)
	}
	if !mine.from.stale.Load() {
		mine.from.pause()
	}
	return mine.Ack()
}

// Close gives the slot up and waits until the broker has its message back. The
// error tells that the broker did not answer in time; it takes the message back
// when the connection ends.
func (s *slot) Close() error {
	s.consumer.drop(s)
	s.close()
	gone := make(chan struct{})
	go func() { // ends with attend, which Run waits for
		s.running.Wait()
		close(gone)
	}()
	timer := time.NewTimer(slotCloseTimeout)
	defer timer.Stop()
	select {
	case <-gone:
		return nil
	case <-timer.C:
		return fmt.Errorf("close slot of queue %s: no answer within %s", s.queue, slotCloseTimeout)
	}
}
