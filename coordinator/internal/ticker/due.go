package ticker

import (
	"context"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
)

// due says what is to be done now. What will never start is accounted for good,
// so where slots are to be skipped the ledger's clock decides if it is behind this
// machine's: ahead is by how much.
func (t *Ticker) due(ctx context.Context, f *registry.Flow, last time.Time) (due schedule.Due, ahead time.Duration, err error) {
	now := t.cfg.Now()
	if due = t.policy(f, last, now); len(due.Skipped) == 0 {
		return due, 0, nil
	}
	clock, err := t.cfg.Ledger.Now(ctx)
	if err != nil || !clock.Before(now) {
		return due, 0, err
	}
	return t.policy(f, last, clock), now.Sub(clock), nil
}

func (t *Ticker) policy(f *registry.Flow, last, now time.Time) schedule.Due {
	due := f.Schedule.Due(last, now, f.Record.Anchor())
	switch {
	case f.Paused:
		due = withhold(due, "paused", true)
	case t.cfg.Blocked != nil:
		if why := t.cfg.Blocked(); why != "" {
			due = withhold(due, why, false)
		}
	}
	return due
}

// withhold makes the slot that would start a skipped one, and gives the others
// the same reason if all is set.
func withhold(due schedule.Due, reason string, all bool) schedule.Due {
	for i := range due.Skipped {
		if all {
			due.Skipped[i].Reason = reason
		}
	}
	if !due.Start.IsZero() {
		due.Skipped = append(due.Skipped, schedule.Skip{From: due.Start, To: due.Start, Count: 1, Reason: reason})
		due.Start = time.Time{}
	}
	return due
}
