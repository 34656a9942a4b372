package coordinator

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Publisher is the publishing face of a task queue.
type Publisher interface {
	Run(ctx context.Context) error
	Publish(ctx context.Context, queue, id string, body []byte) (*taskqueue.Receipt, error)
	State() (connected bool, blockedSince time.Time)
	// Prepare has the way to a queue open, so that the first message need not wait.
	Prepare(queue string)
	// Losses tells which queues have lost what was in them, and when that was found.
	Losses() (map[string]time.Time, <-chan struct{})
}

// Admin is the face of a task queue that tells of queues.
type Admin interface {
	Run(ctx context.Context) error
	Depth(ctx context.Context, queue string) (taskqueue.Depth, error)
}

// NewQueue joins the two faces, each with a connection of its own.
func NewQueue(p Publisher, a Admin) Queue { return &joined{Publisher: p, admin: a} }

type joined struct {
	Publisher
	admin Admin
}

func (q *joined) Depth(ctx context.Context, queue string) (taskqueue.Depth, error) {
	return q.admin.Depth(ctx, queue)
}

func (q *joined) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return q.Publisher.Run(ctx) })
	g.Go(func() error { return q.admin.Run(ctx) })
	return g.Wait()
}
