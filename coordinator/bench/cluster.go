package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/bench/shape"
	"github.com/tradingflow/weather-station/coordinator/client"
)

// Flows is where the flows of a benchmark are registered.
type Flows interface {
	Register(ctx context.Context, document []byte, opts client.RegisterOptions) (api.Registered, error)
	DeleteFlow(ctx context.Context, flow string) error
}

// Cycles runs cycles and tells what became of them.
type Cycles interface {
	RunCycle(ctx context.Context, flow, key string, wait time.Duration) (api.CycleSummary, error)
	Journal(ctx context.Context, opts client.JournalOptions) (api.Journal, error)
}

// patience is how long one call waits for the end of a cycle.
const patience = 10 * time.Second

// atOnce is how many flows are registered or deleted at the same time.
const atOnce = 16

// cluster runs jobs on the product.
type cluster struct {
	flows  Flows
	cycles Cycles
	prefix string // begins the ids of all flows
	expire time.Duration
	from   time.Time // when the job that ran last began

	mu   sync.Mutex
	made map[string]bool // flows that are registered
}

func (c *cluster) id(job shape.Job, flow int) string {
	return c.prefix + "-" + job.Name + "-" + strconv.Itoa(flow)
}

// prepare registers the flows of a job that are not yet.
func (c *cluster) prepare(ctx context.Context, job shape.Job) error {
	if job.Beside != nil {
		if err := c.prepare(ctx, *job.Beside); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for f := range job.Flows {
		id := c.id(job, f)
		g.Go(func() error {
			c.mu.Lock()
			known := c.made[id]
			c.made[id] = true // before it is: an answer may be lost
			c.mu.Unlock()
			if known {
				return nil
			}
			doc, err := job.Document(id)
			if err != nil {
				return err
			}
			if _, err := c.flows.Register(ctx, doc, client.RegisterOptions{ContentType: "application/json"}); err != nil {
				return fmt.Errorf("register %s: %w", id, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// remove deletes the registered flows whose ids begin so.
func (c *cluster) remove(ctx context.Context, prefix string) error {
	c.mu.Lock()
	var all []string
	for id := range c.made {
		if strings.HasPrefix(id, prefix) {
			all = append(all, id)
		}
	}
	c.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, id := range all {
		g.Go(func() error {
			err := c.flows.DeleteFlow(ctx, id)
			var p *client.Problem
			if err != nil && !(errors.As(err, &p) && p.Code == api.CodeNotFound) {
				return fmt.Errorf("delete %s: %w", id, err)
			}
			c.mu.Lock()
			delete(c.made, id)
			c.mu.Unlock()
			return nil
		})
	}
	return g.Wait()
}

// run runs a prepared job to its end.
func (c *cluster) run(ctx context.Context, job shape.Job) (shape.Sample, error) {
	if job.Every > 0 {
		return c.tick(ctx, job)
	}
	out := shape.Sample{Nodes: job.Nodes()}
	first := make([]time.Time, job.Flows) // when the first cycle of each started, by the ledger's clock
	beside := c.accompany(ctx, job)
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for f := range job.Flows {
		g.Go(func() error {
			id := c.id(job, f)
			for range job.Cycles {
				s, err := c.once(ctx, id)
				if err != nil {
					return fmt.Errorf("%s: %w", id, err)
				}
				if first[f].IsZero() {
					first[f] = s.StartedAt.Time
				}
			}
			return nil
		})
	}
	err := g.Wait()
	out.Took = time.Since(began)
	if err = errors.Join(err, beside()); err != nil {
		return out, err
	}
	c.from = slices.MinFunc(first, time.Time.Compare)
	return out, nil
}

// accompany runs the flow beside a job until the function that it returns is
// called, which waits for its cycle.
func (c *cluster) accompany(ctx context.Context, job shape.Job) (end func() error) {
	if job.Beside == nil {
		return func() error { return nil }
	}
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			if _, err := c.once(ctx, c.id(*job.Beside, 0)); err != nil {
				ended <- fmt.Errorf("flow beside it: %w", err)
				return
			}
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
		}
	}()
	return func() error { close(stop); return <-ended }
}

// once runs one cycle.
func (c *cluster) once(ctx context.Context, id string) (api.CycleSummary, error) {
	began, key := time.Now(), uuid.NewString()
	for {
		s, err := c.cycles.RunCycle(ctx, id, key, patience)
		took := time.Since(began)
		switch {
		case err != nil:
			return s, fmt.Errorf("run cycle: %w", err)
		case s.Status == api.CycleCompleted:
			return s, nil
		case api.CycleEnded(s.Status):
			return s, fmt.Errorf("cycle %d ended: %s %s", s.Cycle, s.Status, s.Error)
		case took > c.expire:
			return s, fmt.Errorf("cycle %d has not ended after %s: %d of %d nodes are done", s.Cycle, c.expire, s.CompletedNodes, s.TotalNodes)
		}
	}
}

// tick waits while the flows of a job tick.
func (c *cluster) tick(ctx context.Context, job shape.Job) (out shape.Sample, err error) {
	began := time.Now()
	c.from = began
	if err := pause(ctx, job.Every*time.Duration(job.Cycles)); err != nil {
		return out, err
	}
	out.Took = time.Since(began)
	return out, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
