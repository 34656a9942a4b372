// Package node is all that a node author imports: a Handler turns an Input
// into a Result. It links nothing but the standard library, hclog and the ids.
//
//	reg := node.NewRegistry()
//	reg.Handle("spread", node.HandlerFunc(func(ctx context.Context, in *node.Input) (node.Result, error) {
//		var bid, ask float64
//		if err := in.Need("bid", &bid); err != nil {
//			return node.Result{}, node.Permanent(err)
//		}
//		…
//		return node.Outputs(map[string]any{"spread": ask - bid}), nil
//	}))
package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Handler runs one attempt of a node. It must return soon after ctx ends: ctx
// ends at the node's timeout, when the cycle is cancelled, when the worker stops,
// and when it can no longer prove that the attempt is still its own. A handler
// that did not finish its work then must return an error, such as ctx.Err(): a
// result without one says that the work is done. The error decides about a
// retry: see Permanent and RetryAfter; any other error is retried by the node's
// policy.
type Handler interface {
	Run(ctx context.Context, in *Input) (Result, error)
}

// HandlerFunc is a function used as a Handler.
type HandlerFunc func(ctx context.Context, in *Input) (Result, error)

// Run calls f.
func (f HandlerFunc) Run(ctx context.Context, in *Input) (Result, error) { return f(ctx, in) }

// Input is what one attempt works on.
type Input struct {
	Flow     ids.FlowID
	Cycle    int64 // 1, 2, … per flow
	Node     ids.NodeID
	Attempt  int // 1, 2, …
	Type     string
	Slot     time.Time // the instant the cycle was due; the start time for manual cycles
	IntentID uuid.UUID // the same for every attempt of this node in this cycle

	// Parameters are the node's parameters as the document has them: a JSON
	// object, or nothing.
	Parameters json.RawMessage
	// Values are the values that edges brought, by target handle. Several
	// edges into one handle make one JSON list in the document's order.
	Values map[string]json.RawMessage

	Log hclog.Logger
}

// Bind decodes the parameters into v, strictly: an unknown parameter is an
// error that names it.
func (in *Input) Bind(v any) error {
	if len(in.Parameters) == 0 {
		return nil
	}
	b := binders.Get().(*binder)
	if err := b.decode(in.Parameters, v); err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	if len(in.Parameters) <= maxBound && b.InputOffset() == b.given {
		binders.Put(b)
	}
	return nil
}

// binder decodes the parameters of one node after the other, with one buffer. It is not
// used again after an error, nor when it has not read all it was given.
type binder struct {
	*json.Decoder
	from  bytes.Reader
	given int64 // bytes, so far
}

// maxBound is how long parameters may be for their buffer to be kept.
const maxBound = 4 << 10

var binders = sync.Pool{New: func() any {
	b := &binder{}
	b.Decoder = json.NewDecoder(&b.from)
	b.DisallowUnknownFields()
	return b
}}

func (b *binder) decode(parameters json.RawMessage, v any) error {
	b.from.Reset(parameters)
	b.given += int64(len(parameters))
	return b.Decode(v)
}

// Value decodes the value of an input handle into v and reports whether there
// is one: the value an edge brought, else the parameter of that name.
func (in *Input) Value(handle string, v any) (bool, error) {
	raw, ok := in.Values[handle]
	if !ok {
		var p map[string]json.RawMessage
		if len(in.Parameters) > 0 && json.Unmarshal(in.Parameters, &p) == nil {
			raw, ok = p[handle]
		}
	}
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return true, fmt.Errorf("input %q: %w", handle, err)
	}
	return true, nil
}

// Need is Value for an input that must be there.
func (in *Input) Need(handle string, v any) error {
	ok, err := in.Value(handle, v)
	if err == nil && !ok {
		return fmt.Errorf("input %q is missing: connect an edge to it or set the parameter", handle)
	}
	return err
}

// Result is what an attempt that did not fail ends with.
type Result struct {
	// Outputs are the emitted handles and their values, which must encode as
	// JSON. An edge whose source handle is not here is dead.
	Outputs map[string]any
	// Stop ends the rest of the node's component without failing it.
	Stop bool
	// Reason says why, for people.
	Reason string
}

// Outputs is the Result that emits these handles.
func Outputs(m map[string]any) Result { return Result{Outputs: m} }

// Stop is the Result that ends the node's component.
func Stop(reason string) Result { return Result{Stop: true, Reason: reason} }

type permanentError struct{ err error }

func (e permanentError) Error() string { return e.err.Error() }
func (e permanentError) Unwrap() error { return e.err }

// Permanent marks err as one that a retry cannot cure.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent reports whether err was marked by Permanent.
func IsPermanent(err error) bool { return errors.As(err, new(permanentError)) }

type retryAfterError struct {
	err   error
	after time.Duration
}

func (e retryAfterError) Error() string { return e.err.Error() }
func (e retryAfterError) Unwrap() error { return e.err }

// RetryAfter asks that the retry of err, if the policy grants one, waits at
// least d.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return retryAfterError{err, d}
}

// AskedRetryAfter returns the wait that RetryAfter put on err, or 0.
func AskedRetryAfter(err error) time.Duration {
	var r retryAfterError
	if errors.As(err, &r) {
		return r.after
	}
	return 0
}

// Registry maps node types to handlers. Fill it before the worker runs; it is
// not changed after that.
type Registry struct{ handlers map[string]Handler }

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{handlers: map[string]Handler{}} }

// Handle registers h for a node type. It panics on an empty type, a nil
// handler and a type registered before: all three are mistakes of the program.
func (r *Registry) Handle(nodeType string, h Handler) {
	f, isFunc := h.(HandlerFunc)
	switch {
	case nodeType == "" || h == nil || isFunc && f == nil:
		panic("node: Handle needs a type and a handler")
	case r.handlers[nodeType] != nil:
		panic("node: type " + nodeType + " is registered twice")
	}
	r.handlers[nodeType] = h
}

// Lookup returns the handler of a type, or nil.
func (r *Registry) Lookup(nodeType string) Handler { return r.handlers[nodeType] }

// Types returns the registered types, sorted.
func (r *Registry) Types() []string {
	out := make([]string, 0, len(r.handlers))
	for t := range r.handlers {
		out = append(out, t)
	}
	sort.Strings(out)
	return out
}
