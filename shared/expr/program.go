package expr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// SyntaxError says what is wrong with an expression itself.
type SyntaxError struct {
	Source string
	Detail string // one line per fault, each with its column
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("expression %q: %s", clip(e.Source), e.Detail)
}

// EvalError says why a sound expression has no value over the variables it was
// given. Another evaluation over the same variables fails the same way.
type EvalError struct {
	Source string
	Err    error
}

func (e *EvalError) Error() string { return fmt.Sprintf("expression %q: %v", clip(e.Source), e.Err) }
func (e *EvalError) Unwrap() error { return e.Err }

// Program is a compiled expression. It is safe for concurrent use.
type Program struct {
	source  string
	kind    Kind
	program cel.Program
	uses    map[string]bool
}

// Compile parses and checks src. Errors about src are *SyntaxError.
func Compile(src string, kind Kind) (*Program, error) {
	e, err := environment(kind)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.TrimSpace(src) == "":
		return nil, &SyntaxError{src, "is empty"}
	case len(src) > MaxSource:
		return nil, &SyntaxError{src, fmt.Sprintf("has %d bytes; at most %d are allowed", len(src), MaxSource)}
	}
	ast, issues := e.Compile(src)
	if issues.Err() != nil {
		return nil, &SyntaxError{src, faults(issues)}
	}
	if t := ast.OutputType(); kind == When && !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, &SyntaxError{src, fmt.Sprintf("must yield a bool, yields %s", t)}
	}
	p, err := e.Program(ast, cel.CostLimit(costLimit), cel.CostTracking(sizes{}),
		cel.MemoryLimit(memoryLimit), cel.InterruptCheckFrequency(64))
	if err != nil {
		return nil, &SyntaxError{src, err.Error()}
	}
	out := &Program{source: src, kind: kind, program: p, uses: map[string]bool{}}
	for _, r := range ast.NativeRep().ReferenceMap() {
		if r.Name != "" {
			out.uses[strings.TrimPrefix(r.Name, ".")] = true
		}
	}
	return out, nil
}

// CheckWhen reports what is wrong with the when expression of an edge.
func CheckWhen(src string) error {
	_, err := Compile(src, When)
	return err
}

// Uses reports whether the expression mentions the variable.
func (p *Program) Uses(variable string) bool { return p.uses[variable] }

// Source returns the text the program was compiled from.
func (p *Program) Source() string { return p.source }

// Vars are the variables of one evaluation: values as Decode makes them, and a
// time.Time for slot.
type Vars map[string]any

// WhenVars decodes what a when expression sees; only what p mentions is
// decoded.
func (p *Program) WhenVars(value json.RawMessage, outputs map[string]json.RawMessage) (Vars, error) {
	vars := Vars{}
	if p.uses["value"] {
		v, err := Decode(value)
		if err != nil {
			return nil, fmt.Errorf("value: %w", err)
		}
		vars["value"] = v
	}
	if p.uses["outputs"] {
		m, err := DecodeMap(outputs)
		if err != nil {
			return nil, fmt.Errorf("outputs: %w", err)
		}
		vars["outputs"] = m
	}
	return vars, nil
}

// Bool evaluates an expression that must yield a bool. Errors are *EvalError,
// or the context's.
func (p *Program) Bool(ctx context.Context, vars Vars) (bool, error) {
	v, err := p.eval(ctx, vars)
	if err != nil {
		return false, err
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, &EvalError{p.source, fmt.Errorf("must yield a bool, yields %s", describe(v))}
	}
	return bool(b), nil
}

// JSON evaluates the expression. Equal variables give equal bytes. Errors are
// *EvalError, or the context's.
func (p *Program) JSON(ctx context.Context, vars Vars) (json.RawMessage, error) {
	v, err := p.eval(ctx, vars)
	if err != nil {
		return nil, err
	}
	raw, err := encode(v)
	if err != nil {
		return nil, &EvalError{p.source, err}
	}
	return raw, nil
}

func (p *Program) eval(ctx context.Context, vars Vars) (ref.Val, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("expression %q: %w", clip(p.source), err)
	}
	v, _, err := p.program.ContextEval(ctx, map[string]any(vars))
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("expression %q: %w", clip(p.source), ctx.Err())
	case err != nil:
		return nil, &EvalError{p.source, err}
	case types.IsUnknownOrError(v):
		return nil, &EvalError{p.source, errors.New(v.Type().TypeName())}
	}
	return v, nil
}

// NodeVars are the variables of a node expression.
func NodeVars(inputs, params map[string]any, cycle int64, slot time.Time, intentID, flow, node string) Vars {
	return Vars{"inputs": inputs, "params": params, "cycle": cycle, "slot": slot,
		"intent_id": intentID, "flow": flow, "node": node}
}

func faults(issues *cel.Issues) string {
	var out []string
	for _, e := range issues.Errors() {
		out = append(out, fmt.Sprintf("at %d:%d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
	}
	return strings.Join(out, "; ")
}

// sizes charges the functions of this package by the items they visit; nil
// leaves a call to CEL's own model.
type sizes struct{}

func (sizes) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	switch function {
	case "sum", "mean", "min", "max", "last", "column", "sma":
		cost := uint64(1)
		if s, ok := args[0].(traits.Sizer); ok {
			if n, ok := s.Size().(types.Int); ok {
				cost += uint64(n)
			}
		}
		return &cost
	}
	return nil
}
