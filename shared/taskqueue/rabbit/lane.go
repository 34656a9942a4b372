package rabbit

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tradingflow/weather-station/shared/failpoint"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// openTimeout is how long messages wait for a lane to open. The broker may
// never answer a declare of a queue that has lost its quorum.
const openTimeout = 5 * time.Second

type laneState int

const (
	laneOpening laneState = iota // messages wait
	laneOpen                     // messages are sent
	laneFailed                   // messages are refused with ErrUnconfirmed
)

// outgoing is a message that waits for its lane.
type outgoing struct {
	id      string
	body    []byte
	receipt *taskqueue.Receipt
}

// lane publishes to one queue during one generation.
//
// Two locks, because the library's reader must never wait for a writer: send
// orders writes and may be held while the socket is full; mu guards the open
// receipts, is held briefly and is the only lock that handling confirms takes.
type lane struct {
	cfg   Config
	log   hclog.Logger
	queue string

	send    sync.Mutex
	state   laneState
	channel *amqp.Channel
	tag     uint64 // of the last message sent on channel
	waiting []outgoing

	mu   sync.Mutex
	open map[uint64]*taskqueue.Receipt // by tag

	returned chan struct{} // a message came back: the queue is gone
	dead     chan struct{} // the queue has refused everything for long
	refused  time.Time     // since when it does, of the handler alone,
	last     time.Time     // and when it did last
}

func newLane(cfg Config, log hclog.Logger, queue string) *lane {
	return &lane{cfg: cfg, log: log, queue: queue, open: map[uint64]*taskqueue.Receipt{}, returned: make(chan struct{}, 1), dead: make(chan struct{}, 1)}
}

// publish sends a message, or puts it in line.
func (l *lane) publish(id string, body []byte) *taskqueue.Receipt {
	message := outgoing{id: id, body: body, receipt: taskqueue.NewReceipt()}
	l.send.Lock()
	defer l.send.Unlock()
	switch l.state {
	case laneOpening:
		l.waiting = append(l.waiting, message)
	case laneOpen:
		l.write(message)
	case laneFailed:
		message.receipt.Resolve(taskqueue.ErrUnconfirmed)
	}
	return message.receipt
}

// write sends m; the caller holds send.
func (l *lane) write(m outgoing) {
	l.tag++
	tag := l.tag
	l.mu.Lock()
	l.open[tag] = m.receipt
	l.mu.Unlock()
	failpoint.Before("publish")
	err := l.channel.Publish("", l.queue, true, false, amqp.Publishing{
		DeliveryMode:  amqp.Persistent,
		ContentType:   "application/json",
		MessageId:     m.id,
		CorrelationId: strconv.FormatUint(tag, 10), // tells which message was returned
		Body:          m.body,
	})
	failpoint.After("publish")
	if err != nil { // the channel is dead, or will be in a moment
		l.resolve(tag, taskqueue.ErrUnconfirmed)
	}
}

func (l *lane) resolve(tag uint64, err error) {
	l.mu.Lock()
	receipt := l.open[tag]
	delete(l.open, tag)
	l.mu.Unlock()
	if receipt != nil {
		receipt.Resolve(err)
	}
}

// run opens the lane, again and again, until the generation's ctx ends. All
// receipts are resolved when it returns.
func (l *lane) run(ctx context.Context, conn *connection) {
	pause := newPause()
	for ctx.Err() == nil {
		if err := l.serve(ctx, conn, pause.Reset); err != nil && ctx.Err() == nil {
			l.log.Warn("cannot publish to queue, trying on", "error", err)
		}
		l.refuse()
		wait(ctx, pause.NextBackOff())
		if ctx.Err() == nil {
			l.hold()
		}
	}
	l.refuse()
}

// serve opens a channel and handles its confirms until it closes.
func (l *lane) serve(ctx context.Context, conn *connection, opened func()) error {
	channel, err := l.connect(conn)
	if err != nil {
		return err
	}
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 1024))
	returns := channel.NotifyReturn(make(chan amqp.Return, 64))
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	handled := make(chan struct{})
	go func() {
		defer close(handled)
		l.handle(confirms, returns)
	}()
	l.resume(channel)
	opened()
	for {
		select {
		case <-handled:
			if reason := <-closed; reason != nil {
				return fmt.Errorf("channel closed: %w", reason)
			}
			return nil
		case <-l.returned:
			if err := l.renew(conn, channel, handled); err != nil {
				return err
			}
			l.log.Warn("queue was gone, declared again")
		case <-l.dead:
			l.hold()
			if err := conn.bounded(answerTimeout, func() error { return l.cfg.deleteOn(conn.Connection, l.queue) }); err != nil {
				l.log.Warn("queue takes no message and can't be deleted", "error", err)
			}
			if err := l.renew(conn, channel, handled); err != nil {
				return err
			}
			l.log.Warn("queue took no message for long, replaced by a new one", "after", deadAfter)
		}
	}
}

// renew declares a queue that is gone and goes on with what waits for it. The handler
// goes on meanwhile, so the answer can come through; an error ends it.
func (l *lane) renew(conn *connection, channel *amqp.Channel, handled <-chan struct{}) error {
	l.hold()
	leaveVacant(handled)
	if err := l.declare(conn); err != nil {
		l.refuse()
		_ = channel.Close() // ends the handler
		<-handled
		return err
	}
	l.resume(channel)
	return nil
}

// deadAfter is how long a queue may refuse every message before it is replaced.
// RabbitMQ 3.10 keeps the name of a quorum queue whose process is lost, when it was
// killed in the first seconds of that queue: such a queue can be declared, and nacks
// whatever is published and ends the connection of whoever consumes. Members that
// elect a leader need a second or two. What a replaced queue held is offered again,
// for no doorbell is missed for good.
const deadAfter = 4 * time.Second

// vacancy is how long a queue that was deleted stays away before it is declared
// again. RabbitMQ tells its consumers a moment after the deletion. One that finds a
// queue of that name again by then is moved there by the broker itself, without a
// word, and receives nothing any more; one that is told declares the queue and
// consumes anew.
const vacancy = time.Second

// leaveVacant waits for a vacancy, or until the channel has ended.
func leaveVacant(ended <-chan struct{}) {
	t := time.NewTimer(vacancy)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ended:
	}
}

// connect declares the queue and opens a channel in confirm mode.
func (l *lane) connect(conn *connection) (*amqp.Channel, error) {
	if err := l.declare(conn); err != nil {
		return nil, err
	}
	var channel *amqp.Channel
	return channel, conn.bounded(answerTimeout, func() (err error) {
		if channel, err = conn.Channel(); err != nil {
			return fmt.Errorf("open a channel: %w", err)
		}
		if err := channel.Confirm(false); err != nil {
			return fmt.Errorf("ask for confirms: %w", err)
		}
		return nil
	})
}

// declare declares the queue. When that takes too long, messages stop waiting
// for it.
func (l *lane) declare(conn *connection) error {
	timer := time.AfterFunc(openTimeout, func() {
		l.send.Lock()
		defer l.send.Unlock()
		if l.state == laneOpening {
			l.refuseLocked()
		}
	})
	defer timer.Stop()
	return conn.bounded(answerTimeout, func() error { return l.cfg.declareOn(conn.Connection, l.queue) })
}

// handle resolves receipts until the channel closes. The broker sends a return
// before the confirm of the same message and the library keeps that order, so a
// return is in its channel before the confirm is seen here.
func (l *lane) handle(confirms <-chan amqp.Confirmation, returns <-chan amqp.Return) {
	unroutable := map[uint64]bool{}
	note := func(r amqp.Return) {
		if tag, err := strconv.ParseUint(r.CorrelationId, 10, 64); err == nil {
			unroutable[tag] = true
		}
		select {
		case l.returned <- struct{}{}:
		default:
		}
	}
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				returns = nil // confirms closes next
				continue
			}
			note(r)
		case c, ok := <-confirms:
			if !ok {
				l.abandon()
				return
			}
			for len(returns) > 0 {
				note(<-returns)
			}
			failpoint.Before("confirm")
			switch {
			case !c.Ack:
				l.refusal(time.Now())
				l.resolve(c.DeliveryTag, taskqueue.ErrUnconfirmed)
			case unroutable[c.DeliveryTag]:
				l.resolve(c.DeliveryTag, taskqueue.ErrUnroutable)
			default:
				l.refused = time.Time{}
				l.resolve(c.DeliveryTag, nil)
			}
			failpoint.After("confirm")
			delete(unroutable, c.DeliveryTag)
		}
	}
}

// refusal notes a message that the queue refused. Refusals that lie apart say nothing of
// the time between: what is refused is published again and again.
func (l *lane) refusal(now time.Time) {
	before := l.last
	l.last = now
	switch {
	case l.refused.IsZero() || now.Sub(before) > deadAfter/4:
		l.refused = now
	case now.Sub(l.refused) >= deadAfter:
		l.refused = time.Time{}
		select {
		case l.dead <- struct{}{}:
		default:
		}
	}
}

// abandon resolves everything sent and not confirmed.
func (l *lane) abandon() {
	l.mu.Lock()
	open := l.open
	l.open = map[uint64]*taskqueue.Receipt{}
	l.mu.Unlock()
	for _, receipt := range open {
		receipt.Resolve(taskqueue.ErrUnconfirmed)
	}
}

// resume sends what waits, and from now on at once.
func (l *lane) resume(channel *amqp.Channel) {
	l.send.Lock()
	defer l.send.Unlock()
	if l.channel != channel {
		l.channel, l.tag = channel, 0
	}
	l.state = laneOpen
	for _, m := range l.waiting {
		l.write(m)
	}
	l.waiting = nil
}

// hold lets messages wait from now on.
func (l *lane) hold() {
	l.send.Lock()
	defer l.send.Unlock()
	l.state = laneOpening
}

// refuse resolves the messages that wait, and from now on each at once.
func (l *lane) refuse() {
	l.send.Lock()
	defer l.send.Unlock()
	l.refuseLocked()
}

func (l *lane) refuseLocked() {
	l.state = laneFailed
	for _, m := range l.waiting {
		m.receipt.Resolve(taskqueue.ErrUnconfirmed)
	}
	l.waiting = nil
}
