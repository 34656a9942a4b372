package ledger_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/ledger/ledgertest"
)

func TestRandomEmbedded(t *testing.T) {
	ledgertest.Random(t, 40, func(t *testing.T) (ledgertest.Ledger, func()) {
		m := miniredis.NewMiniRedis()
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Open(t.Context(), ledger.Config{URL: "redis://" + m.Addr()})
		if err != nil {
			t.Fatal(err)
		}
		return l, func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			m.Close()
		}
	})
}

func TestRandomReal(t *testing.T) {
	s := real(t)
	ledgertest.Random(t, 60, func(t *testing.T) (ledgertest.Ledger, func()) { return s.draw(t) })
}

// inTurn hides that calls of a ledger can be made to go together.
type inTurn struct{ ledgertest.Ledger }

// TestTogetherAsInTurn: calls that go to the server together get the same answers and leave
// the same records as one after the other.
func TestTogetherAsInTurn(t *testing.T) {
	var servers [2]*miniredis.Miniredis
	var ledgers [2]*ledger.Ledger
	for i := range servers {
		m := miniredis.NewMiniRedis()
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		l, err := ledger.Open(t.Context(), ledger.Config{URL: "redis://" + m.Addr()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		servers[i], ledgers[i] = m, l
	}
	began := time.UnixMilli(time.Now().UnixMilli())
	ledgertest.Twins(t, 40, func(*testing.T) ledgertest.Pair {
		clock := began
		set := func() {
			for _, m := range servers {
				m.SetTime(clock)
			}
		}
		for _, m := range servers {
			m.FlushAll()
		}
		set()
		return ledgertest.Pair{One: inTurn{ledgers[0]}, Two: ledgers[1], Tick: func(d time.Duration) { clock = clock.Add(d); set() }, Done: func() {}}
	})
}

// BenchmarkAttempt is the worker's part of one node: claim and complete.
func BenchmarkAttempt(b *testing.B) {
	for name, start := range servers() {
		b.Run(name, func(b *testing.B) {
			l := start(b).open(b)
			round := ledgertest.Attempts(b, l)
			b.ResetTimer()
			for b.Loop() {
				round()
			}
		})
	}
}

// BenchmarkDuplicate measures a claim that is refused and journalled.
func BenchmarkDuplicate(b *testing.B) {
	for name, start := range servers() {
		b.Run(name, func(b *testing.B) {
			round := ledgertest.Duplicates(b, start(b).open(b))
			b.ResetTimer()
			for b.Loop() {
				round()
			}
		})
	}
}
