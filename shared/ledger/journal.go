package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

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
		out = append(out, record(m))
	}
	return out, nil
}

// Fields of the journal and of the outbox, in their order. An entry has them in one field,
// joined by "|", which no id may hold; the last is whatever is left. Entries with a field for each,
// as they were written once, are read as well.
var (
	journalFields = []string{"op", "flow", "cycle", "uuid", "node", "attempt", "epoch", "token", "worker", "detail"}
	outboxFields  = []string{"kind", "flow", "cycle", "uuid", "node", "attempt"}
)

// Names of the one field.
const (
	journalField = "r"
	outboxField  = "e"
)

// fields returns the values of an entry in the order of names; those that it lacks are empty.
func fields(m redis.XMessage, one string, names []string) []string {
	if all, ok := m.Values[one].(string); ok {
		values := strings.SplitN(all, "|", len(names))
		return append(values, make([]string, len(names)-len(values))...)
	}
	values := make([]string, len(names))
	for i, name := range names {
		values[i], _ = m.Values[name].(string)
	}
	return values
}

func record(m redis.XMessage) Record {
	f := fields(m, journalField, journalFields)
	r := Record{ID: m.ID, Op: f[0], Attempt: attempt(f[1:6]), Epoch: ids.Epoch(number(f[6])), Token: f[7], Worker: f[8], Detail: f[9]}
	ms, _, _ := strings.Cut(m.ID, "-")
	r.At = time.UnixMilli(number(ms)).UTC()
	return r
}

// attempt reads flow, cycle, uuid, node and attempt.
func attempt(f []string) ids.Attempt {
	a := ids.Attempt{Flow: ids.FlowID(f[0]), Cycle: number(f[1]), Node: ids.NodeID(f[3]), N: int(number(f[4]))}
	a.UUID, _ = uuid.Parse(f[2])
	return a
}
