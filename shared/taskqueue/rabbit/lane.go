package rabbit

import (
	"context"
	"errors"
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
	cfg    Config
	log    hclog.Logger
	queue  string
	mode   uint8 // of delivery
	losses *losses

	send    sync.Mutex
	state   laneState
	channel *amqp.Channel
	tag     uint64 // of the last message sent on channel
	waiting []outgoing
	other   bool // the queue is not as it is to be, which the next message is to change

	mu       sync.Mutex
	open     map[uint64]*taskqueue.Receipt // by tag
	refusals refusals

	returned chan struct{} // a message came back: the queue is gone
	stale    chan struct{} // everything is refused on this channel
	dead     chan struct{} // the queue has refused everything for long
	silent   chan struct{} // the queue has not answered for long
	unlike   chan struct{} // a message is there for a queue that is not as it is to be
	blocked  func() bool   // whether the broker blocks publishers; nil = never
}

func newLane(cfg Config, log hclog.Logger, queue string, lost *losses) *lane {
	return &lane{cfg: cfg, log: log, queue: queue, mode: cfg.delivery(queue), losses: lost, open: map[uint64]*taskqueue.Receipt{},
		returned: make(chan struct{}, 1), stale: make(chan struct{}, 1), dead: make(chan struct{}, 1), silent: make(chan struct{}, 1), unlike: make(chan struct{}, 1)}
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
		if l.other {
			l.state, l.waiting = laneOpening, append(l.waiting, message)
			l.replace()
			break
		}
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
		DeliveryMode:  l.mode,
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
	if err == nil {
		l.refusals = refusals{}
	}
	l.mu.Unlock()
	if receipt != nil {
		receipt.Resolve(err)
	}
}

// run opens the lane, again and again, until the generation's ctx ends. All
// receipts are resolved when it returns.
func (l *lane) run(ctx context.Context, conn *connection) {
	pause := newPause()
	told := false
	opened := func() { pause.Reset(); told = false }
	for ctx.Err() == nil {
		err := l.serve(ctx, conn, opened)
		if errors.Is(err, errStale) && ctx.Err() == nil {
			continue
		}
		select {
		case <-l.dead: // said of what was before
		default:
		}
		if err != nil && ctx.Err() == nil && !told {
			told = true
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
	channel, f, err := l.connect(conn)
	if err != nil {
		return err
	}
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 1024))
	returns := channel.NotifyReturn(make(chan amqp.Return, 64))
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	l.reopened(time.Now())
	handled := make(chan struct{})
	go func() {
		defer close(handled)
		l.handle(confirms, returns)
	}()
	for _, old := range []chan struct{}{l.returned, l.stale, l.silent, l.unlike} { // said of the channel before
		select {
		case <-old:
		default:
		}
	}
	l.resume(channel, f.other)
	opened()
	for {
		select {
		case <-handled:
			if reason := <-closed; reason != nil {
				return fmt.Errorf("channel closed: %w", reason)
			}
			return nil
		case <-l.returned:
			if err := l.renew(conn, channel, handled, true); err != nil {
				return err
			}
			l.log.Warn("queue was gone, declared again")
		case <-l.stale:
			l.log.Warn("queue took no message for a while; another channel is opened", "after", staleAfter)
			return l.leave(conn, channel, handled)
		case <-l.dead:
			if err := l.remove(conn); err != nil {
				l.log.Warn("queue takes no message and can't be deleted", "error", err)
			} else {
				l.log.Warn("queue took no message for long and was deleted; it is declared anew", "after", deadAfter)
			}
			leaveVacant(handled)
			return l.leave(conn, channel, handled)
		case <-l.silent:
			return l.removeAside(ctx, conn)
		case <-l.unlike:
			if err := l.remove(conn); err != nil {
				l.log.Warn("queue has another type or other arguments and can't be deleted; it is used as it is", "error", err)
				l.resume(channel, false)
				continue
			}
			if err := l.renew(conn, channel, handled, false); err != nil {
				return err
			}
			l.log.Warn("queue had another type or other arguments, replaced by a new one", "type", l.cfg.kind(l.queue))
		}
	}
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
	looks := time.NewTicker(time.Second)
	defer looks.Stop()
	var quiet silence
	for {
		select {
		case now := <-looks.C:
			if quiet.look(now, l.unanswered()) {
				signal(l.silent)
			}
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
			quiet = silence{}
			failpoint.Before("confirm")
			switch {
			case !c.Ack:
				l.refusal(time.Now())
				l.resolve(c.DeliveryTag, taskqueue.ErrUnconfirmed)
			case unroutable[c.DeliveryTag]:
				l.resolve(c.DeliveryTag, taskqueue.ErrUnroutable)
			default:
				l.resolve(c.DeliveryTag, nil)
			}
			failpoint.After("confirm")
			delete(unroutable, c.DeliveryTag)
		}
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// unanswered reports whether messages are out that the broker owes an answer. While it
// blocks publishers it owes none.
func (l *lane) unanswered() bool {
	if l.blocked != nil && l.blocked() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open) > 0
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

// resume sends what waits, and from now on at once. A queue that is other than it is
// to be is replaced first if anything waits, else when a message comes: only a leader
// publishes, so its settings count.
func (l *lane) resume(channel *amqp.Channel, other bool) {
	l.send.Lock()
	defer l.send.Unlock()
	if l.channel != channel {
		l.channel, l.tag = channel, 0
	}
	if l.other = other; other && len(l.waiting) > 0 {
		l.state = laneOpening
		l.replace()
		return
	}
	l.state = laneOpen
	for _, m := range l.waiting {
		l.write(m)
	}
	l.waiting = nil
}

// replace asks for another queue; the caller holds send.
func (l *lane) replace() {
	l.other = false
	signal(l.unlike)
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
