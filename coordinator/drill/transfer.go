package drill

import (
	"context"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// Transferer hands a leadership over. *client.Client is one.
type Transferer interface {
	TransferLeader(ctx context.Context, here bool) (api.Transfer, error)
}

// Transfer is the Target of LeaderTransfer: it asks the leader to hand over, as an
// operator does before an upgrade.
type Transfer struct{ By Transferer }

// Inject asks. The fault counts from the call.
func (t Transfer) Inject(ctx context.Context, _ Fault, n Names) (Evidence, error) {
	at := time.Now()
	was, err := t.By.TransferLeader(ctx, false)
	if err != nil {
		return Evidence{}, fmt.Errorf("transfer: %w", err)
	}
	if was.From != n.Leader {
		return Evidence{}, fmt.Errorf("transfer: %s led, not %s", was.From, n.Leader)
	}
	return Evidence{At: at, Proof: fmt.Sprintf("%s gave epoch %d away", was.From, was.Epoch)}, nil
}

// Heal has nothing to do.
func (Transfer) Heal(context.Context, Fault, Names) error { return nil }
