// Command spread is a worker with a node type of its own: spread reads bid and
// ask and emits their difference, in the price's unit and in basis points.
package main

import (
	"context"
	"fmt"

	"github.com/tradingflow/weather-station/worker"
	"github.com/tradingflow/weather-station/worker/node"
)

func main() {
	worker.Main(func(reg *node.Registry) { reg.Handle("spread", node.HandlerFunc(spread)) })
}

func spread(_ context.Context, in *node.Input) (node.Result, error) {
	var bid, ask float64
	if err := in.Need("bid", &bid); err != nil {
		return node.Result{}, node.Permanent(err)
	}
	if err := in.Need("ask", &ask); err != nil {
		return node.Result{}, node.Permanent(err)
	}
	if bid <= 0 || ask < bid {
		return node.Result{}, node.Permanent(fmt.Errorf("bid %v and ask %v make no market", bid, ask))
	}
	return node.Outputs(map[string]any{"spread": ask - bid, "bps": (ask - bid) / bid * 10_000}), nil
}
