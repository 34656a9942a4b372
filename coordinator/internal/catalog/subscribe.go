package catalog

import (
	"slices"
	"sync"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Subscription collects the ids of flows whose definition or pause changed. A
// flow that changes many times before it is taken is named once, so a slow
// consumer neither blocks the catalog nor misses a flow's latest state.
type Subscription struct {
	c     *Catalog
	ready chan struct{}

	mu    sync.Mutex
	dirty map[ids.FlowID]struct{}
}

// Subscribe begins a subscription in which every flow known now counts as
// changed. Close ends it.
func (c *Catalog) Subscribe() *Subscription {
	s := &Subscription{c: c, ready: make(chan struct{}, 1), dirty: make(map[ids.FlowID]struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs[s] = struct{}{}
	for f := range c.flows {
		s.mark(f)
	}
	return s
}

// Ready yields a value when Take has something to give. It is never closed.
func (s *Subscription) Ready() <-chan struct{} { return s.ready }

// Take returns the flows that changed since the last Take, ordered by id. Their
// state is asked from the catalog: Get answers false for a deleted flow.
func (s *Subscription) Take() []ids.FlowID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.dirty) == 0 {
		return nil
	}
	flows := make([]ids.FlowID, 0, len(s.dirty))
	for f := range s.dirty {
		flows = append(flows, f)
	}
	clear(s.dirty)
	slices.Sort(flows)
	return flows
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	delete(s.c.subs, s)
}

// mark names a flow to all subscribers. The caller holds c.mu.
func (c *Catalog) mark(flow ids.FlowID) {
	for s := range c.subs {
		s.mark(flow)
	}
}

func (s *Subscription) mark(flow ids.FlowID) {
	s.mu.Lock()
	s.dirty[flow] = struct{}{}
	s.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default:
	}
}
