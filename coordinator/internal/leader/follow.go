package leader

import (
	"context"
	"errors"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// follow mirrors the flows and keeps the ticker informed: everything at the
// start, then every change.
func (r *reign) follow(ctx context.Context) error {
	defer r.changes.Close()
	if !r.loaded(ctx) {
		return nil
	}
	r.know(ctx)
	r.log.Debug("slots begin")
	later := map[ids.FlowID]bool{} // not installed yet: an earlier flow of that id is being removed, or Redis is away
	for _, f := range r.all(ctx) {
		later[f] = true
	}
	r.log.Info("every flow is mirrored", "flows", len(r.Registry.List()), "later", len(later))
	retry := time.NewTicker(500 * time.Millisecond)
	defer retry.Stop()
	for {
		var changed []ids.FlowID
		select {
		case <-r.changes.Ready():
			changed = r.changes.Take()
		case <-retry.C:
			for f := range later {
				changed = append(changed, f)
			}
		case <-ctx.Done():
			return nil
		}
		for _, f := range changed {
			err := r.mirror.One(ctx, f)
			if err != nil && !errors.Is(err, ledger.ErrStale) {
				if ctx.Err() != nil {
					return nil
				}
				if !later[f] {
					r.log.Warn("flow is mirrored later", "flow", f, "error", err)
					later[f] = true
				}
				continue
			}
			delete(later, f)
			r.ticker.Look(f)
		}
	}
}

// loaded waits until every flow is known. It reports false when ctx ended first.
func (r *reign) loaded(ctx context.Context) bool {
	if r.Loaded == nil {
		return true
	}
	select {
	case <-r.Loaded:
		return true
	case <-ctx.Done():
		return false
	}
}

// know tells the ticker what the ledger has of each flow that it has as it should
// be, in one read and before anything is mirrored: slots go on at once. What can't
// be told here, all tells later.
func (r *reign) know(ctx context.Context) {
	flows := r.Registry.List()
	names := make([]ids.FlowID, len(flows))
	for i, f := range flows {
		names[i] = f.Record.Flow
	}
	states, err := r.Ledger.Flows(ctx, names)
	if err != nil {
		return
	}
	if err := r.seen(ctx, states); err != nil {
		return
	}
	for _, f := range flows {
		if s, known := states[f.Record.Flow]; known && s.UID == f.Record.UID && s.Revision == f.Record.Revision {
			r.ticker.Know(f.Record.Flow, s.LastSlot)
		}
	}
}

// seen looks whether the ledger's clock went back while nobody ran: then it has
// accounted slots that are yet to come.
func (r *reign) seen(ctx context.Context, states map[ids.FlowID]ledger.FlowState) error {
	var newest time.Time
	for _, s := range states {
		if s.LastSlot.After(newest) {
			newest = s.LastSlot
		}
	}
	if !newest.After(r.Clock.Estimate()) {
		return nil
	}
	return r.Clock.Seen(ctx, newest)
}

// paused reports whether a flow is held.
func (r *reign) paused(f ids.FlowID) bool {
	flow := r.Registry.Get(f)
	if flow == nil && r.Loaded != nil {
		select {
		case <-r.Loaded:
		default:
			return true // it may be: what is held waits until that is known
		}
	}
	return flow != nil && flow.Paused
}

// all mirrors every flow, repeating until Redis takes it, and returns those to
// try again later.
func (r *reign) all(ctx context.Context) []ids.FlowID {
	for told := false; ; told = true {
		found, later, err := r.mirror.All(ctx)
		if err == nil {
			err = r.seen(ctx, found)
		}
		if err == nil {
			for f, s := range found {
				r.ticker.Know(f, s.LastSlot)
				r.retention.Tidy(f)
			}
			return later
		}
		if ctx.Err() != nil {
			return nil
		}
		if !told {
			r.log.Warn("flows can't be mirrored yet", "error", err)
		}
		t := time.NewTimer(200 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
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
