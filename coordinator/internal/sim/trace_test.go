package sim_test

import (
	"flag"
	"testing"

	"github.com/tradingflow/weather-station/coordinator/internal/sim"
)

var seedFlag = flag.Uint64("sim.trace", 0, "trace this schedule")

func TestTrace(t *testing.T) {
	if *seedFlag == 0 {
		t.Skip("no -sim.trace")
	}
	o := sim.Run(*seedFlag, func(line string) { t.Log(line) })
	t.Log(o)
}
