package rig

import (
	"strings"
	"testing"
)

func TestWhatIsHeldOnTopOfABaselineIsFound(t *testing.T) {
	base := Holdings{"leader": {Goroutines: 1000, Descriptors: 200, Redis: 20, Heap: 100 << 20}, "standby": {Goroutines: 50, Descriptors: 20, Redis: 15, Heap: 4 << 20}, "worker": {Goroutines: 90, Descriptors: 30, Redis: 10, Heap: 2 << 20}}
	for _, c := range []struct {
		name string
		now  Holdings
		want string // "" = nothing is found
	}{
		{"the same", base, ""},
		{"five percent", Holdings{"leader": {Goroutines: 1050, Descriptors: 210, Redis: 20, Heap: 105 << 20}}, ""},
		{"goroutines", Holdings{"leader": {Goroutines: 1051, Descriptors: 200, Redis: 20, Heap: 1}}, "leader: 1051 goroutines, 1000 at the baseline"},
		{"descriptors", Holdings{"worker": {Goroutines: 90, Descriptors: 39, Redis: 10, Heap: 1}}, "worker: 39 file descriptors, 30 at the baseline"},
		{"a full pool", Holdings{"worker": {Goroutines: 90, Descriptors: 30, Redis: 72, Heap: 6 << 20}}, ""},
		{"more than a pool", Holdings{"worker": {Goroutines: 90, Descriptors: 30, Redis: 90, Heap: 1}}, "worker: 90 connections to Redis, 10 at the baseline"},
		{"heap", Holdings{"worker": {Goroutines: 90, Descriptors: 30, Redis: 10, Heap: 6 << 20}}, "worker: 6291456 bytes of heap, 2097152 at the baseline"},
		{"a standby that has led", Holdings{"standby": {Goroutines: 1, Heap: 100 << 20}}, ""},
		{"more than a leader", Holdings{"standby": {Goroutines: 1, Heap: 120 << 20}}, "standby: 125829120 bytes of heap, 104857600 at the baseline"},
		{"a role without a baseline", Holdings{"witness": {Goroutines: 5000}}, ""},
	} {
		if got := strings.Join(c.now.Over(base), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
