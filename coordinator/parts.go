package coordinator

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/coordinator/internal/balance"
	"github.com/tradingflow/weather-station/coordinator/internal/clock"
	"github.com/tradingflow/weather-station/coordinator/internal/control"
	"github.com/tradingflow/weather-station/coordinator/internal/election"
	"github.com/tradingflow/weather-station/coordinator/internal/leader"
	"github.com/tradingflow/weather-station/coordinator/internal/mirror"
	"github.com/tradingflow/weather-station/coordinator/internal/plans"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/partition"
	"github.com/tradingflow/weather-station/shared/process"
)

// part is one partition (package partition) in this coordinator: a ledger, an election,
// and what a leader of it needs.
type part struct {
	ledger   *ledger.Ledger
	registry leader.Registry
	mine     func(f ids.FlowID) bool // nil where there is one partition
	elector  *election.Elector
	plans    *plans.Cache
	clock    *clock.Keeper
	metrics  *metrics
	leads    atomic.Bool
	name     string // of its services: "" where there is one partition
}

// partition makes the parts. The electors share one presence address, which the first
// of them serves.
func partitions(cfg Config, etcd *clientv3.Client, ledgers *ledger.Set, flows *registry.Registry, m *meters, info []byte, log hclog.Logger) ([]*part, error) {
	all := ledgers.All()
	out := make([]*part, len(all))
	instance := uuid.NewString()
	for p, l := range all {
		log, x := log, &part{ledger: l, registry: flows}
		prefix, presence := cfg.Prefix, cfg.Presence
		if len(all) > 1 {
			log = log.With("partition", p)
			x.name = "-" + strconv.Itoa(p)
			x.mine = func(f ids.FlowID) bool { return partition.Of(f, len(all)) == p }
			x.registry = flows.Part(x.mine)
			prefix += "/partitions/" + strconv.Itoa(p)
			if p > 0 {
				presence = nil
			}
		}
		x.plans = plans.New(l, x.registry)
		x.clock = clock.New(clock.Config{Ledger: l, Log: log.Named("clock")})
		x.metrics = m.of(l, p, len(all))
		var err error
		x.elector, err = election.New(election.Config{Client: etcd, Prefix: prefix, ID: cfg.ID, Info: info, TTL: cfg.LeaseTTL,
			Presence: presence, PresenceAddress: announced(cfg), Instance: instance, Log: log.Named("election")})
		if err != nil {
			return nil, err
		}
		out[p] = x
	}
	return out, nil
}

// announced is where others reach the presence socket, "" without one.
func announced(cfg Config) string {
	if cfg.Presence == nil {
		return ""
	}
	return cmp.Or(cfg.PresenceAddress, cfg.Presence.Addr().String())
}

// lead is the election's leading function, for reigns as the given one.
func (x *part) lead(reign leader.Config, elected func(ids.Epoch)) func(context.Context, election.Term) error {
	reign.Ledger, reign.Registry, reign.Plans, reign.Clock, reign.Mine = x.ledger, x.registry, x.plans, x.clock, x.mine
	return func(ctx context.Context, term election.Term) error {
		x.metrics.leading.Set(1)
		x.leads.Store(true)
		defer x.leads.Store(false)
		x.metrics.epoch.Set(float64(term.Epoch))
		defer x.metrics.leading.Set(0)
		if elected != nil {
			elected(term.Epoch)
		}
		err := leader.Run(ctx, reign, term.Epoch, term.Trusted)
		return errors.Join(err, surpass(ctx, err, x.elector, x.ledger))
	}
}

// copies is the ledger's copy of the catalog.
func copies(ledgers *ledger.Set) mirror.CopyLedger {
	all := ledgers.All()
	if len(all) == 1 {
		return all[0]
	}
	s := mirror.Spread{Of: ledgers.Partition}
	for _, l := range all {
		s.Ledgers = append(s.Ledgers, l)
	}
	return s
}

// reached is the partitions as the API reaches them.
func reached(parts []*part, log hclog.Logger) []control.Part {
	out := make([]control.Part, len(parts))
	for i, x := range parts {
		out[i] = control.Part{Ledger: x.ledger, Plans: x.plans, Mirror: mirror.New(x.ledger, x.registry, log), Election: x.elector, Leads: x.leads.Load, Transfer: x.elector.HandTo}
	}
	return out
}

// clocks are the services that follow the ledgers' clocks.
func clocks(parts []*part) []process.Service {
	out := make([]process.Service, len(parts))
	for i, x := range parts {
		out[i] = process.Service{Name: "clock" + x.name, Run: x.clock.Run}
	}
	return out
}

// elections are the services that stand in every partition, and lead.
func elections(parts []*part, reign leader.Config, cfg Config, endings *control.Endings, log hclog.Logger) []process.Service {
	reign.Partitions = len(parts)
	var out []process.Service
	balanced := balance.Config{Instance: parts[0].elector.Instance(), Log: log.Named("balance")}
	for p, x := range parts {
		own := reign
		if len(parts) > 1 {
			own.Log = reign.Log.With("partition", p)
		}
		own.Metrics = x.metrics.leader(endings.Ended, cfg.Ended)
		lead := x.lead(own, cfg.Elected)
		out = append(out, process.Service{Name: "election" + x.name, Run: func(ctx context.Context) error { return x.elector.Run(ctx, lead) }})
		balanced.Partitions = append(balanced.Partitions, x.elector)
	}
	if len(parts) > 1 {
		out = append(out, process.Service{Name: "balance", Run: func(ctx context.Context) error { return balance.Run(ctx, balanced) }})
	}
	return out
}

// everywhere announces a coordinator in every partition, and how many there are.
type everywhere struct{ *ledger.Set }

// BeatCoordinator implements announcements.
func (e everywhere) BeatCoordinator(ctx context.Context, c ledger.Coordinator, ttl time.Duration) error {
	var faults []error
	if e.Count() > 1 {
		faults = append(faults, e.Tell(ctx))
	}
	for _, l := range e.All() {
		faults = append(faults, l.BeatCoordinator(ctx, c, ttl))
	}
	return errors.Join(faults...)
}

// LeaveCoordinator implements announcements.
func (e everywhere) LeaveCoordinator(ctx context.Context, c ledger.Coordinator) error {
	var faults []error
	for _, l := range e.All() {
		faults = append(faults, l.LeaveCoordinator(ctx, c))
	}
	return errors.Join(faults...)
}
