package fleet_test

import (
	"testing"
	"testing/synctest"
	"time"

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

// TestRoomIsLookedForSoon: workers that have come are known soon to who asks for them, not only at the next
// look that is due; and nobody who asks in vain has them looked for at each question.
func TestRoomIsLookedForSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{}
		f := run(t, y, never, func() {})
		y.set(func() { y.workers = []ledger.Worker{{ID: "a", Pool: "x", Concurrency: 50}} })
		if slots, _, _ := f.Room("x"); slots != 0 {
			t.Fatalf("%d slots are known before anybody looked", slots)
		}
		<-time.After(100 * time.Millisecond)
		if slots, _, _ := f.Room("x"); slots != 50 {
			t.Errorf("%d slots are known after 0.1 s, want 50", slots)
		}
		y.set(func() { y.looks = 0 })
		for range 10_000 { // 10 s
			f.Room("none")
			<-time.After(time.Millisecond)
		}
		y.set(func() {
			if y.looks < 10 || y.looks > 60 {
				t.Errorf("%d looks in 10 s, want one a second and a few between", y.looks)
			}
			y.looks = 0
		})
		<-time.After(10 * time.Second)
		y.set(func() {
			if y.looks > 12 {
				t.Errorf("%d looks in 10 s in which nobody asked", y.looks)
			}
		})
	})
}
