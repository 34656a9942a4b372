package control

import (
	"context"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
)

// One call of Journal reads so many records at most, in pages.
const (
	journalPage  = 1000
	journalPages = 20
)

// Journal returns records of the journal. A flow that is gone may be asked for.
func (c *Control) Journal(ctx context.Context, r httpapi.JournalRange) (api.Journal, error) {
	out := api.Journal{Next: r.After}
	for range journalPages {
		page, err := c.cfg.Ledger.Journal(ctx, out.Next, journalPage)
		if err != nil {
			return api.Journal{}, translate(err, "the journal")
		}
		for _, x := range page {
			out.Next = x.ID
			if r.Flow != "" && x.Flow != r.Flow {
				continue
			}
			out.Records = append(out.Records, api.JournalRecord{ID: x.ID, At: api.At(x.At), Op: x.Op, FlowID: string(x.Flow), Cycle: x.Cycle,
				NodeID: string(x.Node), Attempt: x.N, Epoch: int64(x.Epoch), Worker: x.Worker, Detail: x.Detail})
			if len(out.Records) == r.Limit {
				return out, nil
			}
		}
		if len(page) < journalPage {
			out.Next = ""
			return out, nil
		}
	}
	return out, nil
}
