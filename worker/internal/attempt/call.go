package attempt

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/shared/failpoint"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/worker/node"
)

// answer is what came of calling a handler. Nothing in it runs code of the
// handler's author any more.
type answer struct {
	outputs map[string]json.RawMessage
	stop    bool
	text    string // of a failure; the reason of a stop

	class      task.Class // of a failure, else ""
	retryAfter time.Duration
	stack      string // of a panic

	ended error // why the context had ended when the handler returned; nil if it had not
}

// call runs the handler and sends exactly one answer.
func call(ctx context.Context, h node.Handler, in *node.Input, done chan<- answer) {
	var a answer
	finished := false
	over := func() {
		if a.ended == nil && ctx.Err() != nil {
			a.ended = context.Cause(ctx)
		}
	}
	defer func() {
		if finished {
			done <- a
			return
		}
		if p := recover(); p != nil {
			a = answer{class: task.Panic, text: clip(fmt.Sprintf("handler panicked: %v", p)), stack: string(debug.Stack()), ended: a.ended}
		} else {
			a = answer{class: task.Panic, text: "handler ended its goroutine with runtime.Goexit instead of returning", ended: a.ended}
		}
		over()
		done <- a
	}()
	failpoint.Before("handler")
	res, err := h.Run(ctx, in)
	failpoint.After("handler")
	over()
	judge(&a, res, err)
	finished = true
}

// judge reads what a handler returned.
func judge(a *answer, res node.Result, err error) {
	if err != nil {
		a.class, a.text, a.retryAfter = task.Retryable, clip(err.Error()), node.AskedRetryAfter(err)
		if node.IsPermanent(err) {
			a.class = task.Permanent
		}
		return
	}
	outputs, err := encode(res.Outputs)
	if err != nil {
		a.class, a.text = task.Permanent, clip(err.Error())
		return
	}
	a.outputs, a.stop = outputs, res.Stop
	if !res.Stop {
		return
	}
	if a.text = clip(res.Reason); a.text == "" {
		a.text = "stopped by its handler"
	}
}

// clip makes a text short and valid enough to be stored.
func clip(s string) string {
	if len(s) > task.MaxErrorBytes {
		s = s[:task.MaxErrorBytes-len("…")]
		return strings.ToValidUTF8(s, "") + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
