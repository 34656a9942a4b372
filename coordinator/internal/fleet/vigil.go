package fleet

import (
	"context"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/presence"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// VigilConfig configures a Vigil.
type VigilConfig struct {
	// Hold connects to a worker; nil for one that can't be reached from here.
	Hold func(w ledger.Worker) presence.Hold
	// Gone hears of a worker whose process is proven gone.
	Gone func(ctx context.Context, w ledger.Worker) error
	Log  hclog.Logger
}

// Vigil holds a connection to every live worker, so that the leader learns of a death
// at once; see package presence for what proves it.
type Vigil struct {
	cfg     VigilConfig
	changed chan struct{}

	mu      sync.Mutex
	workers []ledger.Worker
}

// NewVigil makes a vigil over no workers.
func NewVigil(cfg VigilConfig) *Vigil { return &Vigil{cfg: cfg, changed: make(chan struct{}, 1)} }

// Set says which workers live.
func (v *Vigil) Set(ws []ledger.Worker) {
	v.mu.Lock()
	v.workers = ws
	v.mu.Unlock()
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// process names one process of a worker: a worker that is started again keeps its
// name, and often its address.
type process struct {
	id, health string
	started    int64
}

// Run holds the connections until ctx ends, or Gone returns an error, which it returns.
func (v *Vigil) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	var open sync.WaitGroup
	defer open.Wait()
	attended := map[process]context.CancelFunc{}
	defer func() {
		for _, cancel := range attended {
			cancel()
		}
	}()
	for {
		select {
		case <-v.changed:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
		v.mu.Lock()
		workers := v.workers
		v.mu.Unlock()
		live := make(map[process]bool, len(workers))
		for _, w := range workers {
			p := process{string(w.ID), w.Health, w.StartedAt.UnixMilli()}
			live[p] = true
			if _, known := attended[p]; known {
				continue
			}
			hold := v.cfg.Hold(w)
			if hold == nil {
				attended[p] = func() {}
				continue
			}
			actx, cancel := context.WithCancel(ctx)
			attended[p] = cancel
			open.Go(func() {
				if err := v.attend(actx, w, hold); err != nil {
					select {
					case failed <- err:
					default: // one is enough
					}
				}
			})
		}
		for p, cancel := range attended {
			if !live[p] {
				cancel()
				delete(attended, p)
			}
		}
	}
}

// attend watches one process to its end.
func (v *Vigil) attend(ctx context.Context, w ledger.Worker, hold presence.Hold) error {
	if !presence.Attend(ctx, string(w.ID), hold, nil) {
		return nil
	}
	if !w.Draining {
		v.cfg.Log.Warn("worker's process is gone", "worker", w.ID, "health", w.Health)
	}
	return v.cfg.Gone(ctx, w)
}
