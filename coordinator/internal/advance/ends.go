package advance

import (
	"context"
	"errors"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// EndKinds lists the entries that tell of the end of a cycle. Where cycles are short
// there are as many of them as starts, and who waits for an end starts nothing before
// it comes. So they have a queue of their own, and all that wait there are read, told
// and removed together.
func EndKinds() []ledger.Kind { return []ledger.Kind{ledger.KindClosed} }

// endsAtOnce is how many ends are told together.
const endsAtOnce = 64

// RunEnds tells of ends until ctx ends or the epoch is fenced, which it returns.
func RunEnds(ctx context.Context, cfg Config) error {
	for ctx.Err() == nil {
		if err := Ends(ctx, cfg, cfg.Source.Take(ctx, endsAtOnce)); err != nil {
			return err
		}
	}
	return nil
}

// Ends tells of the ends of cycles and gives the entries back. Only a refusal by epoch
// is returned.
func Ends(ctx context.Context, cfg Config, entries []ledger.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	err := (&advancer{cfg}).ends(ctx, entries)
	back := make([]string, len(entries))
	for i, e := range entries {
		back[i] = e.ID
	}
	cfg.Done(back...)
	if ledger.Fenced(err) {
		return err
	}
	if err != nil && ctx.Err() == nil {
		cfg.Log.Warn("ends of cycles are left for a later try", "count", len(entries), "error", err)
	}
	return nil
}

func (a *advancer) ends(ctx context.Context, entries []ledger.Entry) error {
	of := make([]ids.Attempt, len(entries))
	for i, e := range entries {
		of[i] = e.Attempt
	}
	cycles, err := a.Ledger.CyclesOf(ctx, of)
	if err != nil {
		return err
	}
	told := make([]ledger.Entry, 0, len(entries))
	var faults []error
	for i, c := range cycles {
		if c.UUID == entries[i].UUID { // else it was removed meanwhile, and nobody waits
			if err := a.Listeners.Closed(ctx, c); err != nil {
				faults = append(faults, err)
				continue
			}
		}
		told = append(told, entries[i])
	}
	if len(told) > 0 {
		faults = append(faults, a.Ledger.Told(ctx, a.Epoch, told...))
	}
	return errors.Join(faults...)
}
