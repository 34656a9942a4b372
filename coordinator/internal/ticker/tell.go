package ticker

import (
	"container/heap"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Know tells what the ledger has of a flow, to spare a read: what is due by that is
// done at once.
func (t *Ticker) Know(f ids.FlowID, last time.Time) {
	flow := t.cfg.Flows.Get(f)
	if flow == nil {
		return
	}
	next, some := flow.Schedule.Next(last, flow.Record.Anchor())
	t.mu.Lock()
	defer t.mu.Unlock()
	if !some && t.flows[f] == nil {
		return
	}
	s := t.state(f)
	s.account(last)
	if s.known = true; !some {
		next = t.cfg.Now()
	}
	t.schedule(s, next)
}

// Expect says when a flow is due next, before it is known what the ledger has of it:
// that is read then, unless it is known earlier.
func (t *Ticker) Expect(f ids.FlowID, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.state(f); !s.known && s.index < 0 {
		t.schedule(s, next)
	}
}

// Look says that a flow is new or changed.
func (t *Ticker) Look(flows ...ids.FlowID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range flows {
		s := t.state(f)
		s.known = false
		t.schedule(s, t.cfg.Now())
	}
}

func (t *Ticker) state(f ids.FlowID) *state {
	s := t.flows[f]
	if s == nil {
		s = &state{flow: f, index: -1}
		t.flows[f] = s
	}
	return s
}

// schedule sets when the flow is looked at next. The caller holds the lock.
func (t *Ticker) schedule(s *state, at time.Time) {
	if s.busy {
		s.again = true
		return
	}
	s.at = at.UnixNano()
	if s.index < 0 {
		heap.Push(&t.heap, s)
	} else {
		heap.Fix(&t.heap, int(s.index))
	}
	if t.heap[0] == s {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}
