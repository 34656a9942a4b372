// Package attempt runs one attempt of a node: it makes the input, runs the
// handler under its timeout, and turns whatever the handler does into an
// outcome.
//
// # What a handler may do to the worker
//
// Nothing. All code of the handler's author runs in a goroutine of its own: the
// handler, the methods of the error it returns, and those that encode its
// outputs. There a panic becomes a failure, and so does the end of the goroutine
// by runtime.Goexit. Whoever hangs beyond the end of the context is given a
// little time and is then left behind; such goroutines are counted, because
// nothing can end them.
//
// # When the context ended first
//
// A failure that comes after the end of the context is put down to that end. A
// result is a result even then: what the handler finished is finished, and the
// ledger decides by the token whether it counts. Only the node's own timeout is
// strict: a result after it is not used.
package attempt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/worker/node"
)

// Patience is how long a handler gets to return after its context ended. After
// that the attempt goes on without it.
const Patience = 2 * time.Second

// errTimedOut is the cause with which the node's timeout ends the context.
var errTimedOut = errors.New("node timed out")

// Runner runs attempts.
type Runner struct {
	Log      hclog.Logger
	Programs *expr.Cache
	// Go runs a handler in a goroutine that may not come back; nil = in a new one.
	Go func(func())
	// Abandoned is called for each handler that did not return in time, and the
	// function it returns when that handler returned after all.
	Abandoned func() (returned func())
}

// Report is what an attempt came to.
type Report struct {
	task.Outcome
	Decided ledger.Decided // of a success: the results of the out-edges
	Started bool           // the handler was called
	Cause   error          // of class Abandoned: why the context ended
}

// Run runs an attempt. ctx ends when the claim is lost, the cycle is cancelled
// or the worker stops; its cause is then what the failure says.
func (r *Runner) Run(ctx context.Context, c ledger.Claim, h node.Handler) Report {
	if ctx.Err() != nil {
		return Unstarted(context.Cause(ctx))
	}
	n := &c.Node
	in := r.input(c)
	values := maps.Clone(in.Values) // the handler may change its own
	timed, cancel := bounded(ctx, n.Timeout)
	defer cancel()
	done := make(chan answer, 1)
	r.apart(func() { call(timed, h, in, done) })
	var a answer
	select {
	case a = <-done:
	case <-timed.Done():
		t := time.NewTimer(Patience)
		defer t.Stop()
		select {
		case a = <-done:
		case <-t.C:
			a = answer{class: task.Retryable, ended: context.Cause(timed)}
			r.leave(c, done)
		}
	}
	if a.stack != "" {
		r.Log.Error("handler panicked", "flow", c.Flow, "cycle", c.Cycle, "node", n.ID, "type", n.Type, "panic", a.text, "stack", a.stack)
	}
	switch {
	case errors.Is(a.ended, errTimedOut):
		text := fmt.Sprintf("timed out after %s", n.Timeout)
		if a.class == "" {
			text += "; the handler's result came later and is not used"
		}
		return failure(task.Timeout, text)
	case a.class == "":
		return r.success(ctx, c, values, a)
	case a.ended != nil:
		return abandoned(a.ended, true)
	}
	f := failure(a.class, a.text)
	f.RetryAfter = a.retryAfter
	return f
}

func (r *Runner) apart(f func()) {
	if r.Go == nil {
		go f()
		return
	}
	r.Go(f)
}

// bounded ends after d; a node without a timeout has no bound.
func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, errTimedOut)
}

// leave goes on without the handler.
func (r *Runner) leave(c ledger.Claim, done <-chan answer) {
	r.Log.Error("handler did not return when its context ended; going on without it",
		"flow", c.Flow, "cycle", c.Cycle, "node", c.Node.ID, "type", c.Node.Type)
	if r.Abandoned == nil {
		return
	}
	returned := r.Abandoned()
	go func() { <-done; returned() }() // ends with the handler
}

func (r *Runner) input(c ledger.Claim) *node.Input {
	n := &c.Node
	i := -1
	return &node.Input{
		Flow: c.Flow, Cycle: c.Cycle, Node: n.ID, Attempt: c.N, Type: n.Type, Slot: c.Slot,
		IntentID: ids.IntentID(c.Occasion, n.ID), Parameters: n.Parameters,
		Values: plan.Gather(n, func(plan.Input) json.RawMessage { i++; return c.Values[i] }),
		Log:    &logger{Logger: r.Log, of: c.Attempt},
	}
}

func (r *Runner) success(ctx context.Context, c ledger.Claim, values map[string]json.RawMessage, a answer) Report {
	if a.stop {
		return Report{Started: true, Outcome: task.Outcome{Status: task.Stopped, Outputs: a.outputs, Error: a.text}}
	}
	emitted := size(a.outputs)
	forward(&c.Node, values, a.outputs)
	if total := size(a.outputs); total > task.MaxOutputBytes {
		return failure(task.Permanent, fmt.Sprintf("outputs have %d bytes, %d of them copies that edges ask for; at most %d are allowed per node",
			total, total-emitted, task.MaxOutputBytes))
	}
	decided, err := decide(ctx, r.Programs, &c.Node, a.outputs)
	if err != nil {
		return failure(task.Permanent, err.Error())
	}
	return Report{Started: true, Outcome: task.Outcome{Status: task.Succeeded, Outputs: a.outputs}, Decided: decided}
}

// Unstarted is the report of an attempt that was ended before it began.
func Unstarted(cause error) Report { return abandoned(cause, false) }

func failure(class task.Class, text string) Report {
	return Report{Started: true, Outcome: task.Outcome{Status: task.Failed, Class: class, Error: clip(text)}}
}

func abandoned(cause error, started bool) Report {
	f := failure(task.Abandoned, fmt.Sprintf("ended early: %v", cause))
	f.Started, f.Cause = started, cause
	return f
}
