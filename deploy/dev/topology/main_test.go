package topology_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/topology"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// deadline is generous: it only bounds a test that would hang.
const deadline = 90 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a running topology under test.
type cluster struct {
	*topology.Topology
	client *client.Client
	ctx    context.Context
	stop   func() // ends it and waits

	mu     sync.Mutex
	ended  []ledger.CycleState
	change chan struct{} // closed and renewed when ended grows
}

func start(t *testing.T, cfg topology.Config) *cluster {
	t.Helper()
	c := &cluster{change: make(chan struct{})}
	if cfg.DataDir == "" {
		cfg.DataDir = t.TempDir()
	}
	cfg.Ended = c.hear
	if cfg.LeaseTTL == 0 {
		cfg.LeaseTTL = time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	c.ctx = ctx
	top, err := topology.Open(ctx, cfg)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	c.Topology = top
	work, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- top.Run(work) }()
	c.stop = sync.OnceFunc(func() {
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
		cancel()
	})
	t.Cleanup(c.stop)
	if c.client, err = top.Client(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.client.Close)
	if err := top.Await(ctx, c.client); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) hear(s ledger.CycleState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = append(c.ended, s)
	close(c.change)
	c.change = make(chan struct{})
}

// await waits until the cycle of that number of the flow has ended.
func (c *cluster) await(t *testing.T, flow string, n int64) ledger.CycleState {
	t.Helper()
	for {
		c.mu.Lock()
		change := c.change
		for _, s := range c.ended {
			if string(s.Flow) == flow && s.Cycle == n {
				c.mu.Unlock()
				return s
			}
		}
		c.mu.Unlock()
		select {
		case <-change:
		case <-c.ctx.Done():
			t.Fatalf("cycle %d of %s has not ended: %v", n, flow, c.ctx.Err())
		}
	}
}

func (c *cluster) leader(t *testing.T) (id string, epoch int64) {
	t.Helper()
	out, err := c.client.Cluster(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if out.Leader == nil {
		t.Fatal("nobody leads")
	}
	return out.Leader.ID, out.Leader.Epoch
}
