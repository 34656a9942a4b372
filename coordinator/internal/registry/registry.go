// Package registry keeps every flow of the catalog ready to run in memory: its
// document parsed, its plan compiled, its schedule built. Every coordinator has
// one, leading or not, so that a standby starts without reading anything.
package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/dirty"
	"github.com/tradingflow/weather-station/coordinator/internal/flow"
	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Flow is one flow, ready to run. It is never changed: a new revision makes a
// new one.
type Flow struct {
	Record   catalog.Record
	Document *flow.Flow
	Plan     *plan.Plan
	Schedule *schedule.Schedule
	Paused   bool
	PausedAt time.Time
}

// Build makes a Flow of a stored record.
func Build(r catalog.Record) (*Flow, error) {
	doc, err := flow.Parse(r.Document, flow.Options{})
	if err != nil {
		return nil, fmt.Errorf("stored flow %s: %w", r.Flow, err)
	}
	sched, err := schedule.Compile(doc.Schedule())
	if err != nil {
		return nil, fmt.Errorf("stored flow %s: %w", r.Flow, err)
	}
	return &Flow{Record: r, Document: doc, Plan: doc.Compile(r.UID, r.Revision).Seal(), Schedule: sched}, nil
}

// Catalog is what the registry follows.
type Catalog interface {
	Get(flow ids.FlowID) (catalog.Record, bool)
	PausedSince(flow ids.FlowID) (time.Time, bool)
	Subscribe() *catalog.Subscription
	Synced() <-chan struct{}
	Source
}

// Source answers by what etcd has now.
type Source interface {
	GetFresh(ctx context.Context, flow ids.FlowID) (catalog.Record, error)
	PausedFresh(ctx context.Context, flow ids.FlowID) (since time.Time, paused bool, err error)
}

// Registry is safe for concurrent use.
type Registry struct {
	catalog Catalog
	log     hclog.Logger
	ready   chan struct{}

	building sync.Mutex // one Refresh after another, so that none puts an older state back

	mu    sync.RWMutex
	flows map[ids.FlowID]*Flow
	subs  map[*Subscription]struct{}
}

// New makes an empty registry over a catalog.
func New(c Catalog, log hclog.Logger) *Registry {
	return &Registry{catalog: c, log: log, ready: make(chan struct{}), flows: map[ids.FlowID]*Flow{}, subs: map[*Subscription]struct{}{}}
}

// Ready is closed once every flow that the catalog had at the start is built.
func (r *Registry) Ready() <-chan struct{} { return r.ready }

// Run follows the catalog until ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	sub := r.catalog.Subscribe()
	defer sub.Close()
	select {
	case <-r.catalog.Synced():
	case <-ctx.Done():
		return nil
	}
	r.take(sub.Take())
	close(r.ready)
	for {
		select {
		case <-sub.Ready():
			r.take(sub.Take())
		case <-ctx.Done():
			return nil
		}
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
	rec, known := r.catalog.Get(id)
	r.mu.RLock()
	old := r.flows[id]
	r.mu.RUnlock()
	var f *Flow
	if known {
		if old != nil && old.Record.UID == rec.UID && old.Record.Revision == rec.Revision {
			again := *old
			f = &again
		} else {
			built, err := Build(rec)
			if err != nil { // a record another version wrote; the flow can't run here
				r.log.Error("stored flow can't be read", "flow", id, "error", err)
				return
			}
			f = built
		}
		f.Record = rec
		f.PausedAt, f.Paused = r.catalog.PausedSince(id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f == nil {
		delete(r.flows, id)
	} else {
		r.flows[id] = f
	}
	for s := range r.subs {
		s.Mark(id)
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
	since, paused, err := r.catalog.PausedFresh(ctx, id)
	if err != nil {
		return nil, err
	}
	r.Refresh(id)
	var f Flow
	if known := r.Get(id); known != nil && known.Record.UID == rec.UID && known.Record.Revision == rec.Revision {
		f = *known
	} else {
		built, err := Build(rec)
		if err != nil {
			return nil, err
		}
		f = *built
	}
	f.Paused, f.PausedAt = paused, since
	return &f, nil
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
	r *Registry
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
