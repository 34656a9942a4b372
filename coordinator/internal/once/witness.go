package once

import (
	"context"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Witness tells whether a claimed at-most-once node was started.
type Witness struct {
	Store  *Store
	Ledger Eras
	Epoch  ids.Epoch
}

// Eras is what a witness reads and writes in the ledger.
type Eras interface {
	Cycle(ctx context.Context, f ids.FlowID, n int64) (ledger.CycleState, error)
	OnceEra(ctx context.Context, epoch ids.Epoch, era string) (time.Time, error)
}

// again is how often the ledger is told the era: it may have lost it, and etcd may
// have another by now.
const again = 10 * time.Second

// Run tells the ledger the era of this etcd until ctx ends or the epoch is fenced,
// which it returns.
func (w *Witness) Run(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
		_, err := w.tell(ctx)
		if ledger.Fenced(err) {
			return err
		}
		if err == nil {
			t.Reset(again)
		} else {
			t.Reset(again / 10)
		}
	}
}

// tell returns the era, and makes one where there is none.
func (w *Witness) tell(ctx context.Context) (era string, err error) {
	if era, err = w.Store.Era(ctx); err != nil {
		return "", err
	}
	_, err = w.Ledger.OnceEra(ctx, w.Epoch, era)
	return era, err
}

// Unstarted reports whether the node of a claim that was made at an instant of the
// ledger's clock was certainly never started, by that claim or any other.
func (w *Witness) Unstarted(ctx context.Context, a ids.Attempt, claimed time.Time) (bool, error) {
	c, err := w.Ledger.Cycle(ctx, a.Flow, a.Cycle)
	if err != nil {
		return false, err
	}
	if c.UUID != a.UUID {
		return false, fmt.Errorf("cycle %d of %s: %w", a.Cycle, a.Flow, ledger.ErrGone)
	}
	there, era, err := w.Store.Look(ctx, Key{Flow: a.Flow, Occasion: c.Occasion, Node: a.Node})
	if err != nil || there {
		return false, err
	}
	if era == "" { // its data is new, and Run has not seen that yet
		return false, nil
	}
	since, err := w.Ledger.OnceEra(ctx, w.Epoch, era)
	return err == nil && claimed.After(since), err
}
