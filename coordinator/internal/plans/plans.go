// Package plans finds the plan of a running cycle: the registry's when the cycle
// runs the current revision, the ledger's copy for an older one.
package plans

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Ledger is what the cache reads.
type Ledger interface {
	Cycle(ctx context.Context, f ids.FlowID, n int64) (ledger.CycleState, error)
	ReadPlan(ctx context.Context, f ids.FlowID, revision int64) (*plan.Plan, error)
}

// bounds of what is kept, in entries; beyond them a cache is emptied.
const (
	maxRevisions = 64
	maxCycles    = 20_000
)

type revision struct {
	flow ids.FlowID
	n    int64
	uid  uuid.UUID // of the flow's incarnation
}

type cycle struct {
	flow ids.FlowID
	uuid uuid.UUID
}

// Registry knows the current revisions.
type Registry interface {
	Get(id ids.FlowID) *registry.Flow
}

// Cache is safe for concurrent use.
type Cache struct {
	ledger   Ledger
	registry Registry

	mu     sync.Mutex
	old    map[revision]*plan.Plan
	cycles map[cycle]revision // what a cycle runs
}

// SlotOccasion is what the cycle of a slot is made of.
func SlotOccasion(flow uuid.UUID, slot time.Time) uuid.UUID {
	return ids.Occasion(flow, "slot|"+slot.UTC().Format(time.RFC3339Nano))
}

// TriggerOccasion is what the cycle of a trigger is made of.
func TriggerOccasion(flow uuid.UUID, key string) uuid.UUID {
	return ids.Occasion(flow, "trigger|"+key)
}

// owns reports whether a cycle is of that incarnation of its flow and runs that
// revision: a flow that was deleted and made again numbers its revisions from 1 anew.
func owns(uid uuid.UUID, revision int64, c ledger.CycleState) bool {
	if revision != c.Revision {
		return false
	}
	if c.Trigger == "slot" {
		return SlotOccasion(uid, c.Slot) == c.Occasion
	}
	return TriggerOccasion(uid, c.Raw["trigger_key"]) == c.Occasion
}

// New makes an empty cache.
func New(l Ledger, r Registry) *Cache {
	return &Cache{ledger: l, registry: r, old: map[revision]*plan.Plan{}, cycles: map[cycle]revision{}}
}

// Learn notes the revision that a cycle runs, so that OfCycle need not ask.
func (c *Cache) Learn(p *plan.Plan, id uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.cycles) >= maxCycles {
		clear(c.cycles)
	}
	c.cycles[cycle{p.Flow, id}] = revision{p.Flow, p.Revision, p.UID}
}

// Forget drops an ended cycle.
func (c *Cache) Forget(f ids.FlowID, id uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cycles, cycle{f, id})
}

// OfCycle returns the plan that the cycle of an attempt runs. ledger.ErrGone
// when the cycle or its plan does not exist (any more).
func (c *Cache) OfCycle(ctx context.Context, a ids.Attempt) (*plan.Plan, error) {
	c.mu.Lock()
	rev, known := c.cycles[cycle{a.Flow, a.UUID}]
	p := c.old[rev]
	c.mu.Unlock()
	if known {
		if now := c.registry.Get(a.Flow); now != nil && now.Record.Revision == rev.n && now.Record.UID == rev.uid {
			return now.Plan()
		}
		if p != nil {
			return p, nil
		}
	}
	s, err := c.ledger.Cycle(ctx, a.Flow, a.Cycle)
	if err != nil {
		return nil, err
	}
	if s.UUID != a.UUID {
		return nil, fmt.Errorf("cycle %s/%d: %w", a.Flow, a.Cycle, ledger.ErrGone)
	}
	if p, err = c.Of(ctx, s); err == nil {
		c.Learn(p, a.UUID)
	}
	return p, err
}

// atOnce is how many cycles Prefetch asks for at the same time.
const atOnce = 16

// Prefetch looks up what OfCycle would have to ask for, for all attempts at the same
// time. What fails here OfCycle tells.
func (c *Cache) Prefetch(ctx context.Context, attempts []ids.Attempt) {
	asked := map[cycle]bool{}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, a := range attempts {
		key := cycle{a.Flow, a.UUID}
		c.mu.Lock()
		_, known := c.cycles[key]
		c.mu.Unlock()
		if known || asked[key] {
			continue
		}
		asked[key] = true
		g.Go(func() error { _, err := c.OfCycle(ctx, a); return err })
	}
	_ = g.Wait() // told by OfCycle
}

// Of returns the plan that a cycle runs or ran. ledger.ErrGone when there is
// none (any more).
func (c *Cache) Of(ctx context.Context, s ledger.CycleState) (*plan.Plan, error) {
	if now := c.registry.Get(s.Flow); now != nil && owns(now.Record.UID, now.Record.Revision, s) {
		return now.Plan()
	}
	c.mu.Lock()
	for key, p := range c.old {
		if key.flow == s.Flow && owns(p.UID, p.Revision, s) {
			c.mu.Unlock()
			return p, nil
		}
	}
	c.mu.Unlock()
	p, err := c.ledger.ReadPlan(ctx, s.Flow, s.Revision)
	if err != nil {
		return nil, err
	}
	if !owns(p.UID, p.Revision, s) {
		return nil, fmt.Errorf("plan of %s/%d: the flow was made anew: %w", s.Flow, s.Cycle, ledger.ErrGone)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.old) >= maxRevisions {
		clear(c.old)
	}
	c.old[revision{s.Flow, s.Revision, p.UID}] = p
	return p, nil
}
