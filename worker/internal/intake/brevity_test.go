package intake

import (
	"testing"
	"time"
)

// TestBrevity: a type is brief when it ran, and took no longer than that of late.
func TestBrevity(t *testing.T) {
	b := brevity{most: time.Millisecond}
	if b.is("n") {
		t.Error("a type that never ran is brief")
	}
	b.note("n", b.most)
	if !b.is("n") || b.is("m") {
		t.Errorf("after one of %s: n %t, m %t", b.most, b.is("n"), b.is("m"))
	}
	b.note("n", 8*time.Second)
	if took := b.took("n"); took < time.Second || took > 2*time.Second {
		t.Errorf("after one of 8 s: %s on the average", took)
	}
	brisk := 0
	for ; !b.is("n") && brisk < 1000; brisk++ {
		b.note("n", 0)
	}
	if brisk < 20 || brisk > 200 {
		t.Errorf("brief again after %d nodes that were", brisk)
	}
	none := brevity{}
	none.note("n", 0)
	if none.is("n") {
		t.Error("something is brief where nothing is to be")
	}
}
