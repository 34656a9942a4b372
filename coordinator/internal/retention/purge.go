package retention

import (
	"context"
	"errors"
	"slices"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Purge removes a deleted flow: its cycles, whatever their state, then the rest.
// entry is the outbox entry that asked for it. A flow that is not being deleted
// keeps all it has. A deletion may be asked for twice: the second purge waits for
// the first, so that what it reads is not removed, or made anew, under its hands.
func (k *Keeper) Purge(ctx context.Context, f ids.FlowID, entry string) error {
	k.purging.Lock()
	defer k.purging.Unlock()
	s, err := k.cfg.Ledger.Flow(ctx, f)
	if err == nil && s.Status != "deleting" {
		_, err = k.cfg.Ledger.PurgeFlow(ctx, k.cfg.Epoch, f, entry) // removes the entry alone
		return err
	}
	if err != nil && !errors.Is(err, ledger.ErrGone) {
		return err
	}
	for {
		all, err := k.cfg.Ledger.CycleNumbers(ctx, f)
		if err != nil {
			return err
		}
		var faults []error
		for page := range slices.Chunk(all, together) {
			_, err := k.eraseApart(ctx, f, page, func(ledger.CycleState) bool { return true })
			if ends(err) {
				return err
			}
			faults = append(faults, err)
		}
		if err := errors.Join(faults...); err != nil {
			return err
		}
		left, err := k.cfg.Ledger.PurgeFlow(ctx, k.cfg.Epoch, f, entry)
		if err != nil || left == 0 {
			k.mu.Lock()
			delete(k.floor, f)
			delete(k.spare, f)
			k.mu.Unlock()
			return err
		}
	}
}
