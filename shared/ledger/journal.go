package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Record is one entry of the journal: one transition, as the script that made
// it wrote it in the same step.
type Record struct {
	ID string // stream id; its first part is Redis TIME in milliseconds
	At time.Time
	Op string // takeover, cycle_start, ready, dispatch, claim, outcome, …
	ids.Attempt
	Epoch  ids.Epoch // 0 for the verbs that carry none
	Token  string
	Worker string
	Detail string
}

// Journal returns up to count records with ids after the given one ("" = the
// oldest kept).
func (l *Ledger) Journal(ctx context.Context, after string, count int64) ([]Record, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	msgs, err := l.rdb.XRangeN(ctx, l.key("journal"), from, "+", count).Result()
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", classify(err))
	}
	out := make([]Record, 0, len(msgs))
	for _, m := range msgs {
		field := func(name string) string { s, _ := m.Values[name].(string); return s }
		r := Record{ID: m.ID, Op: field("op"), Token: field("token"), Worker: field("worker"), Detail: field("detail")}
		r.Flow, r.Node = ids.FlowID(field("flow")), ids.NodeID(field("node"))
		r.Cycle, r.N = number(field("cycle")), int(number(field("attempt")))
		r.UUID, _ = uuid.Parse(field("uuid"))
		r.Epoch = ids.Epoch(number(field("epoch")))
		ms, _, _ := strings.Cut(m.ID, "-")
		r.At = time.UnixMilli(number(ms)).UTC()
		out = append(out, r)
	}
	return out, nil
}
