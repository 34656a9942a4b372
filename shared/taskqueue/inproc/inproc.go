// Package inproc keeps the contract of package taskqueue inside one process, for
// a cluster that lives in one and for tests. Messages are in memory and go with
// the process; the ledger makes up for that, as it does for a broker's lost disk.
//
// It behaves like the broker where the difference would show: a queue comes into
// being with the first message or slot, a message that is not acked goes back to
// the head of its queue and carries the redelivered hint, slots that wait are
// served in turn, and Disconnect makes every delivery stale that is open. It
// has no types of queues, since all of it lives as long as the process: Disconnect plays
// the broker that keeps its messages, Restart the one that forgets them. It is
// simpler in three ways: a receipt is resolved when Publish returns, so
// Disconnect finds none open; there is no limit to redeliveries; and a slot is
// given a message only while it waits in Receive.
package inproc

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// ErrClosed is returned by everything that belongs to a closed Broker.
var ErrClosed = errors.New("broker is closed")

// Broker holds the queues of one process.
type Broker struct {
	prefix string
	done   chan struct{}
	ready  chan struct{} // always closed: there is no connection to wait for

	mu     sync.Mutex
	closed bool
	queues map[string]*queue
	gone   map[string]bool // deleted, and not yet missed by a publisher
	lost   map[string]time.Time
	more   chan struct{} // closed when lost changes
}

// New returns an empty broker; prefix names its parking queue.
func New(prefix string) *Broker {
	ready := make(chan struct{})
	close(ready)
	return &Broker{prefix: prefix, done: make(chan struct{}), ready: ready, queues: map[string]*queue{}, gone: map[string]bool{},
		lost: map[string]time.Time{}, more: make(chan struct{})}
}

// Publisher returns a publisher. All publishers of a broker are alike.
func (b *Broker) Publisher() *Publisher { return &Publisher{face{b}} }

// Consumer returns a source of slots.
func (b *Broker) Consumer() *Consumer { return &Consumer{face{b}} }

// Admin returns what tells about queues.
func (b *Broker) Admin() *Admin { return &Admin{face{b}} }

// Disconnect does what the loss of every connection does: all open deliveries
// become stale and their messages are delivered again.
func (b *Broker) Disconnect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.queues {
		for m := range q.unacked {
			q.putBack(m)
		}
	}
}

// Restart does what the restart of a broker does to queues that forget: it loses all
// messages, those in the hands of slots too, and every delivery becomes stale.
func (b *Broker) Restart() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, q := range b.queues {
		q.ready = nil
		for m := range q.unacked {
			q.release(m)
		}
		b.lose(name)
	}
}

// lose notes that what was in a queue is lost; the caller holds mu.
func (b *Broker) lose(name string) {
	b.lost[name] = time.Now()
	close(b.more)
	b.more = make(chan struct{})
}

// Close ends the broker: whoever waits in Receive gets ErrClosed.
func (b *Broker) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.done)
	}
}

// queue returns the queue of that name, making it if need be; the caller holds mu.
func (b *Broker) queue(name string) *queue {
	q := b.queues[name]
	if q == nil {
		q = &queue{unacked: map[*message]bool{}, slots: map[*slot]bool{}}
		b.queues[name] = q
	}
	return q
}

// face is what Publisher, Consumer and Admin have in common with those of a real
// broker: they are run and have a connection, which here never fails.
type face struct{ broker *Broker }

// Run waits until ctx ends and returns nil.
func (f face) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Ready returns a channel that is closed.
func (f face) Ready() <-chan struct{} { return f.broker.ready }

// State tells that there is a connection, until the broker is closed.
func (f face) State() (connected bool, blockedSince time.Time) {
	f.broker.mu.Lock()
	defer f.broker.mu.Unlock()
	return !f.broker.closed, time.Time{}
}

// Publisher puts messages into queues.
type Publisher struct{ face }

// Prepare has nothing to prepare: there is no connection.
func (p *Publisher) Prepare(string) {}

// Losses tells which queues have lost what was in them, and when: see Restart. The
// channel is closed when there is more.
func (p *Publisher) Losses() (map[string]time.Time, <-chan struct{}) {
	p.broker.mu.Lock()
	defer p.broker.mu.Unlock()
	return maps.Clone(p.broker.lost), p.broker.more
}

// Publish puts body into queue, which comes into being with the first message.
// The receipt is resolved when it returns. The error is ErrDisconnected after
// Close, or ctx's when it ended. body must not change afterwards.
func (p *Publisher) Publish(ctx context.Context, queue, _ string, body []byte) (*taskqueue.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := p.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, taskqueue.ErrDisconnected
	}
	receipt := taskqueue.NewReceipt()
	if b.gone[queue] {
		delete(b.gone, queue)
		b.queue(queue)
		receipt.Resolve(taskqueue.ErrUnroutable)
		return receipt, nil
	}
	b.queue(queue).put(&message{body: body})
	receipt.Resolve(nil)
	return receipt, nil
}

// Admin tells about queues.
type Admin struct{ face }

// Depth tells how many messages wait in queue and how many slots consume it; the
// error is ErrUnroutable when there is no such queue.
func (a *Admin) Depth(_ context.Context, queue string) (taskqueue.Depth, error) {
	a.broker.mu.Lock()
	defer a.broker.mu.Unlock()
	q := a.broker.queues[queue]
	if q == nil {
		return taskqueue.Depth{}, taskqueue.ErrUnroutable
	}
	return taskqueue.Depth{Ready: len(q.ready), Consumers: len(q.slots)}, nil
}

// Ensure makes queue if it is missing.
func (a *Admin) Ensure(_ context.Context, queue string) error {
	a.broker.mu.Lock()
	defer a.broker.mu.Unlock()
	delete(a.broker.gone, queue)
	a.broker.queue(queue)
	return nil
}

// Delete removes queue with all its messages. The next message published to it
// is unroutable and brings the queue back; so does a slot that waits.
func (a *Admin) Delete(_ context.Context, queue string) error {
	b := a.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.queues[queue]
	if old == nil {
		return nil
	}
	delete(b.queues, queue)
	b.gone[queue] = true
	for m := range old.unacked {
		old.release(m) // stale
	}
	for _, w := range old.waiting {
		close(w.again)
	}
	old.waiting = nil
	b.lose(queue)
	return nil
}
