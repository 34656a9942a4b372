package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/worker/node"
)

// Handles of a condition.
const (
	conditionInput = "condition_input"
	trueOutput     = "true_output"
	falseOutput    = "false_output"
	resultOutput   = "result"
)

var operators = []string{"<", "<=", ">", ">=", "==", "!="}

// condition tests its inputs and emits true_output or false_output, carrying
// what came in at condition_input (all inputs as an object if nothing did),
// and the boolean result. With on_false "stop" a false test ends the rest of
// the component.
//
// The test is either expression, or left, operator, right. The right side is
// the edge into "right", else that parameter. The left side is the edge into
// "left", else condition_input (its field named by the parameter left, if that
// is set), else the parameter left.
type condition struct{ programs *expr.Cache }

type conditionParameters struct {
	common
	Expression string                     `json:"expression"`
	Left       json.RawMessage            `json:"left"`
	Operator   string                     `json:"operator"`
	Right      json.RawMessage            `json:"right"`
	OnFalse    string                     `json:"on_false"`
	Params     map[string]json.RawMessage `json:"params"`
}

func (c *condition) Run(ctx context.Context, in *node.Input) (node.Result, error) {
	var p conditionParameters
	if err := bind(in, &p); err != nil {
		return node.Result{}, err
	}
	if err := p.check(); err != nil {
		return node.Result{}, node.Permanent(fmt.Errorf("condition: %w", err))
	}
	src := p.Expression
	vars, err := nodeVars(in, p.Params)
	if err == nil && src == "" {
		src = "inputs.left " + p.Operator + " inputs.right"
		vars["inputs"], err = p.operands(in)
	}
	if err != nil {
		return node.Result{}, fmt.Errorf("condition: %w", err)
	}
	holds, err := c.test(ctx, src, vars)
	if err != nil {
		return node.Result{}, fmt.Errorf("condition: %w", err)
	}
	if !holds && p.OnFalse == "stop" {
		return node.Stop("condition is false: " + p.describe()), nil
	}
	var forwarded any = in.Values
	if raw, ok := in.Values[conditionInput]; ok {
		forwarded = raw
	} else if in.Values == nil {
		forwarded = map[string]json.RawMessage{}
	}
	handle := falseOutput
	if holds {
		handle = trueOutput
	}
	return node.Outputs(map[string]any{handle: forwarded, resultOutput: holds}), nil
}

func (c *condition) test(ctx context.Context, src string, vars expr.Vars) (bool, error) {
	p, err := c.programs.Compile(src, expr.Node)
	if err != nil {
		return false, node.Permanent(err)
	}
	holds, err := p.Bool(ctx, vars)
	if ee := new(expr.EvalError); errors.As(err, &ee) {
		return false, node.Permanent(err)
	}
	return holds, err
}

func (p *conditionParameters) check() error {
	var faults []error
	compares := p.Operator != "" || p.Left != nil || p.Right != nil
	switch {
	case p.Expression != "" && compares:
		faults = append(faults, errors.New(`set either "expression" or "operator" with its sides, not both`))
	case p.Expression == "" && !slices.Contains(operators, p.Operator):
		faults = append(faults, fmt.Errorf(`set "expression", or "operator" to one of %s: operator is %q`, strings.Join(operators, " "), p.Operator))
	}
	if !slices.Contains([]string{"", "skip", "stop"}, p.OnFalse) {
		faults = append(faults, fmt.Errorf("on_false is %q; it must be skip or stop", p.OnFalse))
	}
	return errors.Join(faults...)
}

// operands decodes both sides of a comparison. Errors are permanent.
func (p *conditionParameters) operands(in *node.Input) (map[string]any, error) {
	left, err := p.left(in)
	if err != nil {
		return nil, err
	}
	right, ok := in.Values["right"]
	if !ok {
		right = p.Right
	}
	if right == nil {
		return nil, permanentf(`the right side is missing: set the parameter "right" or connect an edge to it`)
	}
	out, err := expr.DecodeMap(map[string]json.RawMessage{"left": left, "right": right})
	return out, node.Permanent(err)
}

func (p *conditionParameters) left(in *node.Input) (json.RawMessage, error) {
	if raw, ok := in.Values["left"]; ok {
		return raw, nil
	}
	raw, ok := in.Values[conditionInput]
	switch {
	case !ok && p.Left == nil:
		return nil, permanentf("the left side is missing: connect an edge to %q", conditionInput)
	case !ok:
		return p.Left, nil
	case p.Left == nil:
		return raw, nil
	}
	var name string
	var fields map[string]json.RawMessage
	if json.Unmarshal(p.Left, &name) != nil || json.Unmarshal(raw, &fields) != nil {
		return nil, permanentf(`"left" names a field of %q, so it must be a string and the input an object`, conditionInput)
	}
	field, ok := fields[name]
	if !ok {
		return nil, permanentf("%q has no field %q", conditionInput, name)
	}
	return field, nil
}

func (p *conditionParameters) describe() string {
	if p.Expression != "" {
		return p.Expression
	}
	left := conditionInput
	if p.Left != nil {
		left = string(p.Left)
	}
	right := `input "right"`
	if p.Right != nil {
		right = string(p.Right)
	}
	return left + " " + p.Operator + " " + right
}
