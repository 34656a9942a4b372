package builtin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/worker/node"
)

// runFail fails on purpose, for drills and tests. Parameters: message;
// permanent (no retry cures it); times (only the first N attempts fail, then
// it succeeds; 0 = all fail); panic; hang (wait that long first).
func runFail(ctx context.Context, in *node.Input) (node.Result, error) {
	p := struct {
		common
		Message   string `json:"message"`
		Permanent bool   `json:"permanent"`
		Times     int    `json:"times"`
		Panic     bool   `json:"panic"`
		Hang      span   `json:"hang"`
	}{Message: "failed on purpose"}
	if err := bind(in, &p); err != nil {
		return node.Result{}, err
	}
	if p.Times < 0 {
		return node.Result{}, permanentf("fail: times is %d; it must be 0 or more", p.Times)
	}
	if p.Times > 0 && in.Attempt > p.Times {
		return node.Result{}, nil
	}
	if err := wait(ctx, time.Duration(p.Hang)); err != nil {
		return node.Result{}, fmt.Errorf("fail: %w", err)
	}
	err := errors.New(p.Message)
	switch {
	case p.Panic:
		panic(err)
	case p.Permanent:
		return node.Result{}, node.Permanent(err)
	}
	return node.Result{}, err
}
