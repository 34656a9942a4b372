package reconcile

import (
	"context"
	"errors"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// workerGone is the cause of a revocation that rests on the proof that the worker's
// process is gone.
const workerGone = "worker gone"

// WorkerGone revokes every claim of a worker whose process is proven gone. What can't
// be revoked now is left to the leases; only a refusal by epoch is returned.
func (k *Leases) WorkerGone(ctx context.Context, id ids.WorkerID) error {
	claims, err := k.held(ctx, id)
	if err != nil {
		k.cfg.Log.Warn("claims of a dead worker can't be read; their leases run out", "worker", id, "error", err)
		return nil
	}
	var faults []error
	for _, a := range claims {
		_, err := k.expire(ctx, a, workerGone, k.ask, func(s ledger.NodeState) (bool, error) { return s.Worker == string(id), nil })
		if ledger.Fenced(err) {
			return err
		}
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil && ctx.Err() == nil {
		k.cfg.Log.Warn("claims of a dead worker can't be revoked; their leases run out", "worker", id, "error", err)
	}
	return nil
}

// held lists the claims of a worker.
func (k *Leases) held(ctx context.Context, id ids.WorkerID) ([]ids.Attempt, error) {
	leases, err := k.cfg.Ledger.Leases(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]ids.Attempt, len(leases))
	for i, l := range leases {
		all[i] = l.Attempt
	}
	holders, err := k.cfg.Holders(ctx, all)
	if err != nil {
		return nil, err
	}
	var own []ids.Attempt
	for i, h := range holders {
		if h == id {
			own = append(own, all[i])
		}
	}
	return own, nil
}
