package rabbit

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// errBlocked is returned by Publish during the broker's memory or disk alarm.
var errBlocked = fmt.Errorf("broker blocks publishers: %w", taskqueue.ErrDisconnected)

// Publisher sends messages. Its methods may be called by many goroutines.
type Publisher struct {
	link   *link
	lanes  atomic.Pointer[lanes] // of this generation; nil while there is none
	losses *losses

	mu     sync.Mutex
	wanted map[string]struct{} // queues to have ready; see Prepare
}

// NewPublisher returns a Publisher that connects when Run is called.
func NewPublisher(cfg Config) *Publisher {
	return &Publisher{link: newLink(cfg, "publisher"), losses: newLosses(), wanted: map[string]struct{}{}}
}

// Run keeps the connection until ctx ends, and returns nil then; it returns an
// error at once when the settings are bad. After it returned, nothing of the
// publisher runs and every receipt is resolved.
func (p *Publisher) Run(ctx context.Context) error {
	return p.link.run(ctx, func(ctx context.Context, conn *connection) func() {
		lanes := &lanes{cfg: p.link.cfg, link: p.link, conn: conn, ctx: ctx, losses: p.losses, byQueue: map[string]*lane{}}
		p.lanes.Store(lanes)
		p.mu.Lock()
		for queue := range p.wanted {
			lanes.get(queue)
		}
		p.mu.Unlock()
		return func() {
			p.lanes.Store(nil)
			lanes.close()
			p.mu.Lock()
			for queue := range lanes.byQueue { // so that the next connection tells what they lost
				p.wanted[queue] = struct{}{}
			}
			p.mu.Unlock()
		}
	})
}

// Ready returns a channel that is closed while there is a connection. After a
// loss a new one is returned, so ask again.
func (p *Publisher) Ready() <-chan struct{} { return p.link.Ready() }

// State tells whether there is a connection, and since when the broker blocks
// publishers; the zero time means that it does not.
func (p *Publisher) State() (connected bool, blockedSince time.Time) { return p.link.State() }

// Prepare has the way to a queue open from now on, in every connection, so that
// the first message need not wait for a channel and the queue's declaration.
func (p *Publisher) Prepare(queue string) {
	p.mu.Lock()
	_, known := p.wanted[queue]
	p.wanted[queue] = struct{}{}
	p.mu.Unlock()
	if lanes := p.lanes.Load(); lanes != nil && !known {
		lanes.get(queue)
	}
}

// Losses tells which queues have lost what was in them, and when that was found: the
// queue was made anew, or it forgets and was empty when the connection came back. What
// was published after that time is not lost. The channel is closed when there is more.
func (p *Publisher) Losses() (map[string]time.Time, <-chan struct{}) { return p.losses.read() }

// Publish sends body to queue, declaring the queue on first use, and returns
// before the broker answered. id is the message's id, for people who look into
// the queue. body must not change afterwards. The error is ErrDisconnected while
// there is no connection or the broker blocks publishers, or ctx's when it ended.
func (p *Publisher) Publish(ctx context.Context, queue, id string, body []byte) (*taskqueue.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	lanes := p.lanes.Load()
	if lanes == nil {
		return nil, taskqueue.ErrDisconnected
	}
	if _, blocked := p.link.State(); !blocked.IsZero() {
		return nil, errBlocked
	}
	lane := lanes.get(queue)
	if lane == nil {
		return nil, taskqueue.ErrDisconnected
	}
	return lane.publish(id, body), nil
}

// lanes are the lanes of one generation, one a queue.
type lanes struct {
	cfg  Config
	link *link
	conn *connection
	ctx  context.Context // of the generation

	losses *losses

	mu      sync.Mutex
	closed  bool
	byQueue map[string]*lane
	running sync.WaitGroup
}

// get returns the lane of queue, starting it when it is new; nil after close.
func (s *lanes) get(queue string) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	l := s.byQueue[queue]
	if l == nil {
		l = newLane(s.cfg, s.link.log.With("queue", queue), queue, s.losses)
		l.blocked = func() bool { _, since := s.link.State(); return !since.IsZero() }
		s.byQueue[queue] = l
		s.running.Go(func() { l.run(s.ctx, s.conn) })
	}
	return l
}

// close waits for all lanes; their connection is closed already.
func (s *lanes) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
}
