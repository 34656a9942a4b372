// Command worker runs a worker with the built-in node types.
package main

import "github.com/tradingflow/weather-station/worker"

func main() { worker.Main(nil) }
