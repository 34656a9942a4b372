package taskqueue

import (
	"context"
	"errors"
	"sync"
)

// Queue returns the name of a pool's queue, e.g. "station.pool.default".
func Queue(prefix, pool string) string { return prefix + ".pool." + pool }

// Parking returns the name of the queue that keeps messages nobody can use:
// malformed ones, and ones the broker gave up on.
func Parking(prefix string) string { return prefix + ".parked" }

// Errors of a Receipt and of the verbs below.
var (
	// ErrUnroutable: the broker has no such queue. The message is not stored.
	ErrUnroutable = errors.New("message returned: no such queue")
	// ErrUnconfirmed: the broker refused the message, or the connection went
	// before it answered. The message may or may not be stored: send it again.
	ErrUnconfirmed = errors.New("message not confirmed")
	// ErrDisconnected: there is no connection now; one is being made.
	ErrDisconnected = errors.New("no connection to the broker")
	// ErrStale: the delivery belongs to a connection that is gone. The broker
	// delivers it again, so acking it would be wrong and is not tried.
	ErrStale = errors.New("delivery is stale")
)

// Receipt is the broker's answer to one published message, to come.
type Receipt struct {
	done chan struct{}
	once sync.Once
	err  error
}

// NewReceipt returns an open receipt. Only queue implementations make them.
func NewReceipt() *Receipt { return &Receipt{done: make(chan struct{})} }

// Resolve closes the receipt; later calls do nothing.
func (r *Receipt) Resolve(err error) {
	r.once.Do(func() { r.err = err; close(r.done) })
}

// Done is closed when the answer is there.
func (r *Receipt) Done() <-chan struct{} { return r.done }

// Err is nil when the broker stored the message in a queue. Read it after Done.
func (r *Receipt) Err() error { return r.err }

// Delivery is one message handed to one slot. Exactly one of Ack, Park and
// Requeue ends it; each returns ErrStale when the connection it came by is gone.
type Delivery interface {
	Body() []byte
	// Redelivered is a hint that somebody received it before; no decision may
	// rest on it.
	Redelivered() bool
	Ack() error
	// Park sends it to the parking queue: it can never be worked on.
	Park() error
	// Requeue hands it back for another consumer. Its slot is sent no other before it
	// asks again.
	Requeue() error
}

// Slot is one worker slot: it holds at most one delivery at a time, and the
// broker sends it no other before that one ended. A slot is used by one
// goroutine.
type Slot interface {
	// Receive waits for the next message. It survives reconnects and returns an
	// error only when ctx ended or the source was closed.
	Receive(ctx context.Context) (Delivery, error)
	// AckEarly acks d while its work goes on, and takes the slot out of
	// consumption first, so that no other message waits behind the work. The
	// next Receive consumes again.
	AckEarly(ctx context.Context, d Delivery) error
	// Close gives the slot up; an unfinished delivery goes back to the queue.
	Close() error
}

// Depth is what a broker tells of one queue.
type Depth struct {
	Ready     int // messages waiting
	Consumers int // consuming; slots of one process may share a consumer
}
