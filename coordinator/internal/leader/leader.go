// Package leader is what runs during one epoch, and nothing of it outlives the
// epoch: Run returns only when every loop has stopped.
//
// # Order
//
// First takeover, before anything is read, so that no earlier leader can write
// any more; then outbox, offers and the list of workers, which wait for nothing; then, when
// the ledger's clock has been looked at, all other loops: slots, decisions, leases, timers,
// audit, retention, once-keys. The loops
// share nothing but the ledger. Any of them that is fenced ends the epoch; what
// they meet besides (Redis or RabbitMQ away) they wait out by themselves, each
// with one line in the log when it begins and one when it is over.
//
// # What a new leader knows of the flows
//
// Nothing waits for the flows to be mirrored from the catalog, or for the catalog to be
// loaded, and no step takes longer because there are many flows that rest. When
// the next slot of a flow comes, its schedule says; only whether the slots before are
// accounted stands in the ledger. The slots that the leader before can have left undone are
// those just before now. So the flows with a slot in the last ten seconds are asked for
// first, the latest slot first, in pages of one read each, and are ticked page by page
// (follow.go, rank). Every other flow stands in the ticker's heap at its next slot and is asked for
// when that comes, or when the pass over all flows has come to it: that pass mirrors
// what the ledger lacks, finds slots that were missed longer ago, and is over about a
// second later with a hundred thousand flows. In between a flow may be changed or registered: changes
// come first. What is in the ledger and not in the catalog is removed last, when the
// catalog is loaded.
//
// An index of flows by their next slot, kept in the ledger by the scripts, would tell
// a coordinator that starts alone which flows to load first. It was left out: each
// start would write it, and what it would save is that second, once.
//
// # When Redis restarts
//
// A run_id that no leader has acted on means that Redis may have lost its last
// writes, this epoch among them. The leader then takes over again, asks for a rewrite of the append-only
// file (a script that was torn by the crash could otherwise be half applied at
// the next restart), mirrors the flows, grants the workers a lease of grace and
// audits every running cycle. What was repaired is told when the time within which
// repairs are promised is over: in the journal, in the ledger's list of recoveries,
// and as an alert.
package leader

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/coordinator/internal/advance"
	"github.com/tradingflow/weather-station/coordinator/internal/alert"
	"github.com/tradingflow/weather-station/coordinator/internal/clock"
	"github.com/tradingflow/weather-station/coordinator/internal/dispatch"
	"github.com/tradingflow/weather-station/coordinator/internal/fleet"
	"github.com/tradingflow/weather-station/coordinator/internal/mirror"
	"github.com/tradingflow/weather-station/coordinator/internal/once"
	"github.com/tradingflow/weather-station/coordinator/internal/outbox"
	"github.com/tradingflow/weather-station/coordinator/internal/plans"
	"github.com/tradingflow/weather-station/coordinator/internal/reconcile"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/coordinator/internal/retention"
	"github.com/tradingflow/weather-station/coordinator/internal/ticker"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Queue is the task queue as a leader uses it.
type Queue interface {
	Publish(ctx context.Context, queue, id string, body []byte) (*taskqueue.Receipt, error)
	Depth(ctx context.Context, queue string) (taskqueue.Depth, error)
	State() (connected bool, blockedSince time.Time)
	// Losses tells which queues have lost what was in them, and when; the channel is
	// closed when there is more.
	Losses() (map[string]time.Time, <-chan struct{})
}

// Registry is the flows that are led: a *registry.Registry or a part of one.
type Registry interface {
	mirror.Registry
	flows
	Refresh(id ids.FlowID)
	Subscribe() *registry.Subscription
}

// flows lists them.
type flows interface {
	Len() int
	Names() []ids.FlowID
	Each(do func(f *registry.Flow) bool)
	Near(from, until time.Time) ([]*registry.Flow, bool)
}

// Config is what every epoch of a coordinator shares.
type Config struct {
	Ledger   *ledger.Ledger
	Queue    Queue
	Registry Registry
	Loaded   <-chan struct{} // closed when the registry has every flow; nil: it has
	Plans    *plans.Cache
	Alerts   *alert.Alerter
	Once     *once.Store   // nil: nobody can tell whether an at-most-once node was started
	OnceKeep time.Duration // of once-keys whose cycle is forgotten
	Prefix   string
	Lease    time.Duration
	Within   time.Duration // what a store has lost is put back within it
	MaxLost  int
	Detailed int // cycles kept whole
	Kept     int // cycles kept at all
	Log      hclog.Logger
	Metrics  Metrics
	// Partitions is how many the deployment has; Ledger and Registry are those of one.
	Partitions int
	// Mine says whether a flow is in that one; nil = there is one only.
	Mine func(f ids.FlowID) bool
	// WorkerGone proves that a worker's process is gone.
	WorkerGone func(ctx context.Context, w ledger.Worker) bool
	// Clock is the coordinator's view of the ledger's clock; nil means one that
	// remembers nothing from before the epoch.
	Clock *clock.Keeper
}

// Metrics counts what a leader does; nil functions are not called.
type Metrics struct {
	Started func()
	Fenced  func()
	Late    func(time.Duration)
	Offered func(int)
	// HeldBack counts offers that a deposed leader did not publish any more.
	HeldBack func(int)
	Mended   func(kind string)
	Closed   func(c ledger.CycleState)
}

// Run leads until ctx ends or the epoch is fenced. trusted says whether nobody
// else can have been elected by the passing of time.
func Run(ctx context.Context, cfg Config, epoch ids.Epoch, trusted func() bool) error {
	log := cfg.Log.With("epoch", int64(epoch))
	if err := takeover(ctx, cfg, epoch, log); err != nil {
		return err
	}
	log.Info("leading")
	defer log.Info("leading no more")
	if cfg.Clock == nil {
		cfg.Clock = clock.New(clock.Config{Ledger: cfg.Ledger, Log: log})
	}
	defer cfg.Clock.Lead(epoch)()
	l := build(cfg, epoch, trusted, log)
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range l.first() {
		g.Go(func() error { return run(ctx) })
	}
	g.Go(func() error {
		if err := l.lookAtClock(ctx); err != nil {
			return err
		}
		for _, run := range l.loops() {
			g.Go(func() error { return run(ctx) })
		}
		return nil
	})
	err := g.Wait()
	if ledger.Fenced(err) && cfg.Metrics.Fenced != nil {
		cfg.Metrics.Fenced()
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// lookAtClock makes good a jump since the last leader looked, before anything is due.
// Only a refusal by epoch is returned; another error is met again by whoever asks next.
func (r *reign) lookAtClock(ctx context.Context) error {
	now, err := r.Clock.Now(ctx)
	if ledger.Fenced(err) {
		return err
	}
	if skew := time.Since(now); err == nil && (skew > 2*time.Second || skew < -2*time.Second) {
		r.log.Warn("this machine's clock and the ledger's differ", "skew", skew.Round(time.Millisecond))
	}
	return nil
}

// takeover repeats until Redis answers or the epoch is fenced.
func takeover(ctx context.Context, cfg Config, epoch ids.Epoch, log hclog.Logger) error {
	for waited := false; ; waited = true {
		_, err := cfg.Ledger.Takeover(ctx, epoch)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ledger.ErrUnavailable) || ctx.Err() != nil {
			return fmt.Errorf("take over: %w", err)
		}
		if !waited {
			log.Warn("redis does not take the new epoch yet", "error", err)
		}
		t := time.NewTimer(100 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

type reign struct {
	Config
	epoch     ids.Epoch
	trusted   func() bool
	log       hclog.Logger
	reader    *outbox.Reader
	offers    *outbox.Queue
	chores    *outbox.Queue
	slow      *outbox.Queue // chores that wait for others, so that the rest need not
	ends      *outbox.Queue // of cycles
	ticker    *ticker.Ticker
	leases    *reconcile.Leases
	timers    *reconcile.Timers
	audit     *reconcile.Audit
	retention *retention.Keeper
	witness   *once.Witness // nil without once-keys
	fleet     *fleet.Fleet
	vigil     *fleet.Vigil
	swallowed *reconcile.Offers
	mirror    *mirror.Mirror
	changes   *registry.Subscription
	memory    atomic.Bool // Redis is short of memory
	repairs   tally
}

func build(cfg Config, epoch ids.Epoch, trusted func() bool, log hclog.Logger) *reign {
	timed := timed{cfg.Ledger, cfg.Clock}
	r := &reign{Config: cfg, epoch: epoch, trusted: trusted, log: log, changes: cfg.Registry.Subscribe()}
	if r.Within <= 0 {
		r.Within = reconcile.DefaultWithin
	}
	r.reader = outbox.New(outbox.Config{Ledger: cfg.Ledger, Log: log, Rescan: min(time.Second, r.Within/4)})
	r.offers = r.reader.Route(ledger.KindReady)
	r.chores = r.reader.Route(advance.Kinds()...)
	r.slow = r.reader.Route(advance.SlowKinds()...)
	r.ends = r.reader.Route(advance.EndKinds()...)
	r.fleet = fleet.New(timed, r.paused, func() { r.audit.Hurry() }, log)
	r.mirror = mirror.New(cfg.Ledger, cfg.Registry, log)
	r.timers = reconcile.NewTimers(timed, epoch, cfg.Within, log)
	var started reconcile.Once
	if cfg.Once != nil {
		r.witness = &once.Witness{Store: cfg.Once, Ledger: cfg.Ledger, Epoch: epoch}
		started = r.witness
	}
	r.leases = reconcile.NewLeases(reconcile.LeasesConfig{Ledger: timed, Plans: cfg.Plans, Epoch: epoch, Lease: cfg.Lease,
		MaxLost: cfg.MaxLost, Once: started, Blocks: cfg.Ledger, Log: log, Gone: cfg.WorkerGone, Revoked: func() { r.audit.Hurry() }, Holders: cfg.Ledger.Holders,
		Frozen: func(next ids.Attempt) { r.swallowed.Watch(next) }})
	r.swallowed = reconcile.NewOffers(reconcile.OffersConfig{Ledger: cfg.Ledger, Plans: cfg.Plans, Depths: cfg.Queue, Prefix: cfg.Prefix, Epoch: epoch, Log: log})
	r.vigil = fleet.NewVigil(fleet.VigilConfig{Hold: HoldWorker, Log: log, Gone: func(ctx context.Context, w ledger.Worker) error { return r.leases.WorkerGone(ctx, w.ID) }})
	r.fleet.Tell(r.vigil)
	r.audit = reconcile.NewAudit(reconcile.AuditConfig{Ledger: timed, Plans: cfg.Plans, Depths: cfg.Queue, Flows: kept{r}, Prefix: cfg.Prefix,
		Epoch: epoch, Lease: cfg.Lease, Within: cfg.Within, Log: log, Mended: r.mended})
	r.retention = retention.New(retention.Config{Ledger: cfg.Ledger, Plans: cfg.Plans, Epoch: epoch, Detailed: cfg.Detailed, Kept: cfg.Kept, Log: log})
	r.ticker = ticker.New(ticker.Config{Ledger: timed, Flows: cfg.Registry, Epoch: epoch, Log: log, Now: cfg.Clock.Estimate, Started: r.started, Blocked: r.blocked, Missing: cfg.Registry.Refresh, Late: cfg.Metrics.Late})
	return r
}

// first are the loops that work waits for.
func (r *reign) first() []func(context.Context) error {
	return []func(context.Context) error{
		r.reader.Run,
		func(ctx context.Context) error {
			return dispatch.Run(ctx, dispatch.Config{Ledger: r.Ledger, Publisher: r.Queue, Depths: r.Queue, Plans: r.Plans, Fleet: r.fleet, Source: r.offers,
				Done: r.reader.Done, Epoch: r.epoch, Trusted: r.trusted, Prefix: r.Prefix, Log: r.log, Offered: r.offered, HeldBack: r.Metrics.HeldBack, Partitions: r.Partitions})
		},
		func(ctx context.Context) error { return r.fleet.Run(ctx, r.epoch, time.Second) },
	}
}

// loops are all others.
func (r *reign) loops() []func(context.Context) error {
	return []func(context.Context) error{
		r.follow,
		r.watchRedis,
		r.watchQueues,
		r.ticker.Run,
		func(ctx context.Context) error { return advance.Run(ctx, r.advance(r.chores)) },
		func(ctx context.Context) error { return advance.Run(ctx, r.advance(r.slow)) },
		func(ctx context.Context) error { return advance.RunEnds(ctx, r.advance(r.ends)) },
		r.leases.Run,
		r.timers.Run,
		r.audit.Run,
		r.retention.Run,
		r.vigil.Run,
		r.swallowed.Run,
		r.keys,
	}
}

// keys looks after the once-keys.
func (r *reign) keys(ctx context.Context) error {
	if r.Once == nil {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.witness.Run(ctx) })
	g.Go(func() error {
		return (&once.Sweeper{Store: r.Once, Cycles: r.Ledger, Keep: r.OnceKeep, Log: r.log, Mine: r.Mine}).Run(ctx)
	})
	return g.Wait()
}

func (r *reign) advance(from *outbox.Queue) advance.Config {
	return advance.Config{Ledger: r.Ledger, Plans: r.Plans, Source: from, Done: r.reader.Done, Epoch: r.epoch,
		Log: r.log, Listeners: advance.Listeners{Closed: r.closed, Failure: r.failure, Timer: r.timers.Wake, Suspect: r.suspect, Purge: r.purge}}
}
