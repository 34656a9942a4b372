package sim_test

import (
	"flag"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tradingflow/weather-station/coordinator/internal/sim"
)

var (
	count = flag.Uint64("sim.n", 2000, "schedules to run")
	first = flag.Uint64("sim.seed", 1, "seed of the first")
)

func TestSchedules(t *testing.T) {
	var next atomic.Uint64
	next.Store(*first)
	var wg sync.WaitGroup
	var bad atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for bad.Load() < 30 {
				seed := next.Add(1) - 1
				if seed >= *first+*count {
					return
				}
				o := sim.Run(seed, nil)
				if len(o.Violations) > 0 {
					bad.Add(1)
					t.Errorf("seed %d: %+v", seed, o.Violations[0])
				}
			}
		})
	}
	wg.Wait()
}
