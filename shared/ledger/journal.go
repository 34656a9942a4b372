package ledger

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Record is one transition, as the script that made it wrote it in the same step.
type Record struct {
	// ID is that of the journal's entry, whose first part is Redis TIME in milliseconds;
	// records after the first of an entry are numbered behind it: 1767225600000-0.1.
	ID string
	At time.Time
	Op string // takeover, cycle_start, ready, dispatch, claim, outcome, …
	ids.Attempt
	Epoch  ids.Epoch // 0 for the verbs that carry none
	Token  string
	Worker string
	Detail string
}

// Journal returns the records of so many entries, those with ids after the given one ("" = the
// oldest kept): count records or more, and fewer only where the journal ends.
func (l *Ledger) Journal(ctx context.Context, after string, count int64) ([]Record, error) {
	from := "-"
	entry, part, _ := strings.Cut(after, ".")
	if after != "" {
		from = entry // it may have more records
		count++
	}
	msgs, err := l.rdb.XRangeN(ctx, l.key("journal"), from, "+", count).Result()
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", classify(err))
	}
	var out []Record
	for _, m := range msgs {
		if out = records(out, m); m.ID == entry {
			out = out[min(int(number(part))+1, len(out)):]
		}
	}
	return out, nil
}

// CompareIDs orders the ids of records and of entries: by time, sequence and place in the entry.
func CompareIDs(a, b string) int {
	ams, aseq, apart := splitID(a)
	bms, bseq, bpart := splitID(b)
	return cmp.Or(cmp.Compare(ams, bms), cmp.Compare(aseq, bseq), cmp.Compare(apart, bpart))
}

func splitID(id string) (ms, seq, part int64) {
	left, right, _ := strings.Cut(id, "-")
	right, last, _ := strings.Cut(right, ".")
	return number(left), number(right), number(last)
}

// Fields of the journal and of the outbox, in their order. An entry has them in one field,
// joined by "|", which no id may hold; the last is whatever is left. What one script tells the
// journal may be one entry, whose further records are fields named 1, 2, …. Of these one of the same cycle as the one
// before has shortFields, and a node may be several, joined by ",": that many records, which are alike but for it. Entries with a field for each value,
// as they were written once, are read as well.
var (
	journalFields = []string{"op", "flow", "cycle", "uuid", "node", "attempt", "epoch", "token", "worker", "detail"}
	shortFields   = []string{"op", "^", "node", "attempt", "token", "worker", "detail"}
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

// records adds those of an entry.
func records(all []Record, m redis.XMessage) []Record {
	ms, _, _ := strings.Cut(m.ID, "-")
	at := time.UnixMilli(number(ms)).UTC()
	for id, f := range parts(m) {
		all = append(all, Record{ID: id, At: at, Op: f[0], Attempt: attempt(f[1:6]), Epoch: ids.Epoch(number(f[6])), Token: f[7], Worker: f[8], Detail: f[9]})
	}
	return all
}

// parts yields the records of an entry of the journal: their ids, and their values in the order of
// journalFields.
func parts(m redis.XMessage) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		var before []string
		count := 0
		for k, name := 1, journalField; k == 1 || m.Values[name] != nil; k++ {
			f := values(m, name, before)
			before = f
			for node := range strings.SplitSeq(f[4], ",") {
				id, one := m.ID, f
				if len(node) < len(f[4]) {
					one = slices.Clone(f)
					one[4] = node
				}
				if count > 0 {
					id += "." + strconv.Itoa(count)
				}
				if !yield(id, one) {
					return
				}
				count++
			}
			name = strconv.Itoa(k)
		}
	}
}

// values returns those of the record in a field, which may be a short one, behind the one before.
func values(m redis.XMessage, name string, before []string) []string {
	text, _ := m.Values[name].(string)
	short := strings.SplitN(text, "|", len(shortFields))
	if before == nil || len(short) < len(shortFields) || short[1] != shortFields[1] {
		return fields(m, name, journalFields)
	}
	all := slices.Clone(before)
	all[0], all[4], all[5], all[7], all[8], all[9] = short[0], short[2], short[3], short[4], short[5], short[6]
	return all
}

// attempt reads flow, cycle, uuid, node and attempt.
func attempt(f []string) ids.Attempt {
	a := ids.Attempt{Flow: ids.FlowID(f[0]), Cycle: number(f[1]), Node: ids.NodeID(f[3]), N: int(number(f[4]))}
	a.UUID, _ = uuid.Parse(f[2])
	return a
}
