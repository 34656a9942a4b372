// Package coordinator is the coordinator's wiring: election, the leader's work,
// the API and what they share, over etcd, a ledger and a task queue. Command
// coordinator and the embedded topology run it.
package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/alert"
	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/control"
	"github.com/tradingflow/weather-station/coordinator/internal/election"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/leader"
	"github.com/tradingflow/weather-station/coordinator/internal/mirror"
	"github.com/tradingflow/weather-station/coordinator/internal/once"
	"github.com/tradingflow/weather-station/coordinator/internal/reconcile"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/shared/hop"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/process"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Queue is the task queue as a coordinator uses it.
type Queue interface {
	Run(ctx context.Context) error
	Publish(ctx context.Context, queue, id string, body []byte) (*taskqueue.Receipt, error)
	Depth(ctx context.Context, queue string) (taskqueue.Depth, error)
	State() (connected bool, blockedSince time.Time)
	Prepare(queue string)
	Losses() (map[string]time.Time, <-chan struct{})
}

// Config says how a coordinator works. Zero values mean the defaults.
type Config struct {
	ID        string        // shown to people; host and a random part when empty
	Prefix    string        // first part of every key and queue name; "station"
	LeaseTTL  time.Duration // of the leadership in etcd; 5 s
	Lease     time.Duration // of a claim; 10 s; the same as the workers'
	Within    time.Duration // what a store has lost is put back within it; 5 s
	MaxLost   int           // losses of its worker that a node survives; 3
	Detailed  int           // newest cycles of a flow that are kept whole; 10
	Kept      int           // newest cycles of a flow that are kept at all; 100
	OnceKeep  time.Duration // how long once-keys are kept after their cycle is forgotten; a day
	Webhook   string        // gets each alert as a JSON POST; "" = log only
	HTTP      net.Listener  // where the API is served
	Advertise string        // URL under which others reach the API; made of HTTP when empty
	// Presence, when set, is where this coordinator shows to the others that it
	// lives, so that they need not wait for its lease when it crashed.
	Presence        net.Listener
	PresenceAddress string // host:port under which others reach it; its own when empty
	// Profiles, when set, is where profiles and recordings of hops are served; see
	// process.ListenProfiles.
	Profiles net.Listener
	Log      hclog.Logger
	// Elected, when set, hears of each epoch this coordinator leads in.
	Elected func(epoch ids.Epoch)
	// Ended, when set, hears of each cycle that ends while this coordinator
	// leads: at least once, so a cycle may be told again after a failover. It
	// must not block.
	Ended func(c ledger.CycleState)
}

func (c *Config) complete() error {
	var faults []error
	if c.ID == "" {
		c.ID = process.InstanceName("coordinator")
	}
	if c.Prefix == "" {
		c.Prefix = "station"
	}
	if c.LeaseTTL == 0 {
		c.LeaseTTL = election.DefaultTTL
	}
	if c.Lease == 0 {
		c.Lease = 10 * time.Second
	}
	if c.Lease < time.Second {
		faults = append(faults, fmt.Errorf("lease is %s; at least 1s is needed", c.Lease))
	}
	if c.Within == 0 {
		c.Within = reconcile.DefaultWithin
	}
	if c.Within < reconcile.MinWithin {
		faults = append(faults, fmt.Errorf("repairs are promised within %s; at least %s is needed", c.Within, reconcile.MinWithin))
	}
	if c.MaxLost == 0 {
		c.MaxLost = 3
	}
	if c.OnceKeep == 0 {
		c.OnceKeep = once.DefaultKeep
	}
	if c.OnceKeep < time.Minute {
		faults = append(faults, fmt.Errorf("once-keep is %s; at least 1m is needed", c.OnceKeep))
	}
	if c.Detailed < 0 || c.Kept < 0 || (c.Kept > 0 && c.Detailed > c.Kept) {
		faults = append(faults, fmt.Errorf("retention: %d cycles whole of %d kept makes no sense", c.Detailed, c.Kept))
	}
	if c.HTTP == nil {
		faults = append(faults, errors.New("HTTP is nil: the API needs a listener"))
	} else if c.Advertise == "" {
		c.Advertise = "http://" + reachable(c.HTTP.Addr())
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	return errors.Join(faults...)
}

// Run works until ctx ends: it serves the API, stands for election in every partition,
// and leads those in which it is elected. It stops in order: leadership first, which goes to the next
// coordinator at once if there is one, then the API, then the connections.
func Run(ctx context.Context, cfg Config, etcd *clientv3.Client, ledgers *ledger.Set, queue Queue) error {
	if err := cfg.complete(); err != nil {
		return fmt.Errorf("coordinator settings: %w", err)
	}
	log := cfg.Log.With("coordinator", cfg.ID)
	info, err := json.Marshal(control.Info{HTTP: cfg.Advertise, Version: process.Version()})
	if err != nil {
		return fmt.Errorf("encode address: %w", err)
	}
	agreed := newNumber(etcd, cfg.Prefix, ledgers.Count())
	if err := agreed.first(ctx); err != nil {
		return err
	}
	alerts, err := alert.New(alert.Config{Webhook: cfg.Webhook, Log: log.Named("alert")})
	if err != nil {
		return err
	}
	recovered := func(what string) { alerts.Raise(alert.Alert{Kind: "recovered", Message: what, At: time.Now()}) }
	calm := calmed(&cfg)
	cat, err := catalog.New(catalog.Config{Client: etcd, Prefix: cfg.Prefix, Log: log.Named("catalog"), Calm: calm,
		Copies: mirror.NewCopies(copies(ledgers), log.Named("catalog"), recovered)})
	if err != nil {
		return err
	}
	keys, err := once.New(once.Config{Client: etcd, Prefix: cfg.Prefix})
	if err != nil {
		return err
	}
	flows := registry.New(cat, log.Named("registry"))
	m := newMeters(flows.Len)
	parts, err := partitions(cfg, etcd, ledgers, flows, m, info, log)
	if err != nil {
		return err
	}
	health := dependencies(ledgers, queue, flows)
	endings := &control.Endings{}
	ctl := control.New(control.Config{
		Parts: reached(parts, log), Catalog: cat, Registry: flows, Once: keys, Depths: queue, Endings: endings,
		Prefix: cfg.Prefix, ID: cfg.ID, CheckExpr: expr.CheckWhen, Ready: health.Ready, Log: log.Named("control"),
	})
	reign := leader.Config{
		Queue: queue, Loaded: flows.Loaded(), Alerts: alerts, Once: keys, OnceKeep: cfg.OnceKeep, Prefix: cfg.Prefix, Lease: cfg.Lease, Within: cfg.Within, MaxLost: cfg.MaxLost,
		Detailed: cfg.Detailed, Kept: cfg.Kept, Log: log.Named("leader"), WorkerGone: leader.WorkerGone,
	}
	handler, err := httpapi.New(httpapi.Config{Service: ctl, Health: health, Log: log.Named("api"), Version: process.Version(),
		Metrics: promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})})
	if err != nil {
		return err
	}
	log.Info("coordinator starts", "api", cfg.Advertise)
	defer log.Info("coordinator stopped")
	profiles := func(ctx context.Context) error { <-ctx.Done(); return nil }
	if cfg.Profiles != nil {
		log.Info("profiles are served", "address", cfg.Profiles.Addr())
		profiles = func(ctx context.Context) error {
			return process.Serve(ctx, cfg.Profiles, process.Profiles(hop.Handle))
		}
	}
	return process.NewGroup(log,
		append(clocks(parts), []process.Service{{Name: "queue", Run: queue.Run}, {Name: "catalog", Run: cat.Run}, {Name: "alerts", Run: alerts.Run}, {Name: "profiles", Run: profiles}}...),
		[]process.Service{{Name: "registry", Run: flows.Run, Ready: flows.Ready()}, {Name: "partitions", Run: agreed.run, Ready: agreed.agreed}, {Name: "warm", Run: func(ctx context.Context) error {
			return warm(ctx, flows, queue, cfg.Prefix)
		}}, {Name: "api", Run: func(ctx context.Context) error {
			return httpapi.Serve(ctx, cfg.HTTP, handler, log, 0)
		}}, {Name: "announce", Run: announcer(everywhere{ledgers}, cfg, log).run}},
		elections(parts, reign, cfg, endings, log),
	).Run(ctx)
}

// checks answers /livez and /readyz.
type checks struct {
	health *process.Health
}

func dependencies(l *ledger.Set, queue Queue, flows *registry.Registry) checks {
	h := process.NewHealth(nil)
	h.Depend("redis", l.Ping)
	h.Depend("rabbitmq", func(context.Context) error {
		up, blocked := queue.State()
		switch {
		case !up:
			return taskqueue.ErrDisconnected
		case !blocked.IsZero():
			return fmt.Errorf("the broker takes no messages since %s", blocked.UTC().Format(time.RFC3339))
		}
		return nil
	})
	h.Depend("etcd", func(context.Context) error {
		select {
		case <-flows.Ready():
			return nil
		default:
			return errors.New("flows are not loaded yet")
		}
	})
	return checks{h}
}

// Live implements httpapi.Health.
func (c checks) Live() error {
	r := c.health.Live()
	for _, x := range r.Checks {
		if !x.OK {
			return fmt.Errorf("%s: %s", x.Name, x.Error)
		}
	}
	return nil
}

// Ready implements httpapi.Health.
func (c checks) Ready(ctx context.Context) []api.Dependency {
	r := c.health.Ready(ctx)
	out := make([]api.Dependency, len(r.Checks))
	for i, x := range r.Checks {
		out[i] = api.Dependency{Name: x.Name, OK: x.OK, Detail: x.Error}
	}
	return out
}
