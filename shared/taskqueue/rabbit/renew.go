package rabbit

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// remove deletes the queue.
func (l *lane) remove(conn *connection) error {
	l.hold()
	return conn.bounded(answerTimeout, func() error { return deleteOn(conn.Connection, l.queue) })
}

// removeAside deletes a queue that gives no answer, and gives the connection up: the
// broker reads nothing from a connection while one of its channels waits for such a
// queue, so the deletion has one of its own. The next generation declares the queue.
func (l *lane) removeAside(ctx context.Context, conn *connection) error {
	l.hold()
	defer conn.end()
	aside, err := conn.again(ctx)
	if err == nil {
		err = aside.bounded(answerTimeout, func() error { return deleteOn(aside.Connection, l.queue) })
		aside.end()
	}
	if err != nil {
		return fmt.Errorf("queue gives no answer and can't be deleted: %w", err)
	}
	l.log.Warn("queue gave no answer for long and was deleted; it is declared anew", "after", silentAfter)
	return nil
}

// renew declares a queue that is gone and goes on with what waits for it. The handler
// goes on meanwhile, so the answer can come through; an error ends it. Unless like, the
// queue is taken in whatever form it is by then: two that disagree don't go on for ever.
func (l *lane) renew(conn *connection, channel *amqp.Channel, handled <-chan struct{}, like bool) error {
	l.hold()
	leaveVacant(handled)
	f, err := l.declare(conn)
	if err != nil {
		l.refuse()
		_ = channel.Close() // ends the handler
		<-handled
		return err
	}
	l.resume(channel, like && f.other)
	return nil
}

// errStale: everything is refused on the lane's channel, so it gets another one.
var errStale = errors.New("a channel on which everything was refused is given up")

// staleAfter is how long a channel may refuse every message before another one takes
// its place. A channel of RabbitMQ 3.10 asks the leader of a quorum queue before its
// first message, remembers for good where it found it, and refuses everything at once if
// that node was dying; a new channel looks again. The others elect a leader in less.
const staleAfter = 500 * time.Millisecond

// deadAfter is how long a queue may refuse every message, whatever the channel, before
// it is replaced. RabbitMQ 3.10 keeps the name of a quorum queue whose process is lost,
// when it was killed in the first seconds of that queue: such a queue can be declared,
// and nacks whatever is published and ends the connection of whoever consumes. Members
// that elect a leader need a second or two. What a replaced queue held is offered again,
// for no doorbell is missed for good.
const deadAfter = 4 * time.Second

// refusals are messages in a row that were refused, of whatever channel.
type refusals struct {
	since   time.Time // of the first
	channel time.Time // the same, of this channel
	last    time.Time
}

// reopened notes that another channel is there: what was refused before counts, and
// the time that it took to open is not taken for a time without refusals.
func (l *lane) reopened(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := &l.refusals; !r.since.IsZero() {
		r.channel, r.last = now, now
	}
}

// refusal notes a message that the queue refused. Refusals that lie apart say nothing of
// the time between: what is refused is published again and again.
func (l *lane) refusal(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.refusals
	before := r.last
	r.last = now
	switch {
	case r.since.IsZero() || now.Sub(before) > deadAfter/4:
		r.since, r.channel = now, now
	case now.Sub(r.since) >= deadAfter:
		*r = refusals{}
		signal(l.dead)
	case now.Sub(r.channel) >= staleAfter:
		r.channel = now
		signal(l.stale)
	}
}

// leave closes the channel and waits for its handler, for another channel to be opened.
func (l *lane) leave(conn *connection, channel *amqp.Channel, handled <-chan struct{}) error {
	l.hold()
	_ = conn.bounded(answerTimeout, channel.Close) // it ends the handler, and so does its failure
	<-handled
	return errStale
}

// silentAfter is how long a queue may give no answer at all, confirm or refusal, before
// it is replaced too: the process of a quorum queue may be there and never lead.
const silentAfter = 8 * time.Second

// silence is how long messages have been out without any answer.
type silence struct{ since time.Time }

// look notes that at now messages are out unanswered, or none is, and says when that
// has lasted too long; then it begins anew. An answer makes it the zero silence.
func (s *silence) look(now time.Time, out bool) bool {
	switch {
	case !out:
		s.since = time.Time{}
	case s.since.IsZero():
		s.since = now
	case now.Sub(s.since) >= silentAfter:
		s.since = time.Time{}
		return true
	}
	return false
}

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
func (l *lane) connect(conn *connection) (*amqp.Channel, found, error) {
	f, err := l.declare(conn)
	if err != nil {
		return nil, f, err
	}
	var channel *amqp.Channel
	return channel, f, conn.bounded(answerTimeout, func() (err error) {
		if channel, err = conn.Channel(); err != nil {
			return fmt.Errorf("open a channel: %w", err)
		}
		if err := channel.Confirm(false); err != nil {
			return fmt.Errorf("ask for confirms: %w", err)
		}
		return nil
	})
}

// declare declares the queue, and says so when what was in it is lost: it had to be
// made, or is of a type that forgets and holds nothing. When the answer takes too long,
// messages stop waiting for it.
func (l *lane) declare(conn *connection) (f found, err error) {
	timer := time.AfterFunc(openTimeout, func() {
		l.send.Lock()
		defer l.send.Unlock()
		if l.state == laneOpening {
			l.refuseLocked()
		}
	})
	defer timer.Stop()
	err = conn.bounded(answerTimeout, func() (err error) {
		f, err = l.cfg.declareOn(conn.Connection, l.queue)
		return err
	})
	if err == nil && (f.fresh || f.messages == 0 && !keeps(l.cfg.kind(l.queue))) {
		l.losses.note(l.queue)
	}
	return f, err
}
