package builtin

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/worker/node"
)

// The longest text of one input that a log line carries, in bytes.
const maxLoggedInput = 1 << 10

// runLog writes its inputs to the worker's log. It emits nothing of its own, as
// runDelay.
// Parameters: message; level trace, debug, info (default), warn or error.
func runLog(_ context.Context, in *node.Input) (node.Result, error) {
	var p struct {
		common
		Message string `json:"message"`
		Level   string `json:"level"`
	}
	if err := bind(in, &p); err != nil {
		return node.Result{}, err
	}
	level := hclog.Info
	if p.Level != "" {
		level = hclog.LevelFromString(p.Level)
	}
	if level == hclog.NoLevel || level == hclog.Off {
		return node.Result{}, permanentf("log: level %q is none of trace, debug, info, warn, error", p.Level)
	}
	inputs := make(map[string]string, len(in.Values))
	for handle, raw := range in.Values {
		text := string(raw)
		if len(text) > maxLoggedInput {
			text = text[:maxLoggedInput] + "…"
		}
		inputs[handle] = text
	}
	if in.Log != nil {
		in.Log.Log(level, "log node", "message", p.Message, "inputs", inputs)
	}
	return node.Result{}, nil
}
