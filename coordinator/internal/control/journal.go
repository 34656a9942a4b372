package control

import (
	"context"
	"strings"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/partition"
)

// One call of Journal reads so many records at most, in pages.
const (
	journalPage  = 1000
	journalPages = 20
)

// tape is one partition's journal while it is read.
type tape struct {
	*ledger.Ledger
	partition *int
	after     string // id of the record that was taken last
	read      []ledger.Record
	end       bool // nothing follows what was read
}

// Journal returns records of the journal, those of all partitions in the order of their
// ids. A flow that is gone may be asked for. Where there are several partitions, a
// place in the journal is a place in each: their clocks need not agree, and what one
// of them writes late must not be missed.
func (c *Control) Journal(ctx context.Context, r httpapi.JournalRange) (api.Journal, error) {
	tapes, err := c.tapes(r)
	if err != nil {
		return api.Journal{}, err
	}
	reading := tapes
	if r.Flow != "" {
		p := partition.Of(r.Flow, len(tapes))
		reading = tapes[p : p+1]
	}
	var out api.Journal
	for pages, size := journalPages*len(reading), max(journalPage/len(reading), 1); ; {
		first := -1
		for p := range reading {
			t := &reading[p]
			if len(t.read) == 0 && !t.end {
				if pages--; pages < 0 {
					out.Next = place(tapes)
					return out, nil
				}
				if t.read, err = t.Journal(ctx, t.after, int64(size)); err != nil {
					return api.Journal{}, translate(err, "the journal")
				}
				t.end = len(t.read) < size
			}
			if len(t.read) > 0 && (first < 0 || ledger.CompareIDs(t.read[0].ID, reading[first].read[0].ID) < 0) {
				first = p
			}
		}
		if first < 0 { // the end of all
			return out, nil
		}
		t := &reading[first]
		x := t.read[0]
		t.read, t.after = t.read[1:], x.ID
		if r.Flow != "" && x.Flow != r.Flow {
			continue
		}
		out.Records = append(out.Records, api.JournalRecord{ID: x.ID, At: api.At(x.At), Op: x.Op, FlowID: string(x.Flow), Cycle: x.Cycle,
			NodeID: string(x.Node), Attempt: x.N, Epoch: int64(x.Epoch), Worker: x.Worker, Detail: x.Detail, Partition: t.partition})
		if len(out.Records) == r.Limit {
			out.Next = place(tapes)
			return out, nil
		}
	}
}

// tapes begins to read every partition's journal: after one id in all, or after one in
// each.
func (c *Control) tapes(r httpapi.JournalRange) ([]tape, error) {
	out := make([]tape, len(c.cfg.Parts))
	after := strings.Split(r.After, ",")
	if len(after) != 1 && len(after) != len(out) {
		return nil, &httpapi.Invalid{Code: api.CodeInvalidRequest, Faults: []api.Fault{{Code: api.CodeInvalidRequest, Place: "query.after",
			Message: "names places in another number of partitions: begin anew"}}}
	}
	for p := range out {
		out[p] = tape{Ledger: c.cfg.Parts[p].Ledger, partition: c.numbered(p), after: after[min(p, len(after)-1)]}
	}
	return out, nil
}

func place(tapes []tape) string {
	after := make([]string, len(tapes))
	for p := range tapes {
		after[p] = tapes[p].after
	}
	return strings.Join(after, ",")
}
