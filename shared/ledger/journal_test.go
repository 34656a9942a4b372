package ledger

import (
	"cmp"
	"testing"

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
			if got := CompareIDs(a, b); got != cmp.Compare(i, k) {
				t.Errorf("%q and %q compare as %d", a, b, got)
			}
		}
	}
}
