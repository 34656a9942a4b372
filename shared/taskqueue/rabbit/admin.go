package rabbit

import (
	"context"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// adminTimeout is how long the broker may take to answer a question.
const adminTimeout = 2 * time.Second

// Admin asks the broker about queues, on a connection of its own.
type Admin struct {
	link *link

	mu      sync.Mutex
	conn    *connection     // nil while there is none
	idle    []*amqp.Channel // of conn, for the next questions
	running sync.WaitGroup  // questions on conn
}

// NewAdmin returns an Admin that connects when Run is called.
func NewAdmin(cfg Config) *Admin { return &Admin{link: newLink(cfg, "admin")} }

// Run keeps the connection until ctx ends, and returns nil then; it returns an
// error at once when the settings are bad.
func (a *Admin) Run(ctx context.Context) error {
	return a.link.run(ctx, func(_ context.Context, conn *connection) func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.conn, a.idle = conn, nil
		return func() {
			a.mu.Lock()
			a.conn, a.idle = nil, nil
			a.mu.Unlock()
			a.running.Wait()
		}
	})
}

// Ready returns a channel that is closed while there is a connection. After a
// loss a new one is returned, so ask again.
func (a *Admin) Ready() <-chan struct{} { return a.link.Ready() }

// State tells whether there is a connection.
func (a *Admin) State() (connected bool, blockedSince time.Time) { return a.link.State() }

// Depth tells how many messages wait in queue and how many slots consume it.
// The error is ErrUnroutable when there is no such queue and ErrDisconnected
// when there is no connection.
func (a *Admin) Depth(ctx context.Context, queue string) (taskqueue.Depth, error) {
	var q amqp.Queue
	err := a.ask(ctx, func(conn *amqp.Connection) error {
		ch, err := a.take(conn)
		if err != nil {
			return fmt.Errorf("open a channel: %w", err)
		}
		if q, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil { // the broker has closed the channel
			return fmt.Errorf("look for it: %w", err)
		}
		a.putBack(conn, ch)
		return nil
	})
	if refusedWith(err, amqp.NotFound) {
		err = fmt.Errorf("%w (%w)", taskqueue.ErrUnroutable, err)
	}
	if err != nil {
		return taskqueue.Depth{}, fmt.Errorf("depth of queue %s: %w", queue, err)
	}
	return taskqueue.Depth{Ready: q.Messages, Consumers: q.Consumers}, nil
}

// take returns a channel for one question. One that has served another is taken first: to
// open one and close it takes two more round trips, and a leader with a backlog asks often.
func (a *Admin) take(conn *amqp.Connection) (*amqp.Channel, error) {
	a.mu.Lock()
	if n := len(a.idle); n > 0 && a.conn != nil && a.conn.Connection == conn {
		ch := a.idle[n-1]
		a.idle = a.idle[:n-1]
		a.mu.Unlock()
		return ch, nil
	}
	a.mu.Unlock()
	return conn.Channel() //nolint:wrapcheck // the caller does
}

// putBack keeps a channel that was of use.
func (a *Admin) putBack(conn *amqp.Connection, ch *amqp.Channel) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil && a.conn.Connection == conn {
		a.idle = append(a.idle, ch)
	}
}

// Ensure declares queue, and the parking queue, if they are missing.
func (a *Admin) Ensure(ctx context.Context, queue string) error {
	return a.ask(ctx, func(conn *amqp.Connection) error {
		_, err := a.link.cfg.declareOn(conn, queue)
		return err
	})
}

// Delete removes queue with all its messages; a missing queue is no error.
func (a *Admin) Delete(ctx context.Context, queue string) error {
	return a.ask(ctx, func(conn *amqp.Connection) error { return deleteOn(conn, queue) })
}

// ask runs question. One that gets no answer in time ends with the connection, and all
// others with it, instead of being left behind.
func (a *Admin) ask(ctx context.Context, question func(*amqp.Connection) error) error {
	a.mu.Lock()
	conn := a.conn
	if conn == nil {
		a.mu.Unlock()
		return taskqueue.ErrDisconnected
	}
	answer := make(chan error, 1)
	a.running.Go(func() {
		answer <- conn.bounded(adminTimeout, func() error { return question(conn.Connection) })
	})
	a.mu.Unlock()
	select {
	case err := <-answer:
		if err != nil && conn.IsClosed() {
			return fmt.Errorf("%w: %w", taskqueue.ErrDisconnected, err)
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
