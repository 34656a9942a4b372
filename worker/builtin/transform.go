package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/worker/node"
)

// defaultOutput is the handle of a transform that names none.
const defaultOutput = "result"

// transform emits one handle per expression. Parameters: either expressions
// {handle: expression, …}, or expression and output (default "result"); and
// params, constants that the expressions see as params.
type transform struct{ programs *expr.Cache }

type transformParameters struct {
	common
	Expressions map[string]string          `json:"expressions"`
	Expression  string                     `json:"expression"`
	Output      string                     `json:"output"`
	Params      map[string]json.RawMessage `json:"params"`
}

func (t *transform) Run(ctx context.Context, in *node.Input) (node.Result, error) {
	var p transformParameters
	if err := bind(in, &p); err != nil {
		return node.Result{}, err
	}
	switch {
	case (p.Expression == "") == (len(p.Expressions) == 0):
		return node.Result{}, node.Permanent(errors.New(`transform: set either "expressions" {handle: expression} or "expression"`))
	case p.Output != "" && p.Expression == "":
		return node.Result{}, node.Permanent(errors.New(`transform: "output" names the handle of "expression"; with "expressions" the keys do`))
	}
	if p.Expression != "" {
		if p.Output == "" {
			p.Output = defaultOutput
		}
		p.Expressions = map[string]string{p.Output: p.Expression}
	}
	vars, err := nodeVars(in, p.Params)
	if err != nil {
		return node.Result{}, fmt.Errorf("transform: %w", err)
	}
	out := make(map[string]any, len(p.Expressions))
	var faults []error
	for _, handle := range slices.Sorted(maps.Keys(p.Expressions)) {
		v, err := evaluate(ctx, t.programs, p.Expressions[handle], vars)
		if err != nil {
			faults = append(faults, fmt.Errorf("transform: output %q: %w", handle, err))
			continue
		}
		out[handle] = v
	}
	if err := ctx.Err(); err != nil {
		return node.Result{}, fmt.Errorf("transform: %w", err)
	}
	if len(faults) > 0 {
		return node.Result{}, node.Permanent(errors.Join(faults...))
	}
	return node.Outputs(out), nil
}

// nodeVars decodes what a node's expressions see. An error is permanent.
func nodeVars(in *node.Input, params map[string]json.RawMessage) (expr.Vars, error) {
	inputs, err := expr.DecodeMap(in.Values)
	if err != nil {
		return nil, permanentf("input %w", err)
	}
	constants, err := expr.DecodeMap(params)
	if err != nil {
		return nil, permanentf("params %w", err)
	}
	return expr.NodeVars(inputs, constants, in.Cycle, in.Slot, in.IntentID.String(), string(in.Flow), string(in.Node)), nil
}

// evaluate compiles and evaluates. Errors are permanent but for the context's.
func evaluate(ctx context.Context, programs *expr.Cache, src string, vars expr.Vars) (json.RawMessage, error) {
	p, err := programs.Compile(src, expr.Node)
	if err != nil {
		return nil, node.Permanent(err)
	}
	raw, err := p.JSON(ctx, vars)
	if ee := new(expr.EvalError); errors.As(err, &ee) {
		return nil, node.Permanent(err)
	}
	return raw, err
}
