package builtin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/worker/node"
)

// runDelay waits for the parameter duration. It emits nothing of its own: an edge
// that names one of its inputs is given that input, as with every type. Emitting
// all of them would make the whole result of a chain grow with every join.
func runDelay(ctx context.Context, in *node.Input) (node.Result, error) {
	var p struct {
		common
		Duration *span `json:"duration"`
	}
	if err := bind(in, &p); err != nil {
		return node.Result{}, err
	}
	if p.Duration == nil {
		return node.Result{}, node.Permanent(errors.New(`delay: the parameter "duration" is missing; set it to, say, "1.5s"`))
	}
	if err := wait(ctx, time.Duration(*p.Duration)); err != nil {
		return node.Result{}, fmt.Errorf("delay: %w", err)
	}
	return node.Result{}, nil
}

// wait returns after d, or with the context's error.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 { // a timer would cost a switch to another goroutine
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
