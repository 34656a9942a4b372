package rabbit

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// cancelTimeout is how long the broker may take to cancel a consumer. One whose queue is
// in trouble may never do it; another connection may meet a queue that was made anew.
const cancelTimeout = 5 * time.Second

// stream is one channel that a feed consumes by. The last fields are guarded by the
// feed's lock.
type stream struct {
	feed    *feed
	channel *amqp.Channel
	began   time.Time
	lost    atomic.Bool // what came by it is stale

	why          error // of the loss
	tags         tags
	consumptions []*consumption
}

// consumption is one consumer of a channel. A queue's share of unacked messages is set
// when it begins, so a change of the number of slots takes another one.
type consumption struct {
	stream  *stream
	tag     string
	share   int           // of messages, at most, that the broker leaves unacked with it
	drained chan struct{} // closed when no message comes any more

	live    bool // not cancelled; guarded, like the next, by the feed's lock
	unacked int
}

// openStream opens a channel and watches it until it is closed.
func openStream(f *feed, conn *connection) (*stream, error) {
	var channel *amqp.Channel
	err := conn.bounded(answerTimeout, func() (err error) {
		channel, err = conn.Channel()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	st := &stream{feed: f, channel: channel, began: time.Now()}
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	cancelled := channel.NotifyCancel(make(chan string, 4))
	f.consumer.running.Go(func() {
		for {
			select {
			case _, ok := <-cancelled:
				if !ok {
					cancelled = nil // closed comes
					continue
				}
				st.fail(errors.New("consumer cancelled by the broker"))
			case reason := <-closed:
				err := errors.New("channel closed")
				if reason != nil {
					err = fmt.Errorf("channel closed: %w", reason)
				}
				st.fail(err)
				return
			}
		}
	})
	return st, nil
}

// fail makes everything that came by the channel stale.
func (st *stream) fail(why error) {
	f := st.feed
	f.mu.Lock()
	if st.why == nil {
		st.why = why
	}
	f.mu.Unlock()
	f.lose(st)
}

func (st *stream) failure() error {
	st.feed.mu.Lock()
	defer st.feed.mu.Unlock()
	return st.why
}

// consume begins a consumption. It does not wait for the broker, which closes the
// channel when it refuses.
func (st *stream) consume(conn *connection, tag string, share int) error {
	if err := st.limit(conn, share); err != nil {
		return err
	}
	deliveries, err := st.channel.Consume(st.feed.queue, tag, false, false, false, true, nil)
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	c := &consumption{stream: st, tag: tag, share: share, drained: make(chan struct{}), live: true}
	st.feed.mu.Lock()
	st.consumptions = append(st.consumptions, c)
	st.feed.mu.Unlock()
	st.feed.consumer.running.Go(func() {
		defer close(c.drained)
		for m := range deliveries {
			st.feed.arrive(&delivery{from: c, tag: m.DeliveryTag, body: m.Body, redelivered: m.Redelivered})
		}
	})
	return nil
}

// limit sets the share of the next consumer. The broker answers, after everything it was
// sent before.
func (st *stream) limit(conn *connection, share int) error {
	if err := conn.bounded(answerTimeout, func() error { return st.channel.Qos(share, 0, false) }); err != nil {
		return fmt.Errorf("set prefetch: %w", err)
	}
	return nil
}

// cancel ends a consumption, and returns when all that was sent to it has arrived.
func (st *stream) cancel(conn *connection, c *consumption) error {
	// The library drops what arrives after a cancel that waits for no answer.
	if err := conn.bounded(cancelTimeout, func() error { return st.channel.Cancel(c.tag, false) }); err != nil {
		return fmt.Errorf("cancel consumer: %w", err)
	}
	<-c.drained
	st.feed.mu.Lock()
	defer st.feed.mu.Unlock()
	c.live = false
	return nil
}

// close closes the channel: what is not acked goes back to the queue.
func (st *stream) close(conn *connection) {
	st.feed.lose(st)
	_ = conn.bounded(slotCloseTimeout, st.channel.Close) // an error says that it is closed
	for _, c := range st.consumptions {
		<-c.drained
	}
}

// granted is how many messages the broker may leave unacked, or has, of the consumers of
// this channel; the caller holds the feed's lock.
func (st *stream) granted() (n int) {
	kept := st.consumptions[:0]
	for _, c := range st.consumptions {
		if c.live {
			n += c.share
		} else {
			n += c.unacked
		}
		if c.live || c.unacked > 0 {
			kept = append(kept, c)
		}
	}
	st.consumptions = kept
	return n
}
