package rabbit

import (
	"context"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// ErrClosed is returned by slots that were closed, or whose consumer ended.
var ErrClosed = errors.New("consumer is closed")

// Consumer hands out slots that receive messages. All slots share its
// connection, and those of one queue a channel.
type Consumer struct {
	link *link
	done chan struct{} // closed when Run returns

	mu      sync.Mutex
	ended   bool
	feeds   map[string]*feed
	conn    *connection     // nil while there is none
	ctx     context.Context // of conn's generation
	running sync.WaitGroup  // everything that belongs to the generation

	questions *amqp.Channel // of conn, for questions; nil = the next one opens it
	asking    bool          // one is out
}

// NewConsumer returns a Consumer that connects when Run is called.
func NewConsumer(cfg Config) *Consumer {
	return &Consumer{link: newLink(cfg, "consumer"), done: make(chan struct{}), feeds: map[string]*feed{}}
}

// Run keeps the connection until ctx ends, and returns nil then; it returns an
// error at once when the settings are bad. After it returned, nothing of the
// consumer runs and its slots return ErrClosed. Call it once.
func (c *Consumer) Run(ctx context.Context) error {
	defer c.end()
	return c.link.run(ctx, func(ctx context.Context, conn *connection) func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.conn, c.ctx = conn, ctx
		for _, f := range c.feeds {
			c.attach(f)
		}
		return c.leave
	})
}

// attach starts the part of f that belongs to this generation; the caller holds
// mu.
func (c *Consumer) attach(f *feed) {
	ctx, conn := c.ctx, c.conn
	c.running.Go(func() { f.attend(ctx, conn) })
}

func (c *Consumer) leave() {
	c.mu.Lock()
	c.conn, c.ctx, c.questions = nil, nil, nil
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
// broker sends messages for the slot from its first Receive on. Between two Receives
// one may be waiting for the next Receive: close a slot that is not going to receive.
// The error is ErrClosed after Run returned.
func (c *Consumer) Slot(queue string) (taskqueue.Slot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, ErrClosed
	}
	return c.feed(queue).slot(), nil
}

// feed returns the feed of a queue; the caller holds mu.
func (c *Consumer) feed(queue string) *feed {
	f := c.feeds[queue]
	if f == nil {
		f = newFeed(c, queue)
		c.feeds[queue] = f
		if c.conn != nil {
			c.attach(f)
		}
	}
	return f
}

// Spare says that n of the slots of a queue are spare: the broker sends so many fewer
// messages than there are slots for, whichever of them they come to. What is here stays when
// n is raised.
func (c *Consumer) Spare(queue string, n int) {
	c.mu.Lock()
	f := c.feed(queue)
	c.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spare = n
	f.poke()
}
