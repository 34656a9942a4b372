package attempt

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// maxHandle bounds the name of a handle, in bytes, as flow documents do.
const maxHandle = 128

// encode turns outputs into JSON. It stops at the first that is too much.
func encode(outputs map[string]any) (map[string]json.RawMessage, error) {
	out := make(map[string]json.RawMessage, len(outputs))
	if len(outputs) == 0 { // as most have: to sort nothing takes three allocations
		return out, nil
	}
	total := 0
	for _, handle := range slices.Sorted(maps.Keys(outputs)) {
		if !allowed(handle) {
			return nil, fmt.Errorf("output handle %.40q is not allowed: 1 to %d bytes of UTF-8 without control characters", handle, maxHandle)
		}
		raw, err := json.Marshal(outputs[handle])
		if err != nil {
			return nil, fmt.Errorf("output %q does not encode as JSON: %w", handle, err)
		}
		if total += len(handle) + len(raw); total > task.MaxOutputBytes {
			return nil, fmt.Errorf("outputs are too large: with %q, which has %d bytes, they have %d; at most %d are allowed per node",
				handle, len(raw), total, task.MaxOutputBytes)
		}
		out[handle] = raw
	}
	return out, nil
}

func allowed(handle string) bool {
	return handle != "" && len(handle) <= maxHandle && utf8.ValidString(handle) && !strings.ContainsFunc(handle, unicode.IsControl)
}

func size(outputs map[string]json.RawMessage) int {
	total := 0
	for h, v := range outputs {
		total += len(h) + len(v)
	}
	return total
}

// forward adds what edges ask for beyond the emitted handles. The default handle
// carries all that the handler emitted, as one object; another handle that is
// named like an input, or else like a parameter, carries that as it came.
func forward(n *plan.Node, values, outputs map[string]json.RawMessage) {
	var missing []string
	whole := false
	for i := range n.Successors {
		for _, e := range n.Successors[i].Edges {
			if _, there := outputs[e.SourceHandle]; there {
				continue
			}
			if e.SourceHandle == plan.DefaultHandle {
				whole = true
			} else {
				missing = append(missing, e.SourceHandle)
			}
		}
	}
	if whole {
		outputs[plan.DefaultHandle], _ = json.Marshal(outputs) // values are JSON already
	}
	var parameters map[string]json.RawMessage
	for _, handle := range missing {
		if v, ok := values[handle]; ok {
			outputs[handle] = v
			continue
		}
		if parameters == nil && len(n.Parameters) > 0 {
			parameters = map[string]json.RawMessage{}
			_ = json.Unmarshal(n.Parameters, &parameters) // what is no object has no names
		}
		if v, ok := parameters[handle]; ok {
			outputs[handle] = v
		}
	}
}

// decide gives each out-edge's result: dead when its handle was not emitted or
// its condition is false. A condition that has no value fails the node.
func decide(ctx context.Context, programs *expr.Cache, n *plan.Node, outputs map[string]json.RawMessage) (ledger.Decided, error) {
	edges := 0
	for i := range n.Successors {
		edges += len(n.Successors[i].Edges)
	}
	results := make([]ledger.Result, 0, edges)
	for i := range n.Successors {
		s := &n.Successors[i]
		for _, e := range s.Edges {
			value, emitted := outputs[e.SourceHandle]
			result := ledger.Dead
			switch {
			case !emitted:
			case e.When == "":
				result = ledger.Live
			default:
				// Deciding is cheap and bounded; it must not fail for a context that ended
				// after the handler was done.
				holds, err := test(context.WithoutCancel(ctx), programs, e.When, value, outputs)
				if err != nil {
					return nil, fmt.Errorf("edge to %s: when: %w", s.Target, err)
				}
				if holds {
					result = ledger.Live
				}
			}
			results = append(results, result)
		}
	}
	return func(i int) ledger.Result { return results[i] }, nil
}

func test(ctx context.Context, programs *expr.Cache, when string, value json.RawMessage, outputs map[string]json.RawMessage) (bool, error) {
	p, err := programs.Compile(when, expr.When)
	if err != nil {
		return false, err
	}
	vars, err := p.WhenVars(value, outputs)
	if err != nil {
		return false, err
	}
	return p.Bool(ctx, vars)
}
