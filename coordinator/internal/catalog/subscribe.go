package catalog

import (
	"github.com/tradingflow/weather-station/coordinator/internal/dirty"
	"github.com/tradingflow/weather-station/shared/ids"
)

// Subscription names the flows whose definition or pause changed. Their state is
// asked from the catalog: Get answers false for a deleted flow.
type Subscription struct {
	*dirty.Set
	c *Catalog
}

// Subscribe begins a subscription in which every flow known now counts as
// changed. Close ends it.
func (c *Catalog) Subscribe() *Subscription {
	s := &Subscription{Set: dirty.New(), c: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs[s] = struct{}{}
	for f := range c.flows {
		s.Mark(f)
	}
	return s
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
		s.Mark(flow)
	}
}
