package process_test

import (
	"runtime"
	"testing"

	"github.com/tradingflow/weather-station/shared/process"
)

// TestFloorHeap: the next collection comes late.
func TestFloorHeap(t *testing.T) {
	defer process.FloorHeap()()
	runtime.GC()
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.NextGC < 64<<20 {
		t.Errorf("the next collection comes at %d MiB", m.NextGC>>20)
	}
}
