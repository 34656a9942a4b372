// Command worker runs a worker with the built-in node types.
package main

import (
	"time"

	"github.com/tradingflow/weather-station/shared/process"
	"github.com/tradingflow/weather-station/worker"
)

// slack is a part of the millisecond that nodes are timed by; half of it would be a hundredth of a
// node that takes 50 ms.
const slack = 200 * time.Microsecond

func main() {
	process.Slacken(slack)
	worker.Main(nil)
}
