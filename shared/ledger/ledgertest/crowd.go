package ledgertest

import (
	"context"
	"encoding/json"

	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/shared/ledger"
)

// crowd is a ledger whose calls can be made to go to the server together. In others they
// are made in their order.
type crowd interface{ Together(calls ...func()) }

func together(l Ledger, calls []func()) {
	if c, ok := l.(crowd); ok {
		c.Together(calls...)
		return
	}
	for _, call := range calls {
		call()
	}
}

// claimed is the answer to a claim.
type claimed struct {
	Claim   ledger.Claim
	Refusal ledger.Refusal
	Err     error
}

func claimAll(ctx context.Context, l Ledger, asked []ledger.ClaimRequest) []claimed {
	if t, ok := l.(*twin); ok {
		one, two := claimAll(ctx, t.Ledger, asked), claimAll(ctx, t.two, asked)
		for i := range one {
			t.same("claim of several", []any{one[i].Claim, one[i].Refusal, one[i].Err}, []any{two[i].Claim, two[i].Refusal, two[i].Err})
		}
		return one
	}
	out, calls := make([]claimed, len(asked)), make([]func(), len(asked))
	for i, q := range asked {
		calls[i] = func() { out[i].Claim, out[i].Refusal, out[i].Err = l.Claim(ctx, q) }
	}
	together(l, calls)
	return out
}

// completion is a call of CompleteNext.
type completion struct {
	ledger.Completion
	next ledger.Next
}

// completed is the answer to it.
type completed struct {
	Next []ledger.Claim
	Err  error
}

func completeAll(ctx context.Context, l Ledger, done []completion) []completed {
	if t, ok := l.(*twin); ok {
		one, two := completeAll(ctx, t.Ledger, done), completeAll(ctx, t.two, done)
		for i := range one {
			t.same("complete of several", []any{one[i].Next, one[i].Err}, []any{two[i].Next, two[i].Err})
		}
		return one
	}
	out, calls := make([]completed, len(done)), make([]func(), len(done))
	for i, c := range done {
		calls[i] = func() { out[i].Next, out[i].Err = l.CompleteNext(ctx, c.Completion, c.next) }
	}
	together(l, calls)
	return out
}

// claimTogether lets several workers ask at the same time, some for the same.
func (w *world) claimTogether() {
	asked := make([]ledger.ClaimRequest, rapid.IntRange(2, 8).Draw(w.r, "claims"))
	for i := range asked {
		asked[i] = request(w.anyAttempt())
		if i > 0 && rapid.IntRange(0, 7).Draw(w.r, "twice") == 0 {
			asked[i] = asked[i-1]
		}
		asked[i].Redelivered = rapid.Bool().Draw(w.r, "redelivered")
	}
	w.asked = append(w.asked, asked...)
	for _, c := range claimAll(w.ctx, w.Ledger, asked) {
		w.ok(c.Err)
		if c.Refusal == ledger.Granted {
			w.held = append(w.held, c.Claim)
		}
	}
}

// completeTogether reports what several claims came to at the same time, however old they are.
func (w *world) completeTogether() {
	if len(w.held) == 0 {
		return
	}
	done := make([]completion, rapid.IntRange(2, 8).Draw(w.r, "completions"))
	for i := range done {
		from := max(0, len(w.held)-len(done)) // the newest most of the time
		if rapid.IntRange(0, 3).Draw(w.r, "old") == 0 {
			from = 0
		}
		done[i] = completion{w.success(rapid.SampledFrom(w.held[from:]).Draw(w.r, "claim")), w.next()}
		if rapid.IntRange(0, 3).Draw(w.r, "outputs") == 0 {
			done[i].Outputs = map[string]json.RawMessage{"x": json.RawMessage("[1]"), "y": json.RawMessage(`"b"`)}
		}
	}
	for _, c := range completeAll(w.ctx, w.Ledger, done) {
		w.may(c.Err)
		w.hold(c.Next...)
	}
}
