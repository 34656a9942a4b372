package rabbit

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// ErrClosed is returned by slots that were closed, or whose consumer ended.
var ErrClosed = errors.New("consumer is closed")

// Consumer hands out slots that receive messages. All slots share its
// connection.
type Consumer struct {
	link *link
	done chan struct{} // closed when Run returns

	mu      sync.Mutex
	ended   bool
	made    int
	slots   map[*slot]bool
	conn    *connection     // nil while there is none
	ctx     context.Context // of conn's generation
	queues  *declarations   // in conn's generation
	running sync.WaitGroup  // one for each slot of the generation, and the watch
}

// NewConsumer returns a Consumer that connects when Run is called.
func NewConsumer(cfg Config) *Consumer {
	return &Consumer{link: newLink(cfg, "consumer"), done: make(chan struct{}), slots: map[*slot]bool{}}
}

// Run keeps the connection until ctx ends, and returns nil then; it returns an
// error at once when the settings are bad. After it returned, nothing of the
// consumer runs and its slots return ErrClosed. Call it once.
func (c *Consumer) Run(ctx context.Context) error {
	defer c.end()
	return c.link.run(ctx, func(ctx context.Context, conn *connection) func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.conn, c.ctx, c.queues = conn, ctx, newDeclarations()
		c.running.Go(func() { c.watch(ctx) })
		for s := range c.slots {
			c.attach(s)
		}
		return c.leave
	})
}

// attach starts the part of s that belongs to this generation; the caller holds
// mu.
func (c *Consumer) attach(s *slot) {
	ctx, conn, queues := c.ctx, c.conn, c.queues
	s.running.Add(1)
	c.running.Go(func() {
		defer s.running.Done()
		s.attend(ctx, conn, queues)
	})
}

func (c *Consumer) leave() {
	c.mu.Lock()
	c.conn, c.ctx, c.queues = nil, nil, nil
	c.mu.Unlock()
	c.running.Wait()
}

func (c *Consumer) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.ended = true
		close(c.done)
	}
}

// Ready returns a channel that is closed while there is a connection. After a
// loss a new one is returned, so ask again.
func (c *Consumer) Ready() <-chan struct{} { return c.link.Ready() }

// State tells whether there is a connection. The broker blocks no connection
// that only consumes, so blockedSince stays zero.
func (c *Consumer) State() (connected bool, blockedSince time.Time) { return c.link.State() }

// Slot returns a new slot for queue, which is declared if it is missing. The
// slot counts as a consumer from its first Receive on. Between two Receives the
// broker may send it one message, which the next Receive returns: close a slot
// that is not going to receive. The error is ErrClosed after Run returned.
func (c *Consumer) Slot(queue string) (taskqueue.Slot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, ErrClosed
	}
	c.made++
	s := newSlot(c, queue, c.made)
	c.slots[s] = true
	if c.conn != nil {
		c.attach(s)
	}
	return s, nil
}

// drop forgets s, so that the next generation does not attach it.
func (c *Consumer) drop(s *slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.slots, s)
}
