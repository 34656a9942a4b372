// Package registry knows every flow of the catalog: its record, its schedule, whether
// it is held. Every coordinator has one, leading or not, so that a standby starts
// without reading anything.
//
// # What a flow takes
//
// A hundred thousand flows are to cost what they need and no more, while few of them
// run at any moment. So memory holds of each flow what ticking needs, and the document
// packed (catalog.Kept), some 100 to 250 bytes of it; schedules that read the same
// are one. Plans are compiled when they are asked for, in some 10 us for a small flow,
// and kept as long as they are in use: see compiled. The document is not left
// to etcd, for a leader goes on while etcd is away, and what a coordinator remembers
// is what the flows are restored from when both stores lose them.
//
// So a document that can't be parsed here, because another version wrote it, shows
// when the flow is to run and not before; what says when it is due is read at once.
//
// # At the start
//
// Ready is closed when etcd has answered and its history is believed, Loaded when
// every flow is here. In between the flows stream in. Who asks for one flow asks etcd
// when it is not here (Fresh); who needs all of them waits for Loaded. If there are more than two thousand they
// stream in after the first offers of a leader, or a moment later: see package catalog. A leader may
// lead meanwhile: it ticks the flows it knows, runs every cycle by the plan
// that the ledger has, and removes nothing before Loaded.
//
// # For who leads next
//
// Every few seconds the flows are looked through for those that have a slot soon or had
// one just now (Near), so that a standby which is elected has its first slots at hand,
// however many flows rest.
package registry

import (
	"context"
	"errors"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/dirty"
	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ids"
)

// Catalog is what the registry follows.
type Catalog interface {
	Get(flow ids.FlowID) (*catalog.Kept, bool)
	Paused(flow ids.FlowID) bool
	Subscribe() *catalog.Subscription
	Admitted() <-chan struct{}
	Synced() <-chan struct{}
	Source
}

// Source answers by what etcd has now.
type Source interface {
	GetFresh(ctx context.Context, flow ids.FlowID) (catalog.Record, error)
	PausedFresh(ctx context.Context, flow ids.FlowID) (since time.Time, paused bool, err error)
	Current(ctx context.Context, flows []ids.FlowID) (map[ids.FlowID]bool, error)
}

// Registry is safe for concurrent use.
type Registry struct {
	catalog Catalog
	log     hclog.Logger
	ready   chan struct{}
	loaded  chan struct{}
	plans   compiled

	building  sync.Mutex                    // one Refresh after another, so that none puts an older state back
	schedules map[string]*schedule.Schedule // by their text, under building

	mu    sync.RWMutex
	flows map[ids.FlowID]*Flow
	near  near
	subs  map[*Subscription]struct{}
}

// New makes an empty registry over a catalog.
func New(c Catalog, log hclog.Logger) *Registry {
	return &Registry{catalog: c, log: log, ready: make(chan struct{}), loaded: make(chan struct{}), schedules: map[string]*schedule.Schedule{}, flows: map[ids.FlowID]*Flow{}, subs: map[*Subscription]struct{}{}}
}

// Ready is closed once etcd has answered: a flow that is not here yet is found there.
func (r *Registry) Ready() <-chan struct{} { return r.ready }

// Loaded is closed once every flow that the catalog had at the start is here.
func (r *Registry) Loaded() <-chan struct{} { return r.loaded }

// Run follows the catalog until ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	sub := r.catalog.Subscribe()
	defer sub.Close()
	ctx, stop := context.WithCancel(ctx)
	var ahead sync.WaitGroup
	defer ahead.Wait()
	defer stop()
	ahead.Go(func() { r.foreseeing(ctx) })
	admitted, synced := r.catalog.Admitted(), r.catalog.Synced()
	for {
		select {
		case <-admitted:
			admitted = nil
			close(r.ready)
		case <-synced:
			synced = nil
			r.take(sub.Take())
			close(r.loaded)
			r.tidy()
		case <-sub.Ready():
			r.take(sub.Take())
		case <-ctx.Done():
			return nil
		}
	}
}

// tidy gives back what loading very many flows took for a moment: the process would
// keep several times of what they need for minutes.
func (r *Registry) tidy() {
	if r.Len() > 10_000 {
		debug.FreeOSMemory()
	}
}

func (r *Registry) take(changed []ids.FlowID) {
	for _, id := range changed {
		r.Refresh(id)
	}
}

// Refresh takes over what the catalog knows of a flow now.
func (r *Registry) Refresh(id ids.FlowID) {
	r.building.Lock()
	defer r.building.Unlock()
	k, known := r.catalog.Get(id)
	r.mu.RLock()
	old := r.flows[id]
	r.mu.RUnlock()
	var f *Flow
	if known {
		if f = old; old == nil || old.Record != k {
			built, err := build(k, r.scheduled, &r.plans)
			if err != nil { // a record another version wrote; the flow can't run here
				r.log.Error("stored flow can't be read", "flow", id, "error", err)
				return
			}
			f = built
		}
		if paused := r.catalog.Paused(id); f.Paused != paused {
			f = f.paused(paused)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f == nil {
		delete(r.flows, id)
	} else {
		r.flows[id] = f
		if r.near.kept {
			r.near.younger = append(r.near.younger, id)
		}
	}
	for s := range r.subs {
		if s.mine == nil || s.mine(id) {
			s.Mark(id)
		}
	}
}

// Get returns a flow, or nil.
func (r *Registry) Get(id ids.FlowID) *Flow {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.flows[id]
}

// Fresh returns a flow as etcd has it now, pause included, or nil; what this
// process knows may be a moment behind.
func (r *Registry) Fresh(ctx context.Context, id ids.FlowID) (*Flow, error) {
	rec, err := r.catalog.GetFresh(ctx, id)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, nil //nolint:nilnil // no flow and no error
	}
	if err != nil {
		return nil, err
	}
	_, paused, err := r.catalog.PausedFresh(ctx, id)
	if err != nil {
		return nil, err
	}
	r.Refresh(id)
	f := r.Get(id)
	if f == nil || f.Record.UID != rec.UID || f.Record.Revision != rec.Revision {
		if f, err = Build(rec); err != nil {
			return nil, err
		}
	}
	return f.paused(paused), nil
}

// Confirm tells for which of these flows Get says what etcd has now: what is asked of
// many flows costs no more than of a few.
func (r *Registry) Confirm(ctx context.Context, flows []ids.FlowID) (map[ids.FlowID]bool, error) {
	current, err := r.catalog.Current(ctx, flows)
	if err != nil {
		return nil, err
	}
	for f, yes := range current {
		if !yes {
			continue
		}
		k, known := r.catalog.Get(f)
		if own := r.Get(f); known != (own != nil) || known && (own.Record != k || own.Paused != r.catalog.Paused(f)) {
			r.Refresh(f) // the catalog's word is on its way here
		}
	}
	return current, nil
}

// scheduled returns the schedule of a text. The caller holds building.
func (r *Registry) scheduled(text string) (*schedule.Schedule, error) {
	if s := r.schedules[text]; s != nil {
		return s, nil
	}
	s, err := compile(text)
	if err != nil {
		return nil, err
	}
	if len(r.schedules) > r.Len()+1000 { // most are of revisions that are gone
		clear(r.schedules)
	}
	r.schedules[text] = s
	return s, nil
}

// Len is how many flows there are.
func (r *Registry) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.flows)
}

// Names returns the ids of all flows, in no order.
func (r *Registry) Names() []ids.FlowID {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.AppendSeq(make([]ids.FlowID, 0, len(r.flows)), maps.Keys(r.flows))
}

// Each calls do for every flow, in no order, until it returns false.
func (r *Registry) Each(do func(f *Flow) bool) {
	r.mu.RLock()
	all := make([]*Flow, 0, len(r.flows))
	for _, f := range r.flows {
		all = append(all, f)
	}
	r.mu.RUnlock()
	for _, f := range all {
		if !do(f) {
			return
		}
	}
}

// List returns every flow, ordered by id.
func (r *Registry) List() []*Flow {
	r.mu.RLock()
	out := make([]*Flow, 0, len(r.flows))
	for _, f := range r.flows {
		out = append(out, f)
	}
	r.mu.RUnlock()
	slices.SortFunc(out, func(a, b *Flow) int {
		switch {
		case a.Record.Flow < b.Record.Flow:
			return -1
		case a.Record.Flow > b.Record.Flow:
			return 1
		}
		return 0
	})
	return out
}

// Subscription names flows that changed.
type Subscription struct {
	*dirty.Set
	r    *Registry
	mine func(f ids.FlowID) bool // nil = every flow
}

// Subscribe begins a subscription. Changes from before are not named: list the
// flows after subscribing. Close ends it.
func (r *Registry) Subscribe() *Subscription {
	s := &Subscription{Set: dirty.New(), r: r}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subs[s] = struct{}{}
	return s
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	delete(s.r.subs, s)
}
