package fleet_test

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/fleet"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// TestRoom: who drains has no slots, and reads what it gets all the same.
func TestRoom(t *testing.T) {
	l := &yard{workers: []ledger.Worker{
		{ID: "a", Pool: "x", Concurrency: 50, Pack: 16}, {ID: "b", Pool: "x", Concurrency: 8, Pack: 16},
		{ID: "c", Pool: "x", Concurrency: 4, Pack: 3, Draining: true}, {ID: "d", Pool: "y", Concurrency: 2},
	}}
	f := fleet.New(l, func(ids.FlowID) bool { return false }, func() {}, hclog.NewNullLogger())
	if err := f.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for pool, want := range map[string][3]int{"x": {58, 2, 3}, "y": {2, 1, 1}, "none": {}} {
		slots, workers, pack := f.Room(pool)
		if got := [3]int{slots, workers, pack}; got != want {
			t.Errorf("pool %s has slots, workers and pack %v, want %v", pool, got, want)
		}
	}
}
