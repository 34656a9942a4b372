// Package worker is the worker's wiring: it puts intake, attempts and settling
// together over a ledger and a task queue. Command worker, the embedded topology
// and the examples all run it.
package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/process"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
	"github.com/tradingflow/weather-station/worker/internal/claims"
	"github.com/tradingflow/weather-station/worker/internal/intake"
	"github.com/tradingflow/weather-station/worker/internal/settle"
	"github.com/tradingflow/weather-station/worker/node"
)

// Source is the task queue as a worker uses it.
type Source interface {
	Run(ctx context.Context) error
	Slot(queue string) (taskqueue.Slot, error)
	State() (connected bool, blockedSince time.Time)
}

// Config says what kind of worker it is. Zero values mean the defaults.
type Config struct {
	ID          string        // made up of host and a random part when empty
	Pool        string        // "default"
	Concurrency int           // slots; 16
	Prefix      string        // of queue names; "station"
	Lease       time.Duration // of a claim; 10 s
	EarlyAck    time.Duration // run time after which a message is acked; 10 min
	Grace       time.Duration // for running nodes at shutdown; 30 s
	Log         hclog.Logger
	// Health, when set, is where /livez, /readyz and /metrics are served. The
	// leader dials its address to see whether the worker lives.
	Health net.Listener
	// Advertise is the host:port under which coordinators reach Health; its
	// own address when empty.
	Advertise string
}

// Limits of a worker's settings.
const (
	MaxConcurrency = 1000
	MinLease       = time.Second
)

func (c *Config) complete() error {
	var faults []error
	if c.ID == "" {
		c.ID = process.InstanceName("worker")
	}
	if _, err := ids.ParseWorkerID(c.ID); err != nil {
		faults = append(faults, err)
	}
	if c.Pool == "" {
		c.Pool = plan.DefaultPool
	}
	if err := ids.CheckPool(c.Pool); err != nil {
		faults = append(faults, err)
	}
	setDefault(&c.Concurrency, 16)
	setDefault(&c.Lease, 10*time.Second)
	setDefault(&c.EarlyAck, 10*time.Minute)
	setDefault(&c.Grace, 30*time.Second)
	if c.Prefix == "" {
		c.Prefix = "station"
	}
	if c.Concurrency < 1 || c.Concurrency > MaxConcurrency {
		faults = append(faults, fmt.Errorf("concurrency is %d; 1 to %d are allowed", c.Concurrency, MaxConcurrency))
	}
	if c.Lease < MinLease {
		faults = append(faults, fmt.Errorf("lease is %s; at least %s is needed", c.Lease, MinLease))
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	return errors.Join(faults...)
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Run works until ctx ends, then drains: it takes nothing new, lets running
// nodes finish within the grace, hands the rest back, and returns.
func Run(ctx context.Context, cfg Config, l *ledger.Ledger, source Source, reg *node.Registry) error {
	if err := cfg.complete(); err != nil {
		return fmt.Errorf("worker settings: %w", err)
	}
	log := cfg.Log.With("worker", cfg.ID)
	id := ids.WorkerID(cfg.ID)
	m := newMetrics()
	keeper := claims.NewKeeper(claims.Config{Ledger: l, Worker: id, Lease: cfg.Lease, Log: log})
	reporter := &reporter{ledger: l, every: cfg.Lease / 5, ttl: cfg.Lease * 3 / 2, log: log, busy: keeper.Busy, record: ledger.Worker{
		ID: id, Pool: cfg.Pool, Types: reg.Types(), Concurrency: cfg.Concurrency, Version: process.Version(), StartedAt: time.Now(),
		Health: address(cfg),
	}}
	health := process.NewHealth(nil)
	health.Depend("redis", l.Ping)
	health.Depend("rabbitmq", func(context.Context) error {
		if up, _ := source.State(); !up {
			return taskqueue.ErrDisconnected
		}
		return nil
	})
	reporter.loop = health.Loop("beat", max(10*time.Second, 4*cfg.Lease))
	base := []process.Service{
		{Name: "queue", Run: source.Run},
		{Name: "claims", Run: keeper.Run},
		{Name: "beat", Run: reporter.run},
	}
	if cfg.Health != nil {
		mux := process.Mux(health, promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
		mux.HandleFunc("GET /worker", identity(cfg.ID))
		base = append(base, process.Service{Name: "health", Run: func(ctx context.Context) error { return process.Serve(ctx, cfg.Health, mux) }})
	}
	work := process.Service{Name: "intake", Run: func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { reporter.draining.Store(true); health.Drain("shutting down") })
		defer stop()
		return intake.Run(ctx, intake.Config{
			Ledger: l, Source: source, Claims: keeper, Registry: reg, Queue: taskqueue.Queue(cfg.Prefix, cfg.Pool), Worker: id,
			Slots: cfg.Concurrency, Lease: cfg.Lease, EarlyAck: cfg.EarlyAck, Grace: cfg.Grace, Log: log, Ran: m.ran,
			Settler: &settle.Settler{Ledger: l, Log: log},
			Runner:  &attempt.Runner{Log: log, Programs: expr.NewCache(0), Abandoned: m.abandon},
		})
	}}
	log.Info("worker starts", "pool", cfg.Pool, "concurrency", cfg.Concurrency, "types", strings.Join(reg.Types(), " "), "health", address(cfg))
	defer log.Info("worker stopped")
	return process.NewGroup(log, base, []process.Service{work}).Run(ctx)
}

func address(cfg Config) string {
	switch {
	case cfg.Advertise != "":
		return cfg.Advertise
	case cfg.Health != nil:
		return cfg.Health.Addr().String()
	default:
		return ""
	}
}

// reporter keeps the worker's record in the ledger.
type reporter struct {
	ledger   *ledger.Ledger
	record   ledger.Worker
	every    time.Duration
	ttl      time.Duration
	busy     func() int
	draining atomic.Bool
	loop     *process.Loop
	log      hclog.Logger
}

func (r *reporter) run(ctx context.Context) error {
	defer r.loop.Done()
	t := time.NewTicker(r.every)
	defer t.Stop()
	down := false
	for {
		r.record.Busy, r.record.Draining = r.busy(), r.draining.Load()
		err := r.ledger.BeatWorker(ctx, r.record, r.ttl)
		switch {
		case err != nil && ctx.Err() == nil && !down:
			down = true
			r.log.Warn("this worker can't be reported", "error", err)
		case err == nil && down:
			down = false
			r.log.Info("this worker is reported again")
		}
		r.loop.Progress()
		select {
		case <-t.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := r.ledger.LeaveWorker(last, r.record.ID); err != nil {
				r.log.Warn("this worker can't be taken off the list; its record runs out", "error", err)
			}
			return nil
		}
	}
}

type metrics struct {
	registry  *prometheus.Registry
	attempts  *prometheus.HistogramVec
	abandoned prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		attempts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "station_worker_attempt_seconds", Help: "Run time of attempts by how they ended.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 30, 300},
		}, []string{"status"}),
		abandoned: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "station_worker_abandoned_handlers", Help: "Handlers that did not return when their context ended, and still run.",
		}),
	}
	m.registry.MustRegister(m.attempts, m.abandoned)
	return m
}

func (m *metrics) ran(status string, took time.Duration) {
	m.attempts.WithLabelValues(status).Observe(took.Seconds())
}

func (m *metrics) abandon() func() {
	m.abandoned.Inc()
	return m.abandoned.Dec
}
