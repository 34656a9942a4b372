package main

import (
	"context"

	"github.com/tradingflow/weather-station/coordinator/bench/floor"
)

// floorCmd is one of the two processes of a benchmark's floor. "bench" starts
// them; nobody else has use for it.
type floorCmd struct {
	Role string `arg:"" enum:"driver,worker" help:"driver or worker."`
}

func (c *floorCmd) Run(ctx context.Context, a *app) error {
	return floor.Serve(ctx, c.Role, a.in, a.out)
}
