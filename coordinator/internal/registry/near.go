package registry

import (
	"context"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// What foresee prepares reaches so far back and ahead. A new leader asks for less, since
// its clock may be off this one's by the rest.
const (
	behind = 20 * time.Second
	ahead  = 40 * time.Second
)

// every is how often it is prepared.
const every = 5 * time.Second

// near are the flows that have a slot soon or had one just now, so that a coordinator
// which is elected need not go through all flows to know what is due. They are found in
// advance, and what was registered or changed since is kept beside. A name may stand
// there twice or be that of a flow that is gone.
type near struct {
	from, until time.Time    // every flow with a slot in between is there
	flows       []ids.FlowID // of what was known when they were looked for
	older       []ids.FlowID // changed before flows were looked for last
	younger     []ids.FlowID // changed since
	kept        bool         // changes are noted: flows are, or were, looked for
}

// foreseeing prepares what a new leader asks until ctx ends.
func (r *Registry) foreseeing(ctx context.Context) {
	select {
	case <-r.loaded:
	case <-ctx.Done():
		return
	}
	again := time.NewTicker(every)
	defer again.Stop()
	for now := time.Now(); ; {
		r.Foresee(now)
		select {
		case now = <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// Foresee looks for the flows that are near at an instant, and has their answer to Next
// ready. Only flows that had a slot since the last time are computed anew.
func (r *Registry) Foresee(now time.Time) {
	from, until := now.Add(-behind), now.Add(ahead)
	r.mu.Lock()
	r.near.kept, r.near.older, r.near.younger = true, append(r.near.older, r.near.younger...), nil
	r.mu.Unlock()
	var flows []ids.FlowID
	r.Each(func(f *Flow) bool {
		if next, some := f.Next(from); some && !next.After(until) {
			flows = append(flows, f.Record.Flow)
		}
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.near = near{from: from, until: until, flows: flows, younger: r.near.younger, kept: true}
}

// Near returns every flow that has a slot between two instants, and others; in no order.
// false says that this was not prepared: any flow may have one.
func (r *Registry) Near(from, until time.Time) ([]*Flow, bool) { return r.nearOf(from, until, nil) }

func (r *Registry) nearOf(from, until time.Time, mine func(f ids.FlowID) bool) ([]*Flow, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if n := &r.near; from.Before(n.from) || until.After(n.until) {
		return nil, false
	}
	out := make([]*Flow, 0, len(r.near.flows))
	seen := make(map[ids.FlowID]struct{}, len(r.near.flows))
	for _, names := range [][]ids.FlowID{r.near.flows, r.near.older, r.near.younger} {
		for _, id := range names {
			if _, twice := seen[id]; twice || mine != nil && !mine(id) {
				continue
			}
			seen[id] = struct{}{}
			if f := r.flows[id]; f != nil {
				out = append(out, f)
			}
		}
	}
	return out, true
}
