package leader

import (
	"context"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/clock"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// timed is the ledger for those who decide by its clock: they see no jump of it.
type timed struct {
	*ledger.Ledger
	clock *clock.Keeper
}

// Now corrects the ledger's clock if it jumped, and reads it.
func (t timed) Now(ctx context.Context) (time.Time, error) { return t.clock.Now(ctx) }

// Workers leaves out workers that were not heard of for too long, so the clock has
// to be right before they are read.
func (t timed) Workers(ctx context.Context) ([]ledger.Worker, error) {
	if _, err := t.clock.Now(ctx); err != nil {
		return nil, err
	}
	return t.Ledger.Workers(ctx)
}
