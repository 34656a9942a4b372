// Package plans finds the plan of a running cycle: the registry's when the cycle
// runs the current revision, the ledger's copy for an older one.
package plans

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"

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
	uid  uuid.UUID
}

type cycle struct {
	flow ids.FlowID
	uuid uuid.UUID
}

// Cache is safe for concurrent use.
type Cache struct {
	ledger   Ledger
	registry *registry.Registry

	mu     sync.Mutex
	old    map[revision]*plan.Plan
	cycles map[cycle]int64 // revision a cycle runs
}

// New makes an empty cache.
func New(l Ledger, r *registry.Registry) *Cache {
	return &Cache{ledger: l, registry: r, old: map[revision]*plan.Plan{}, cycles: map[cycle]int64{}}
}

// Learn notes the revision that a cycle runs, so that OfCycle need not ask.
func (c *Cache) Learn(f ids.FlowID, id uuid.UUID, rev int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.cycles) >= maxCycles {
		clear(c.cycles)
	}
	c.cycles[cycle{f, id}] = rev
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
	c.mu.Unlock()
	if !known {
		s, err := c.ledger.Cycle(ctx, a.Flow, a.Cycle)
		if err != nil {
			return nil, err
		}
		if s.UUID != a.UUID {
			return nil, fmt.Errorf("cycle %s/%d: %w", a.Flow, a.Cycle, ledger.ErrGone)
		}
		rev = s.Revision
		c.Learn(a.Flow, a.UUID, rev)
	}
	return c.Revision(ctx, a.Flow, rev)
}

// Revision returns a revision's plan. ledger.ErrGone when there is none.
func (c *Cache) Revision(ctx context.Context, f ids.FlowID, rev int64) (*plan.Plan, error) {
	var uid uuid.UUID
	if now := c.registry.Get(f); now != nil {
		if now.Record.Revision == rev {
			return now.Plan, nil
		}
		uid = now.Record.UID
	}
	key := revision{f, rev, uid}
	c.mu.Lock()
	p := c.old[key]
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}
	p, err := c.ledger.ReadPlan(ctx, f, rev)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.old) >= maxRevisions {
		clear(c.old)
	}
	c.old[key] = p
	return p, nil
}
