// Package attempt runs one attempt of a node: it makes the input, runs the
// handler under its timeout, and turns whatever the handler does into an
// outcome. A handler may panic, hang, return what is not JSON or too much of it:
// each becomes a clear failure and the worker lives.
package attempt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/worker/node"
)

// patience is how long a handler gets to return after its context ended. After
// that the attempt goes on without it.
const patience = 2 * time.Second

// Runner runs attempts.
type Runner struct {
	Log      hclog.Logger
	Programs *expr.Cache
	// Abandoned is called for each handler that did not return in time, and the
	// function it returns when that handler returned after all.
	Abandoned func() (returned func())
}

// Report is what an attempt came to.
type Report struct {
	task.Outcome
	Decided ledger.Decided // of a success: the results of the out-edges
}

// Run runs an attempt. ctx ends when the claim is lost, the cycle is cancelled
// or the worker stops; its cause is then what the failure says.
func (r *Runner) Run(ctx context.Context, c ledger.Claim, h node.Handler) Report {
	n := &c.Node
	in := r.input(c)
	timed, cancel := context.WithTimeout(ctx, n.Timeout)
	defer cancel()
	type answer struct {
		result node.Result
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if p := recover(); p != nil {
				a.err = &panicError{value: p, stack: debug.Stack()}
			}
			done <- a
		}()
		a.result, a.err = h.Run(timed, in)
	}()
	var a answer
	select {
	case a = <-done:
	case <-timed.Done():
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case a = <-done:
			if a.err == nil && ctx.Err() != nil {
				a.err = context.Cause(ctx)
			}
		case <-t.C:
			a.err = context.Cause(timed)
			if r.Abandoned != nil {
				returned := r.Abandoned()
				go func() { <-done; returned() }()
			}
			r.Log.Error("handler did not return when its context ended; going on without it", "flow", c.Flow, "cycle", c.Cycle, "node", n.ID, "type", n.Type)
		}
	}
	if a.err != nil {
		return r.failure(ctx, timed, c, a.err)
	}
	return r.success(ctx, c, in, a.result)
}

func (r *Runner) input(c ledger.Claim) *node.Input {
	n := &c.Node
	i := -1
	return &node.Input{
		Flow: c.Flow, Cycle: c.Cycle, Node: n.ID, Attempt: c.N, Type: n.Type, Slot: c.Slot,
		IntentID: ids.IntentID(c.Occasion, n.ID), Parameters: n.Parameters,
		Values: plan.Gather(n, func(plan.Input) json.RawMessage { i++; return c.Values[i] }),
		Log:    r.Log.With("flow", c.Flow, "cycle", c.Cycle, "node", n.ID, "attempt", c.N),
	}
}

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.value) }

func (r *Runner) failure(ctx, timed context.Context, c ledger.Claim, err error) Report {
	out := task.Outcome{Status: task.Failed, Class: task.Retryable, Error: err.Error(), RetryAfter: node.AskedRetryAfter(err)}
	var p *panicError
	switch {
	case ctx.Err() != nil:
		out.Class, out.Error = task.Abandoned, fmt.Sprintf("ended early: %v", context.Cause(ctx))
	case errors.As(err, &p):
		out.Class = task.Panic
		r.Log.Error("handler panicked", "flow", c.Flow, "cycle", c.Cycle, "node", c.Node.ID, "type", c.Node.Type, "panic", fmt.Sprint(p.value), "stack", string(p.stack))
	case errors.Is(timed.Err(), context.DeadlineExceeded):
		out.Class, out.Error = task.Timeout, fmt.Sprintf("timed out after %s", c.Node.Timeout)
	case node.IsPermanent(err):
		out.Class = task.Permanent
	}
	return Report{Outcome: out}
}

func permanent(format string, args ...any) Report {
	return Report{Outcome: task.Outcome{Status: task.Failed, Class: task.Permanent, Error: fmt.Sprintf(format, args...)}}
}

func (r *Runner) success(ctx context.Context, c ledger.Claim, in *node.Input, res node.Result) Report {
	if res.Stop {
		outputs, fault := encode(res.Outputs)
		if fault != "" {
			return permanent("%s", fault)
		}
		reason := res.Reason
		if reason == "" {
			reason = "stopped by its handler"
		}
		return Report{Outcome: task.Outcome{Status: task.Stopped, Outputs: outputs, Error: reason}}
	}
	outputs, fault := encode(res.Outputs)
	if fault != "" {
		return permanent("%s", fault)
	}
	forward(&c.Node, in, outputs)
	if size := size(outputs); size > task.MaxOutputBytes {
		return permanent("outputs have %d bytes; at most %d are allowed per node", size, task.MaxOutputBytes)
	}
	decided, err := r.decide(ctx, &c.Node, outputs)
	if err != nil {
		return permanent("%v", err)
	}
	return Report{Outcome: task.Outcome{Status: task.Succeeded, Outputs: outputs}, Decided: decided}
}

// encode turns outputs into JSON; fault says what can't be.
func encode(outputs map[string]any) (out map[string]json.RawMessage, fault string) {
	out = make(map[string]json.RawMessage, len(outputs))
	for handle, v := range outputs {
		if handle == "" || len(handle) > 128 || bytes.ContainsAny([]byte(handle), "\n\r\x00") {
			return nil, fmt.Sprintf("output handle %.40q is not allowed: 1 to 128 bytes without line breaks", handle)
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Sprintf("output %q does not encode as JSON: %v", handle, err)
		}
		out[handle] = raw
	}
	return out, ""
}

func size(outputs map[string]json.RawMessage) int {
	total := 0
	for h, v := range outputs {
		total += len(h) + len(v)
	}
	return total
}

// forward adds what edges ask for beyond the emitted handles: an input or a
// parameter of that name is passed on as it came, and the default handle
// carries the whole result.
func forward(n *plan.Node, in *node.Input, outputs map[string]json.RawMessage) {
	var whole json.RawMessage
	var params map[string]json.RawMessage
	for i := range n.Successors {
		for _, e := range n.Successors[i].Edges {
			if _, there := outputs[e.SourceHandle]; there {
				continue
			}
			if v, ok := in.Values[e.SourceHandle]; ok {
				outputs[e.SourceHandle] = v
				continue
			}
			if params == nil {
				params = map[string]json.RawMessage{}
				if len(in.Parameters) > 0 && json.Unmarshal(in.Parameters, &params) != nil {
					params = map[string]json.RawMessage{}
				}
			}
			if v, ok := params[e.SourceHandle]; ok {
				outputs[e.SourceHandle] = v
				continue
			}
			if e.SourceHandle != plan.DefaultHandle {
				continue
			}
			if whole == nil {
				b, err := json.Marshal(outputs)
				if err != nil { // values are JSON already
					continue
				}
				whole = b
			}
			outputs[plan.DefaultHandle] = whole
		}
	}
}

// decide gives each out-edge's result: dead when its handle was not emitted or
// its condition is false. A condition that has no value fails the node.
func (r *Runner) decide(ctx context.Context, n *plan.Node, outputs map[string]json.RawMessage) (ledger.Decided, error) {
	var results []ledger.Result
	for i := range n.Successors {
		s := &n.Successors[i]
		for _, e := range s.Edges {
			value, emitted := outputs[e.SourceHandle]
			result := ledger.Live
			switch {
			case !emitted:
				result = ledger.Dead
			case e.When != "":
				p, err := r.Programs.Compile(e.When, expr.When)
				if err != nil {
					return nil, fmt.Errorf("edge to %s: when: %w", s.Target, err)
				}
				vars, err := p.WhenVars(value, outputs)
				if err != nil {
					return nil, fmt.Errorf("edge to %s: when: %w", s.Target, err)
				}
				ok, err := p.Bool(ctx, vars)
				if err != nil {
					return nil, fmt.Errorf("edge to %s: when: %w", s.Target, err)
				}
				if !ok {
					result = ledger.Dead
				}
			}
			results = append(results, result)
		}
	}
	return func(i int) ledger.Result { return results[i] }, nil
}
