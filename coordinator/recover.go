package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/election"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// surpass reports an epoch that fenced a leader to the election, which raises its
// base when that epoch can't be a successor's.
func surpass(ctx context.Context, fenced error, e *election.Elector, l *ledger.Ledger) error {
	var f *ledger.FencedError
	if !errors.As(fenced, &f) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	raised, err := e.Surpass(ctx, f.Higher)
	if err != nil || !raised {
		return err
	}
	return l.NoteRecovery(ctx, "etcd's history began anew", fmt.Sprintf("epochs go on above %d", f.Higher), "epoch", 1)
}
