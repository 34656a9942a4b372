package ledger

import (
	std "cmp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
)

// TestWhoBoundsTheJournal: each call trims to its caller's bound, so who has none
// (a worker) must not cut what the coordinators keep.
func TestWhoBoundsTheJournal(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		ctx := t.Context()
		epoch := ids.Epoch(0)
		write := func(as Config, n int) int64 {
			t.Helper()
			as.URL, as.Prefix = "redis://"+l.rdb.(interface{ Options() *redis.Options }).Options().Addr, l.prefix //nolint:forcetypeassert // one server
			own, err := Open(ctx, as)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = own.Close() }() // only calls matter
			for range n {
				epoch++
				must(own.Takeover(ctx, epoch))
			}
			return must(l.rdb.XLen(ctx, l.key("journal")).Result())
		}
		const most, slack = 300, 100 // whole nodes of the stream are cut
		if n := write(Config{JournalMax: 1000}, 800); n != 800 {
			t.Fatalf("%d records, want 800", n)
		}
		if n := write(Config{JournalMax: LeaveJournal}, 400); n != 1200 {
			t.Errorf("%d records after writes of one who leaves the journal, want 1200", n)
		}
		if n := write(Config{JournalMax: most}, 1); n > most+slack {
			t.Errorf("%d records after a write with a bound of %d", n, most)
		}
	})
}

func TestIDsOfRecordsAreOrdered(t *testing.T) {
	ordered := []string{"", "9-0", "9-0.1", "9-0.2", "9-0.10", "9-1", "9-10", "10-0"}
	for i, a := range ordered {
		for k, b := range ordered {
			if got := CompareIDs(a, b); got != std.Compare(i, k) {
				t.Errorf("%q and %q compare as %d", a, b, got)
			}
		}
	}
}

// TestRecordsOfAnEntry: short records, those of several nodes, and details that look like
// what they are joined by, are read as they were meant; ids count records, not fields.
func TestRecordsOfAnEntry(t *testing.T) {
	c := uuid.MustParse("11111111-1111-4111-8111-111111111111")
	of := func(id, op string, node ids.NodeID, n int, token, worker, detail string) Record {
		a := ids.Attempt{Flow: "f", Cycle: 3, UUID: c, Node: node, N: n}
		return Record{ID: id, At: time.UnixMilli(9).UTC(), Op: op, Attempt: a, Epoch: 7, Token: token, Worker: worker, Detail: detail}
	}
	other := of("9-1.6", "ready", "x", 1, "", "", "|^|a,b||")
	other.Flow, other.Cycle = "g", 4
	want := []Record{
		of("9-1", "dispatch", "a", 1, "", "", ""),
		of("9-1.1", "dispatch", "b", 1, "", "", ""),
		of("9-1.2", "outcome", "a", 2, "t", "w", "failed: a|b,c|^|"),
		of("9-1.3", "ready", "c", 1, "", "", "inputs"),
		of("9-1.4", "ready", "d", 1, "", "", "inputs"),
		of("9-1.5", "cycle_end", "", 0, "", "", "completed"),
		other,
	}
	id := c.String()
	m := redis.XMessage{ID: "9-1", Values: map[string]any{
		"r": "dispatch|f|3|" + id + "|a,b|1|7|||",
		"1": "outcome|^|a|2|t|w|failed: a|b,c|^|",
		"2": "ready|^|c,d|1|||inputs",
		"3": "cycle_end|^||0|||completed",
		"4": "ready|g|4|" + id + "|x|1|7||||^|a,b||",
	}}
	if d := cmp.Diff(want, records(nil, m)); d != "" {
		t.Error(d)
	}
}
