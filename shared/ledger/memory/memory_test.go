package memory_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/ledger/ledgertest"
	"github.com/tradingflow/weather-station/shared/ledger/memory"
)

func TestConformance(t *testing.T) {
	ledgertest.Run(t, func(*testing.T) ledgertest.Ledger { return memory.New(nil) })
}

func TestRandom(t *testing.T) {
	ledgertest.Random(t, 60, func(*testing.T) (ledgertest.Ledger, func()) { return memory.New(nil), func() {} })
}

// TestTwins: the scripts and this ledger do the same.
func TestTwins(t *testing.T) {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	began := time.UnixMilli(time.Now().UnixMilli())
	scripts, err := ledger.Open(t.Context(), ledger.Config{URL: "redis://" + m.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := scripts.Close(); err != nil {
			t.Error(err)
		}
	})
	ledgertest.Twins(t, 40, func(*testing.T) ledgertest.Pair {
		clock := began
		m.FlushAll()
		m.SetTime(clock)
		return ledgertest.Pair{One: scripts, Two: memory.New(func() time.Time { return clock }),
			Tick: func(d time.Duration) { clock = clock.Add(d); m.SetTime(clock) }, Done: func() {}}
	})
}
