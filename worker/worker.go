// Package worker is the worker's wiring: it puts intake, attempts and settling
// together over a ledger and a task queue. Command worker, the embedded topology
// and the examples all run it.
package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/shared/hop"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/process"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
	"github.com/tradingflow/weather-station/worker/internal/claims"
	"github.com/tradingflow/weather-station/worker/internal/intake"
	"github.com/tradingflow/weather-station/worker/internal/once"
	"github.com/tradingflow/weather-station/worker/internal/route"
	"github.com/tradingflow/weather-station/worker/internal/settle"
	"github.com/tradingflow/weather-station/worker/node"
)

// Source is the task queue as a worker uses it. One that is far from the worker, so that a
// message is long on its way, should be an intake.Ahead too: then some may wait here.
type Source interface {
	Run(ctx context.Context) error
	Slot(queue string) (taskqueue.Slot, error)
	State() (connected bool, blockedSince time.Time)
}

// Config says what kind of worker it is. Zero values mean the defaults.
type Config struct {
	ID          string        // made up of host and a random part when empty
	Pool        string        // "default"
	Concurrency int           // nodes at once; 16
	Prefix      string        // of queue names; "station"
	Lease       time.Duration // of a claim; 10 s
	EarlyAck    time.Duration // run time after which a message is acked; 10 min
	Grace       time.Duration // for running nodes at shutdown; 30 s, negative = none
	QueueOnly   bool          // every node is taken from the queue: none is claimed with the report of its predecessor
	Brief       time.Duration // nodes of types that take no longer may be claimed several with one report; 1 ms, negative = never
	// Killed, when it is closed, ends what runs at once: nothing is finished, reported or
	// handed back. It is for a cluster in one process, where a worker's death is played.
	Killed <-chan struct{}
	// Coordinators are the base URLs of those to ask for once-keys; empty: those that
	// announce themselves in the ledger.
	Coordinators []string
	Log          hclog.Logger
	// Health, when set, is where /livez, /readyz and /metrics are served. The
	// leader dials its address to see whether the worker lives.
	Health net.Listener
	// Profiles, when set, is where profiles and recordings of hops are served; see
	// process.ListenProfiles.
	Profiles net.Listener
	// Advertise is the host:port under which coordinators reach Health. When
	// empty it is Health's own address, with this host's name for one that
	// listens everywhere.
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
	setDefault(&c.Brief, time.Millisecond)
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
	if c.EarlyAck < 0 {
		faults = append(faults, fmt.Errorf("early ack is %s; it can't be negative", c.EarlyAck))
	}
	if _, err := once.Addresses(c.Coordinators); err != nil {
		faults = append(faults, err)
	}
	if c.Advertise != "" {
		if host, port, err := net.SplitHostPort(c.Advertise); err != nil || host == "" || port == "" {
			faults = append(faults, fmt.Errorf("advertise is %q; it must be HOST:PORT", c.Advertise))
		}
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
func Run(ctx context.Context, cfg Config, ledgers *ledger.Set, source Source, reg *node.Registry) error {
	if err := cfg.complete(); err != nil {
		return fmt.Errorf("worker settings: %w", err)
	}
	log := cfg.Log.With("worker", cfg.ID)
	id := ids.WorkerID(cfg.ID)
	l := route.New(ledgers)
	m := newMetrics()
	keeper := claims.NewKeeper(claims.Config{Ledger: l, Worker: id, Lease: cfg.Lease, Partition: l.Partition, Log: log})
	keys, err := once.New(once.Config{Ledger: l, Coordinators: cfg.Coordinators, Host: hostname(), Log: log})
	if err != nil {
		return fmt.Errorf("worker settings: %w", err)
	}
	defer keys.Close()
	reporter := &reporter{ledger: l, every: cfg.Lease / 5, ttl: cfg.Lease * 3 / 2, log: log, busy: func() int { return min(keeper.Busy(), cfg.Concurrency) }, record: ledger.Worker{
		ID: id, Pool: cfg.Pool, Types: reg.Types(), Concurrency: cfg.Concurrency, Pack: task.MaxPack, Version: process.Version(), StartedAt: time.Now(),
		Host: hostname(), Health: address(cfg),
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
		mux.HandleFunc("GET /worker/presence", presence(cfg.ID))
		base = append(base, process.Service{Name: "health", Run: func(ctx context.Context) error { return process.Serve(ctx, cfg.Health, mux) }})
	}
	if cfg.Profiles != nil {
		log.Info("profiles are served", "address", cfg.Profiles.Addr())
		base = append(base, process.Service{Name: "profiles", Run: func(ctx context.Context) error {
			return process.Serve(ctx, cfg.Profiles, process.Profiles(hop.Handle))
		}})
	}
	work := process.Service{Name: "intake", Run: func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { reporter.draining.Store(true); health.Drain("shutting down") })
		defer stop()
		ahead, _ := source.(intake.Ahead)
		return intake.Run(ctx, intake.Config{
			Ahead:  ahead,
			Ledger: l, Partitions: l, Source: source, Claims: keeper, Once: keys, Registry: reg, Queue: taskqueue.Queue(cfg.Prefix, cfg.Pool), Worker: id,
			Slots: cfg.Concurrency, Lease: cfg.Lease, EarlyAck: cfg.EarlyAck, Grace: cfg.Grace, Killed: cfg.Killed, Log: log, Ran: m.ran, QueueOnly: cfg.QueueOnly, Brief: cfg.Brief,
			Settler: &settle.Settler{Ledger: l, Log: log},
			Runner:  &attempt.Runner{Log: log, Programs: expr.NewCache(0), Abandoned: m.abandon},
		})
	}}
	log.Info("worker starts", "pool", cfg.Pool, "concurrency", cfg.Concurrency, "types", strings.Join(reg.Types(), " "), "health", address(cfg))
	defer log.Info("worker stopped")
	return process.NewGroup(log, base, []process.Service{work}).Run(ctx)
}

// address is where coordinators are told to look whether the worker lives. "[::]"
// must not be it: a coordinator on another host would reach its own, find nobody
// there and take the worker for dead. A loopback address is as bad, but right
// where everything runs on one host, so it is left as it was set.
// hostname names this machine; "" when it has no name, and then nobody takes its
// loopback addresses for their own.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

func address(cfg Config) string {
	if cfg.Advertise != "" || cfg.Health == nil {
		return cfg.Advertise
	}
	a, ok := cfg.Health.Addr().(*net.TCPAddr)
	if !ok || !a.IP.IsUnspecified() {
		return cfg.Health.Addr().String()
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(a.Port))
}
