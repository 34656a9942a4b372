package rabbit

import (
	"context"
	"sync"
)

// declarations remembers which queues one generation has declared, and lets one
// slot declare for all that want the same queue at the same time. That is not
// only thrift: RabbitMQ 3.10 tells a second declarer that a quorum queue exists
// before its process runs, and ends the whole connection of whoever consumes it
// then. Two processes can still meet like that on the first day of a queue; the
// one that is too early connects anew.
type declarations struct {
	mu      sync.Mutex
	byQueue map[string]*declaration
	were    map[string]bool // were there once
}

type declaration struct {
	done chan struct{} // closed when err is set
	err  error
}

func newDeclarations() *declarations {
	return &declarations{byQueue: map[string]*declaration{}, were: map[string]bool{}}
}

// ensure calls declare, unless somebody did so since the last forget; then it
// waits for that one's result. declare is told whether the queue was there before, in
// this generation. A failure is forgotten by itself.
func (d *declarations) ensure(ctx context.Context, queue string, declare func(deleted bool) error) error {
	d.mu.Lock()
	known := d.byQueue[queue]
	if known != nil {
		d.mu.Unlock()
		select {
		case <-known.done:
			return known.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	mine := &declaration{done: make(chan struct{})}
	d.byQueue[queue] = mine
	deleted := d.were[queue]
	d.mu.Unlock()
	mine.err = declare(deleted)
	close(mine.done)
	d.mu.Lock()
	d.were[queue] = mine.err == nil
	if mine.err != nil {
		delete(d.byQueue, queue)
	}
	d.mu.Unlock()
	return mine.err
}

// forget makes the next ensure declare again.
func (d *declarations) forget(queue string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.byQueue[queue]; known != nil {
		select {
		case <-known.done:
			delete(d.byQueue, queue)
		default: // being declared right now
		}
	}
}
