// Command record-worker is a worker that carries record nodes beside the built-in
// types. STATION_RECORDER is the recorder's socket and STATION_RECORDER_WORKER
// the name that its lines carry.
package main

import (
	"os"

	"github.com/tradingflow/weather-station/deploy/dev/recorder"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/worker"
	"github.com/tradingflow/weather-station/worker/node"
)

func main() {
	worker.Main(func(reg *node.Registry) {
		reg.Handle(recorder.NodeType, &recorder.Handler{
			Client: recorder.NewClient(os.Getenv("STATION_RECORDER")), Worker: ids.WorkerID(os.Getenv("STATION_RECORDER_WORKER"))})
	})
}
