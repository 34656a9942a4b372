package topology

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/worker"
	"github.com/tradingflow/weather-station/worker/builtin"
	"github.com/tradingflow/weather-station/worker/node"
)

// member is one coordinator or worker, with a port of its own.
type member struct {
	id       string
	listener net.Listener
	work     func(ctx context.Context, m *member) error
	asked    context.Context // ends with the first call of ask
	ask      context.CancelFunc
	ended    chan struct{} // closed when work has returned
	err      error         // of work; read it after ended
}

// add takes the port of a new member.
func (t *Topology) add(ctx context.Context, id, addr string, work func(context.Context, *member) error) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for %s: %w", id, err)
	}
	m := &member{id: id, listener: ln, work: work, ended: make(chan struct{})}
	m.asked, m.ask = context.WithCancel(context.WithoutCancel(ctx))
	t.members = append(t.members, m)
	return nil
}

// run works until ctx ends. A member that is stopped before idles until then:
// the group it runs in takes a service that returns for a failure.
func (m *member) run(ctx context.Context) error {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.asked, cancel)()
	m.err = m.work(work, m)
	if work.Err() != nil && errors.Is(m.err, context.Canceled) {
		m.err = nil // it was stopped while it still connected
	}
	close(m.ended)
	if m.err == nil && m.stopped() {
		<-ctx.Done()
	}
	return m.err
}

func (m *member) stopped() bool { return m.asked.Err() != nil }

func (t *Topology) runWorker(ctx context.Context, m *member) (err error) {
	log := t.cfg.Log.Named("worker")
	l, err := t.ledger(ctx, m, t.cfg.Concurrency+8, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	reg := node.NewRegistry()
	builtin.Register(reg, builtin.Config{DataDir: t.cfg.DataDir, AllowExec: t.cfg.AllowExec, AllowPrivateHTTP: t.cfg.AllowPrivateHTTP, Log: log})
	return worker.Run(ctx, worker.Config{ID: m.id, Prefix: prefix, Concurrency: t.cfg.Concurrency, Grace: t.cfg.Grace, Health: m.listener, Log: log},
		l, t.broker.Consumer(), reg)
}

func (t *Topology) runCoordinator(ctx context.Context, m *member) (err error) {
	log := t.cfg.Log.Named("coordinator")
	etcd, err := coordinator.Connect([]string{t.etcdAddr()})
	if err != nil {
		return fmt.Errorf("make etcd client: %w", err)
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()
	l, err := t.ledger(ctx, m, 48, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return coordinator.Run(ctx, coordinator.Config{ID: m.id, Prefix: prefix, LeaseTTL: t.cfg.LeaseTTL, HTTP: m.listener, Log: log, Ended: t.cfg.Ended},
		etcd, l, coordinator.NewQueue(t.broker.Publisher(), t.broker.Admin()))
}

func (t *Topology) ledger(ctx context.Context, m *member, connections int, log hclog.Logger) (*ledger.Ledger, error) {
	return ledger.Wait(ctx, ledger.Config{URL: "redis://" + t.redis.Addr(), Prefix: prefix, Name: m.id, Connections: connections}, log)
}
