// Command coordinator runs a coordinator.
package main

import "github.com/tradingflow/weather-station/coordinator"

func main() { coordinator.Main() }
