package intake

import (
	"testing"
	"time"
)

// TestBrevity: a type is brief when it ran, and took no longer than that of late.
func TestBrevity(t *testing.T) {
	var b brevity
	if b.is("n") {
		t.Error("a type that never ran is brief")
	}
	b.note("n", brief)
	if !b.is("n") || b.is("m") {
		t.Errorf("after one of %s: n %t, m %t", brief, b.is("n"), b.is("m"))
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
}
