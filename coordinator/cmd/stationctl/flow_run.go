package main

import (
	"context"
	"fmt"

	"github.com/tradingflow/weather-station/coordinator/api"
)

type flowRunCmd struct {
	oneFlow
	Wait bool   `short:"w" help:"Follow the cycle until it ends; the exit code tells how."`
	Key  string `placeholder:"KEY" help:"Idempotency key: the same key gives the same cycle again."`
}

func (flowRunCmd) Help() string {
	return "Examples:\n\n    stationctl flow run btc-momentum\n    stationctl flow run btc-momentum --wait\n" +
		"    stationctl flow run btc-momentum --key rebalance-2026-01-02"
}

func (c *flowRunCmd) Run(ctx context.Context, a *app) error {
	started, err := a.client.StartCycle(ctx, c.Flow, c.Key)
	if err != nil {
		return err
	}
	if c.Wait {
		return a.followAndPrint(ctx, started.FlowID, started.Cycle)
	}
	return a.print(started, func() {
		if api.CycleEnded(started.Status) {
			fmt.Fprintf(a.out, "cycle %d of %s has ended before: %s\n", started.Cycle, clean(started.FlowID), a.paint(started.Status))
			return
		}
		fmt.Fprintf(a.out, "cycle %d of %s runs\n", started.Cycle, clean(started.FlowID))
	})
}
