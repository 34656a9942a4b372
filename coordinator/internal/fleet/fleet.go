// Package fleet knows which workers live and what they carry, for the leader:
// it reads their records once a second while there is anything to decide by
// them, and brings held offers back when a worker that can take them appears.
// It looks sooner when a pool is asked for of which it knows no worker: until the first one is known, messages hold a
// node each, and a burst in a pool whose workers have just come would go by so for a second.
package fleet

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/nodetype"
)

// Ledger is what the fleet reads and writes.
type Ledger interface {
	Workers(ctx context.Context) ([]ledger.Worker, error)
	Holds(ctx context.Context) ([]string, error)
	ReleaseHeld(ctx context.Context, epoch ids.Epoch, waitsFor, entryID string) (int64, error)
	PruneHold(ctx context.Context, epoch ids.Epoch, waitsFor string) error
}

// Fleet is safe for concurrent use.
type Fleet struct {
	ledger Ledger
	paused func(f ids.FlowID) bool
	lost   func()
	log    hclog.Logger
	vigil  *Vigil        // hears who lives; may be nil
	missed chan struct{} // somebody asked for a pool of no known workers

	mu      sync.RWMutex
	workers []ledger.Worker
	known   bool // the records have been read
	room    map[string]room
}

// room is what the live workers of a pool take.
type room struct {
	slots   int // of all that take new tasks
	workers int // that have them
	pack    int // tasks of one message that each of them reads
}

// New makes a fleet of no workers. paused tells whether a flow is held; lost
// hears of workers whose record ran out.
func New(l Ledger, paused func(f ids.FlowID) bool, lost func(), log hclog.Logger) *Fleet {
	return &Fleet{ledger: l, paused: paused, lost: lost, log: log, missed: make(chan struct{}, 1)}
}

// Tell has a vigil hear who lives. Call it before Run.
func (f *Fleet) Tell(v *Vigil) { f.vigil = v }

// Carries reports whether a node of that type can be offered to a pool: every
// worker carries the built-in types, others must be advertised by a live one, as
// soon as it is known who lives.
func (f *Fleet) Carries(pool, nodeType string) bool {
	if slices.Contains(nodetype.Always(), nodeType) {
		return true
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if !f.known {
		return true // a worker that gets it and can't run it says so
	}
	for _, w := range f.workers {
		if w.Pool == pool && slices.Contains(w.Types, nodeType) {
			return true
		}
	}
	return false
}

// Room tells how many slots the workers of a pool have, how many workers they are, but for those
// that drain, and how many tasks of one message each of them reads, as of the last refresh; 0 slots
// when there are none or it is not known; then they are looked for soon.
func (f *Fleet) Room(pool string) (slots, workers, pack int) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	r := f.room[pool]
	if r.slots == 0 {
		select {
		case f.missed <- struct{}{}:
		default:
		}
	}
	return r.slots, r.workers, r.pack
}

func rooms(ws []ledger.Worker) map[string]room {
	all := map[string]room{}
	for _, w := range ws {
		r, known := all[w.Pool]
		if pack := max(w.Pack, 1); !known || pack < r.pack {
			r.pack = pack
		}
		if !w.Draining {
			r.slots += w.Concurrency
			r.workers++
		}
		all[w.Pool] = r
	}
	return all
}

// Refresh reads the workers' records now.
func (f *Fleet) Refresh(ctx context.Context) error {
	ws, err := f.ledger.Workers(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	before := f.workers
	f.workers, f.known, f.room = ws, true, rooms(ws)
	f.mu.Unlock()
	if f.vigil != nil {
		f.vigil.Set(ws)
	}
	for _, w := range before {
		gone := !slices.ContainsFunc(ws, func(x ledger.Worker) bool { return x.ID == w.ID })
		if gone && !w.Draining {
			f.log.Warn("worker is gone without a word", "worker", w.ID, "pool", w.Pool)
			f.lost()
		}
	}
	return nil
}

// soon is how long after a look the next one may come that somebody waits for; twice as long after each, until the
// next one that is due.
const soon = 50 * time.Millisecond

// Run refreshes every interval, and sooner when it is asked for workers it does not know of, and releases what the workers
// can take by then, until ctx ends or the epoch is fenced, which it returns.
func (f *Fleet) Run(ctx context.Context, epoch ids.Epoch, every time.Duration) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for pause := soon; ; {
		if err := f.step(ctx, epoch); ledger.Fenced(err) {
			return err
		}
		looked := time.Now()
		select {
		case <-t.C:
			pause = soon
		case <-f.missed:
			select {
			case <-time.After(time.Until(looked.Add(pause))):
				pause *= 2
			case <-t.C:
				pause = soon
			case <-ctx.Done():
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (f *Fleet) step(ctx context.Context, epoch ids.Epoch) error {
	if err := f.Refresh(ctx); err != nil {
		return err
	}
	holds, err := f.ledger.Holds(ctx)
	if err != nil {
		return err
	}
	for _, h := range holds {
		if !f.over(h) {
			if err := f.ledger.PruneHold(ctx, epoch, h); err != nil {
				return err
			}
			continue
		}
		n, err := f.ledger.ReleaseHeld(ctx, epoch, h, "")
		if err != nil {
			return err
		}
		if n > 0 {
			f.log.Info("nodes that were held are offered", "waited_for", h, "count", n)
		}
	}
	return nil
}

// over reports whether what a hold waits for has come.
func (f *Fleet) over(hold string) bool {
	if flow, ok := ledger.HeldFlow(hold); ok {
		return !f.paused(flow)
	}
	pool, nodeType, ok := parseHold(hold)
	return ok && f.Carries(pool, nodeType)
}

func parseHold(h string) (pool, nodeType string, ok bool) {
	rest, ok := strings.CutPrefix(h, "type:")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}
