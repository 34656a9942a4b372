package topology

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tradingflow/weather-station/coordinator"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/inproc"
	"github.com/tradingflow/weather-station/worker"
	"github.com/tradingflow/weather-station/worker/builtin"
	"github.com/tradingflow/weather-station/worker/node"
)

func (t *Topology) runWorker(ctx context.Context, id string, l *life) (err error) {
	led, end, err := t.ledgers(ctx, id, l, t.cfg.Concurrency+8, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	source := &tapped{Consumer: t.broker.Consumer()}
	l.link(source.end)
	reg := node.NewRegistry()
	builtin.Register(reg, builtin.Config{DataDir: t.cfg.DataDir, AllowExec: t.cfg.AllowExec, AllowPrivateHTTP: t.cfg.AllowPrivateHTTP, Log: l.log})
	return worker.Run(ctx, worker.Config{ID: id, Prefix: prefix, Concurrency: t.cfg.Concurrency, Grace: t.cfg.Grace, Health: l.http, Killed: l.killed, Log: l.log},
		led, source, reg)
}

func (t *Topology) runCoordinator(ctx context.Context, id string, l *life) (err error) {
	etcd, err := coordinator.Connect([]string{t.etcdAddr()})
	if err != nil {
		return fmt.Errorf("make etcd client: %w", err)
	}
	end := sync.OnceValue(etcd.Close)
	l.link(func() { _ = end() }) // its error is the end itself
	defer func() { err = errors.Join(err, end()) }()
	led, endLedger, err := t.ledgers(ctx, id, l, 48, t.cfg.Partitions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, endLedger()) }()
	return coordinator.Run(ctx, coordinator.Config{ID: id, Prefix: prefix, LeaseTTL: t.cfg.LeaseTTL, HTTP: l.http, Presence: l.presence, Log: l.log, Ended: t.cfg.Ended},
		etcd, led, coordinator.NewQueue(mortal{t.broker.Publisher(), l.dying}, t.broker.Admin()))
}

// ledgers connects a life to the ledgers of all partitions; end may be called again.
func (t *Topology) ledgers(ctx context.Context, id string, l *life, connections, partitions int) (_ *ledger.Set, end func() error, err error) {
	led, err := ledger.WaitSet(ctx, ledger.Config{URL: "redis://" + t.redis.Addr(), Prefix: prefix, Name: id, Connections: connections}, partitions, l.log)
	if err != nil {
		return nil, nil, err
	}
	end = sync.OnceValue(led.Close)
	l.link(func() { _ = end() }) // its error is the end itself
	return led, end, nil
}

// mortal is a publisher whose messages reach nobody once its life is being killed.
type mortal struct {
	*inproc.Publisher
	dying <-chan struct{}
}

// Publish puts body into queue.
func (p mortal) Publish(ctx context.Context, queue, id string, body []byte) (*taskqueue.Receipt, error) {
	select {
	case <-p.dying:
		return nil, taskqueue.ErrDisconnected
	default:
		return p.Publisher.Publish(ctx, queue, id, body)
	}
}

// tapped is a consumer whose slots can be ended together, as a broker does when
// it loses the connection: the open messages go back.
type tapped struct {
	*inproc.Consumer

	mu    sync.Mutex
	dead  bool
	slots []taskqueue.Slot
}

// Slot returns a new slot for queue.
func (c *tapped) Slot(queue string) (taskqueue.Slot, error) {
	s, err := c.Consumer.Slot(queue)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil, errors.Join(inproc.ErrClosed, s.Close())
	}
	c.slots = append(c.slots, s)
	return s, nil
}

func (c *tapped) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	for _, s := range c.slots {
		_ = s.Close() // of a slot in memory: it has none to tell
	}
}
