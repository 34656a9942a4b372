// Package dirty collects the names of flows that changed until somebody takes
// them. A flow that changes many times before that is named once, so a slow taker
// neither blocks who marks nor misses a flow's latest state.
package dirty

import (
	"slices"
	"sync"

	"github.com/tradingflow/weather-station/shared/ids"
)

// roomy is how many names make room that is not kept for the next ones.
const roomy = 1000

// Set is safe for concurrent use. Make one with New.
type Set struct {
	ready chan struct{}

	mu    sync.Mutex
	flows map[ids.FlowID]struct{}
}

// New makes an empty set.
func New() *Set { return &Set{ready: make(chan struct{}, 1), flows: map[ids.FlowID]struct{}{}} }

// Mark names a flow.
func (s *Set) Mark(f ids.FlowID) {
	s.mu.Lock()
	s.flows[f] = struct{}{}
	s.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Ready yields a value when Take has something to give. It is never closed.
func (s *Set) Ready() <-chan struct{} { return s.ready }

// Take returns the flows marked since the last Take, ordered by id.
func (s *Set) Take() []ids.FlowID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.flows) == 0 {
		return nil
	}
	out := make([]ids.FlowID, 0, len(s.flows))
	for f := range s.flows {
		out = append(out, f)
	}
	if len(s.flows) > roomy { // a map never gives its room back
		s.flows = map[ids.FlowID]struct{}{}
	} else {
		clear(s.flows)
	}
	slices.Sort(out)
	return out
}
