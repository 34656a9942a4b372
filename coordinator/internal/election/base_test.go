package election

import (
	"testing"

	"github.com/tradingflow/weather-station/shared/ids"
)

// TestSurpass: only an epoch that no leader of this etcd can have had raises the
// base, once, and the next leadership is above it.
func TestSurpass(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	a := start(t, c, p, "a")
	h := a.elected()
	ctx := background(t)
	if raised, err := a.Surpass(ctx, h.Epoch); err != nil || raised {
		t.Errorf("an epoch of this etcd: raised %v, %v", raised, err)
	}
	now, err := c.Get(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	foreign := ids.Epoch(now.Header.Revision) + 1_000_000
	for i, want := range []bool{true, false} {
		if raised, err := a.Surpass(ctx, foreign); err != nil || raised != want {
			t.Errorf("try %d: raised %v, %v", i, raised, err)
		}
	}
	if raised, err := a.Surpass(ctx, foreign-1); err != nil || raised {
		t.Errorf("a lower one: raised %v, %v", raised, err)
	}
	if err := a.Resign(ctx); err != nil {
		t.Fatal(err)
	}
	if next := a.elected(); next.Epoch <= foreign {
		t.Errorf("the next epoch is %d, not above %d", next.Epoch, foreign)
	}
}
