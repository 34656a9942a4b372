package attempt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
	"github.com/tradingflow/weather-station/worker/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func runner() *attempt.Runner {
	return &attempt.Runner{Log: hclog.NewNullLogger(), Programs: expr.NewCache(0)}
}

func claim(n plan.Node, values ...json.RawMessage) ledger.Claim {
	if n.ID == "" {
		n.ID = "n"
	}
	return ledger.Claim{Attempt: ids.Attempt{Flow: "f", Cycle: 1, Node: n.ID, N: 1}, Token: uuid.New(), Occasion: uuid.New(), Node: n, Values: values}
}

// to is a successor with edges of these handles; "handle if condition" has one.
func to(target ids.NodeID, edges ...string) plan.Successor {
	s := plan.Successor{Target: target, InDegree: len(edges), Plain: true}
	for _, e := range edges {
		handle, when, _ := strings.Cut(e, " if ")
		s.Edges = append(s.Edges, plan.Edge{SourceHandle: handle, When: when})
	}
	return s
}

func returns(res node.Result, err error) node.HandlerFunc {
	return func(context.Context, *node.Input) (node.Result, error) { return res, err }
}

func out(m map[string]any) node.HandlerFunc { return returns(node.Outputs(m), nil) }

type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

type rude struct{}

func (rude) MarshalJSON() ([]byte, error) { panic("no JSON today") }

// TestMisbehaviour: whatever a handler does, the attempt fails with a clear error
// and its caller lives.
func TestMisbehaviour(t *testing.T) {
	long := strings.Repeat("x", task.MaxOutputBytes)
	var typedNil *nilError
	for name, c := range map[string]struct {
		handler node.HandlerFunc
		class   task.Class
		text    string
	}{
		"error":           {returns(node.Result{}, errors.New("boom")), task.Retryable, "boom"},
		"permanent":       {returns(node.Result{}, fmt.Errorf("no: %w", node.Permanent(io.EOF))), task.Permanent, "no: EOF"},
		"huge error":      {returns(node.Result{}, errors.New(strings.Repeat("ü", 1<<20))), task.Retryable, "…"},
		"bad UTF-8":       {returns(node.Result{}, errors.New("a\xffb")), task.Retryable, "a?b"},
		"typed nil error": {returns(node.Result{}, typedNil), task.Panic, "handler panicked: runtime error"},
		"panic":           {func(context.Context, *node.Input) (node.Result, error) { panic("oh") }, task.Panic, "handler panicked: oh"},
		"panic nil":       {func(context.Context, *node.Input) (node.Result, error) { panic(nil) }, task.Panic, "nil"},
		"index": {func(_ context.Context, in *node.Input) (node.Result, error) {
			return node.Result{}, []error{}[in.Attempt]
		},
			task.Panic, "index out of range"},
		"nil map": {func(context.Context, *node.Input) (node.Result, error) {
			var m map[string]any
			put(m)
			return node.Outputs(m), nil
		}, task.Panic, "nil map"},
		"goexit":          {func(context.Context, *node.Input) (node.Result, error) { runtime.Goexit(); return node.Result{}, nil }, task.Panic, "runtime.Goexit"},
		"nil handler":     {nil, task.Panic, "nil pointer"},
		"NaN":             {out(map[string]any{"a": math.NaN()}), task.Permanent, `output "a" does not encode as JSON`},
		"channel":         {out(map[string]any{"a": make(chan int)}), task.Permanent, `output "a" does not encode as JSON`},
		"bad raw JSON":    {out(map[string]any{"a": json.RawMessage(`{"b":`)}), task.Permanent, `output "a" does not encode as JSON`},
		"empty raw JSON":  {out(map[string]any{"a": json.RawMessage{}}), task.Permanent, `output "a" does not encode as JSON`},
		"rude marshaler":  {out(map[string]any{"a": rude{}}), task.Panic, "no JSON today"},
		"too large":       {out(map[string]any{"a": long}), task.Permanent, "at most 262144 are allowed"},
		"stop, too large": {returns(node.Result{Stop: true, Outputs: map[string]any{"a": long}}, nil), task.Permanent, "at most 262144 are allowed"},
		"no handle":       {out(map[string]any{"": 1}), task.Permanent, `output handle "" is not allowed`},
		"long handle":     {out(map[string]any{strings.Repeat("h", 129): 1}), task.Permanent, "is not allowed"},
		"line break":      {out(map[string]any{"a\nb": 1}), task.Permanent, `output handle "a\nb" is not allowed`},
		"handle no UTF-8": {out(map[string]any{"a\xff": 1}), task.Permanent, "is not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runner().Run(t.Context(), claim(plan.Node{Timeout: time.Minute}), c.handler)
			if r.Status != task.Failed || r.Class != c.class || !strings.Contains(r.Error, c.text) {
				t.Errorf("got %s %s %.200q, want a failure of class %s with %q", r.Status, r.Class, r.Error, c.class, c.text)
			}
			if len(r.Error) > task.MaxErrorBytes {
				t.Errorf("the error has %d bytes", len(r.Error))
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	r := runner().Run(t.Context(), claim(plan.Node{Timeout: time.Minute}), returns(node.Result{}, node.RetryAfter(io.EOF, time.Hour)))
	if r.Class != task.Retryable || r.RetryAfter != time.Hour {
		t.Errorf("got %s %s", r.Class, r.RetryAfter)
	}
}

func TestStop(t *testing.T) {
	for reason, want := range map[string]string{"enough": "enough", "": "stopped by its handler", strings.Repeat("x", 1<<20): "…"} {
		r := runner().Run(t.Context(), claim(plan.Node{Timeout: time.Minute, Successors: []plan.Successor{to("b", "default")}}),
			returns(node.Result{Stop: true, Reason: reason, Outputs: map[string]any{"seen": 0}}, nil))
		if r.Status != task.Stopped || !strings.HasSuffix(r.Error, want) || len(r.Error) > task.MaxErrorBytes {
			t.Errorf("got %s %.100q of %d bytes, want stopped with %q", r.Status, r.Error, len(r.Error), want)
		}
		if diff := cmp.Diff(map[string]json.RawMessage{"seen": json.RawMessage("0")}, r.Outputs); diff != "" {
			t.Error(diff)
		}
	}
}

// TestOutputs: what edges get besides what the handler emitted.
func TestOutputs(t *testing.T) {
	raw := func(m map[string]string) map[string]json.RawMessage {
		out := map[string]json.RawMessage{}
		for k, v := range m {
			out[k] = json.RawMessage(v)
		}
		return out
	}
	inputs := []plan.Input{{Source: "x", SourceHandle: "p", TargetHandle: "price"}, {Source: "y", SourceHandle: "default", TargetHandle: "default"}}
	values := []json.RawMessage{json.RawMessage("0"), json.RawMessage(`"before"`)}
	for name, c := range map[string]struct {
		emitted map[string]any
		edges   []string
		want    map[string]string
		decided string // L and D per edge
	}{
		"falsy values are values": {map[string]any{"a": 0, "b": "", "c": false, "d": nil}, []string{"a", "b", "c", "d", "e"},
			map[string]string{"a": "0", "b": `""`, "c": "false", "d": "null"}, "LLLLD"},
		"nothing emitted, nobody asks":      {nil, nil, map[string]string{}, ""},
		"default of nothing is empty":       {nil, []string{"default"}, map[string]string{"default": "{}"}, "L"},
		"default is the whole result":       {map[string]any{"a": 1, "b": 2}, []string{"default"}, map[string]string{"a": "1", "b": "2", "default": `{"a":1,"b":2}`}, "L"},
		"default without what is forwarded": {map[string]any{"a": 1}, []string{"price", "default", "limit"}, map[string]string{"a": "1", "price": "0", "limit": "5", "default": `{"a":1}`}, "LLL"},
		"default emitted":                   {map[string]any{"default": 7, "a": 1}, []string{"default"}, map[string]string{"default": "7", "a": "1"}, "L"},
		"input before parameter":            {nil, []string{"price"}, map[string]string{"price": "0"}, "L"},
		"emitted before input":              {map[string]any{"price": 9}, []string{"price"}, map[string]string{"price": "9"}, "L"},
		"parameter":                         {nil, []string{"limit", "none"}, map[string]string{"limit": "5", "none": "null"}, "LL"},
		"conditions": {map[string]any{"a": 3}, []string{"a if value > 2", "a if value > 5", "gone if value > 2", "a if outputs.a == 3"},
			map[string]string{"a": "3"}, "LDDL"},
	} {
		t.Run(name, func(t *testing.T) {
			n := plan.Node{Timeout: time.Minute, Inputs: inputs, Parameters: json.RawMessage(`{"price":1,"limit":5,"none":null,"default":3}`)}
			for _, e := range c.edges {
				n.Successors = append(n.Successors, to("t", e))
			}
			r := runner().Run(t.Context(), claim(n, values...), out(c.emitted))
			if r.Status != task.Succeeded {
				t.Fatalf("got %s: %s", r.Status, r.Error)
			}
			if diff := cmp.Diff(raw(c.want), r.Outputs); diff != "" {
				t.Errorf("outputs (-want +got):\n%s", diff)
			}
			got := ""
			for i := range c.edges {
				got += map[ledger.Result]string{ledger.Live: "L", ledger.Dead: "D"}[r.Decided(i)]
			}
			if got != c.decided {
				t.Errorf("edges %v are %s, want %s", c.edges, got, c.decided)
			}
		})
	}
}

func TestConditionWithoutValue(t *testing.T) {
	n := plan.Node{Timeout: time.Minute, Successors: []plan.Successor{to("b", `a if value.x > 1`)}}
	r := runner().Run(t.Context(), claim(n), out(map[string]any{"a": 1}))
	if r.Class != task.Permanent || !strings.Contains(r.Error, "edge to b: when") {
		t.Errorf("got %s %q", r.Class, r.Error)
	}
}

// TestCopiesCount: a result within the limit whose copies are not names the copies.
func TestCopiesCount(t *testing.T) {
	n := plan.Node{Timeout: time.Minute, Successors: []plan.Successor{to("b", "default")}}
	r := runner().Run(t.Context(), claim(n), out(map[string]any{"a": strings.Repeat("x", task.MaxOutputBytes*2/3)}))
	if r.Class != task.Permanent || !strings.Contains(r.Error, "copies that edges ask for") {
		t.Errorf("got %s %q", r.Class, r.Error)
	}
}

// TestInputIsItsOwn: a handler that changes its input changes no output.
func TestInputIsItsOwn(t *testing.T) {
	n := plan.Node{Timeout: time.Minute, Inputs: []plan.Input{{Source: "x", SourceHandle: "p", TargetHandle: "price"}},
		Successors: []plan.Successor{to("b", "price")}}
	r := runner().Run(t.Context(), claim(n, json.RawMessage("1")), node.HandlerFunc(func(_ context.Context, in *node.Input) (node.Result, error) {
		delete(in.Values, "price")
		return node.Result{}, nil
	}))
	if string(r.Outputs["price"]) != "1" {
		t.Errorf("got %s", r.Outputs)
	}
}

// put writes into a map that its caller may have left nil.
func put(m map[string]any) { m["a"] = 1 }
