package leader

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/mirror"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// passAfter is how long the pass over all flows waits for what is due: that has its offers by
// then, most likely.
const passAfter = 250 * time.Millisecond

// follow mirrors the flows and keeps the ticker informed: what is due first, everything
// a moment later, then every change. Changes do not wait for the rest of everything, nor does
// anything wait for the registry to be whole but the removal of flows that it does not
// have.
func (r *reign) follow(ctx context.Context) error {
	defer r.changes.Close()
	later := map[ids.FlowID]bool{} // not installed yet: an earlier flow of that id is being removed, or Redis is away
	r.log.Debug("slots begin")
	todo, due := r.begin(ctx, later)
	pass, again := time.NewTimer(passAfter), time.NewTicker(foresight/3)
	defer pass.Stop()
	defer again.Stop()
	retry := time.NewTicker(500 * time.Millisecond)
	defer retry.Stop()
	loaded, begun, whole := r.Loaded, false, false
	idle := make(chan struct{})
	close(idle)
	for {
		var more <-chan struct{} // there is something to do without being asked
		if len(todo) > 0 || begun && loaded == nil && !whole {
			more = idle
		}
		select { // changes first
		case <-r.changes.Ready():
			r.changed(ctx, r.changes.Take(), begun, later)
			continue
		default:
		}
		select {
		case <-r.changes.Ready():
			r.changed(ctx, r.changes.Take(), begun, later)
		case <-retry.C:
			r.see(ctx, slices.Collect(maps.Keys(later)), false, later)
		case <-pass.C:
			todo, begun = append(todo, r.others(due)...), true
			due = nil
		case <-again.C:
			if !whole {
				r.foresee()
			}
		case <-loaded:
			loaded = nil
		case <-more:
			page := todo[:min(len(todo), mirror.Page)]
			if todo = todo[len(page):]; len(todo) == 0 {
				todo = nil // it was long
			}
			r.see(ctx, page, true, later)
			if len(todo) == 0 && begun && loaded == nil && !whole {
				strays, err := r.mirror.Strays(ctx)
				if whole = err == nil; !whole {
					r.wait(ctx)
					continue
				}
				r.put(later, strays)
				r.log.Info("every flow is mirrored", "flows", len(r.Registry.Names()), "later", len(later))
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// changed makes the ledger's copies of flows that changed what they should be. While the catalog
// loads they are all flows and not changes: those that are not due are left to the pass over all
// flows, if that has not begun.
func (r *reign) changed(ctx context.Context, names []ids.FlowID, begun bool, later map[ids.FlowID]bool) {
	var known []*registry.Flow
	var gone []ids.FlowID
	for _, id := range names {
		if f := r.Registry.Get(id); f != nil {
			known = append(known, f)
		} else {
			gone = append(gone, id)
		}
	}
	soon, rest := r.rank(known)
	others, loaded := r.expect(rest), r.loaded()
	if !loaded && !begun {
		others = nil
	}
	r.see(ctx, slices.Concat(soon, others, gone), !loaded, later)
}

// see makes the ledger's copies of flows what they should be, repeating until Redis
// takes it, and tells the ticker what the ledger has of them.
func (r *reign) see(ctx context.Context, flows []ids.FlowID, bulk bool, later map[ids.FlowID]bool) {
	for page := range slices.Chunk(flows, mirror.Page) {
		for told := false; ; told = true {
			put, err := r.some(ctx, page, bulk)
			if err == nil {
				for _, f := range page {
					if put[f] == nil {
						delete(later, f)
					}
				}
				r.put(later, put)
				break
			}
			if ctx.Err() != nil {
				return
			}
			if !told {
				r.log.Warn("flows can't be mirrored yet", "error", err)
			}
			r.wait(ctx)
		}
	}
}

// put notes flows to be mirrored later.
func (r *reign) put(later map[ids.FlowID]bool, why map[ids.FlowID]error) {
	for f, err := range why {
		if !later[f] {
			r.log.Warn("flow is mirrored later", "flow", f, "error", err)
			later[f] = true
		}
	}
}

func (r *reign) wait(ctx context.Context) {
	t := time.NewTimer(200 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// some mirrors flows once and tells what the ledger had of them.
func (r *reign) some(ctx context.Context, flows []ids.FlowID, bulk bool) (map[ids.FlowID]error, error) {
	var newest time.Time
	heads := make(map[ids.FlowID]ledger.FlowHead, len(flows))
	later, err := r.mirror.Some(ctx, flows, bulk, func(f ids.FlowID, h ledger.FlowHead) {
		if h.LastSlot.After(newest) {
			newest = h.LastSlot
		}
		heads[f] = h
	})
	if err != nil {
		return nil, err
	}
	if err := r.seen(ctx, newest); err != nil {
		return nil, err
	}
	for f, h := range heads {
		r.ticker.Know(f, h.LastSlot)
		if h.LastCycle > int64(r.retention.Detailed()) {
			r.retention.Tidy(f)
		}
	}
	for _, f := range flows {
		if errors.Is(later[f], ledger.ErrStale) { // a newer revision is there, and on its way to this process
			delete(later, f)
		}
		if _, found := heads[f]; !found && later[f] == nil {
			r.ticker.Look(f)
		}
	}
	return later, nil
}

// seen looks whether the ledger's clock went back while nobody ran: then it has
// accounted slots that are yet to come.
func (r *reign) seen(ctx context.Context, newest time.Time) error {
	if !newest.After(r.Clock.Estimate()) {
		return nil
	}
	return r.Clock.Seen(ctx, newest)
}

// paused reports whether a flow is held.
func (r *reign) paused(f ids.FlowID) bool {
	flow := r.Registry.Get(f)
	if flow == nil {
		return !r.loaded() // it may be: what is held waits until that is known
	}
	return flow.Paused
}

// all mirrors every flow once more and returns those to try again later.
func (r *reign) all(ctx context.Context) map[ids.FlowID]bool {
	later := map[ids.FlowID]bool{}
	todo, due := r.begin(ctx, later)
	r.see(ctx, append(todo, r.others(due)...), true, later)
	if r.loaded() {
		for ctx.Err() == nil {
			strays, err := r.mirror.Strays(ctx)
			if err == nil {
				r.put(later, strays)
				break
			}
			r.wait(ctx)
		}
	}
	return later
}

// loaded reports whether the registry has every flow.
func (r *reign) loaded() bool {
	if r.Loaded == nil {
		return true
	}
	select {
	case <-r.Loaded:
		return true
	default:
		return false
	}
}

// memoryShare is how much of its memory Redis may use before no cycle starts any
// more: what runs needs the rest to finish.
const memoryShare = 0.8

func (r *reign) checkMemory(ctx context.Context) {
	used, limit, err := r.Ledger.Memory(ctx)
	if err != nil {
		return // it is away; the loops say so
	}
	short := limit > 0 && float64(used) > memoryShare*float64(limit)
	if r.memory.Swap(short) != short {
		if short {
			r.log.Error("redis is short of memory: no cycle starts", "used", used, "limit", limit)
		} else {
			r.log.Info("redis has memory again")
		}
	}
}

// brokerPatience is how long a broker may refuse messages before slots are
// skipped: what would start could not be offered.
const brokerPatience = 5 * time.Second

// blocked says why no cycle may start now, or "".
func (r *reign) blocked() string {
	if r.memory.Load() {
		return "memory"
	}
	if _, since := r.Queue.State(); !since.IsZero() && time.Since(since) > brokerPatience {
		return "backpressure"
	}
	return ""
}
