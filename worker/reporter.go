package worker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/process"
)

// records is the ledger as the reporter uses it.
type records interface {
	BeatWorker(ctx context.Context, w ledger.Worker, ttl time.Duration) error
	LeaveWorker(ctx context.Context, id ids.WorkerID) error
}

// reporter keeps the worker's record in the ledger.
type reporter struct {
	ledger   records
	record   ledger.Worker
	every    time.Duration
	ttl      time.Duration
	busy     func() int
	draining atomic.Bool
	loop     *process.Loop
	log      hclog.Logger
}

func (r *reporter) run(ctx context.Context) error {
	defer r.loop.Done()
	t := time.NewTicker(r.every)
	defer t.Stop()
	down := false
	for {
		r.record.Busy, r.record.Draining = r.busy(), r.draining.Load()
		err := r.beat(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !down:
			down = true
			r.log.Warn("this worker can't be reported", "error", err)
		case err == nil && down:
			down = false
			r.log.Info("this worker is reported again")
		}
		r.loop.Progress()
		select {
		case <-t.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := r.ledger.LeaveWorker(last, r.record.ID); err != nil {
				r.log.Warn("this worker can't be taken off the list; its record runs out", "error", err)
			}
			return nil
		}
	}
}

// beat reports once. Its bound keeps the loop going while Redis hangs: a worker
// that waits for Redis lives.
func (r *reporter) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(r.every, time.Second))
	defer cancel()
	return r.ledger.BeatWorker(ctx, r.record, r.ttl)
}
