package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// port is the ledger as one actor reaches it. Every call gives the turn away
// first, so that anything may happen between two of them, a crash included, and
// may meet what happens to calls: it never arrives, it takes effect and its answer
// is lost, or the client makes it twice.
type port struct {
	w *world
	a *actor
}

var errLost = fmt.Errorf("simulated: %w", ledger.ErrUnavailable)

// call makes one call of a verb that writes.
func call[T any](p port, verb string, cycle int64, do func() (T, error)) (T, error) {
	var zero T
	p.a.step()
	w := p.w
	w.verbs[verb]++
	if !w.healing && w.rng.IntN(30) == 0 { // what was read grows stale
		p.a.sleep(&w.scheduler, w.upTo(200*time.Millisecond))
	}
	if w.now.Before(p.a.proc.cut) {
		return zero, errLost
	}
	switch {
	case w.fault(faultRequestLost):
		w.trace(p.a, "%s: request lost", verb)
		return zero, errLost
	case w.fault(faultCallTwice):
		w.trace(p.a, "%s: made twice", verb)
		first, err := do()
		w.wrote(p.a, verb, cycle, err)
		if ledger.Fenced(err) {
			return first, err
		}
		p.a.step()
	}
	out, err := do()
	w.trace(p.a, "%s %d: %v %v", verb, cycle, short(out), err)
	w.wrote(p.a, verb, cycle, err)
	if w.fault(faultAnswerLost) {
		w.trace(p.a, "%s: answer lost", verb)
		return zero, errLost
	}
	return out, err
}

// ask makes one call that only reads.
func ask[T any](p port, do func() (T, error)) (T, error) {
	var zero T
	p.a.step()
	if p.w.now.Before(p.a.proc.cut) || p.w.fault(faultRequestLost) {
		return zero, errLost
	}
	return do()
}

type none struct{}

func tell(p port, verb string, cycle int64, do func() error) error {
	_, err := call(p, verb, cycle, func() (none, error) { return none{}, do() })
	return err
}

func (p port) Takeover(ctx context.Context, epoch ids.Epoch) (time.Time, error) {
	return call(p, "takeover", 0, func() (time.Time, error) { return p.w.ledger.Takeover(ctx, epoch) })
}

func (p port) CheckEpoch(ctx context.Context, epoch ids.Epoch, n int) error {
	return tell(p, "check_epoch", 0, func() error { return p.w.ledger.CheckEpoch(ctx, epoch, n) })
}

func (p port) StartCycle(ctx context.Context, epoch ids.Epoch, s ledger.Start) (ledger.Started, error) {
	return call(p, "start_cycle", 0, func() (ledger.Started, error) { return p.w.ledger.StartCycle(ctx, epoch, s) })
}

func (p port) SkipSlots(ctx context.Context, epoch ids.Epoch, f ids.FlowID, uid uuid.UUID, known, first, last time.Time, count int64, reason string) error {
	return tell(p, "skip_slots", 0, func() error { return p.w.ledger.SkipSlots(ctx, epoch, f, uid, known, first, last, count, reason) })
}

func (p port) CancelCycle(ctx context.Context, epoch ids.Epoch, f ids.FlowID, n int64, id uuid.UUID, cause string) (string, error) {
	return call(p, "cancel_cycle", n, func() (string, error) { return p.w.ledger.CancelCycle(ctx, epoch, f, n, id, cause) })
}

func (p port) PauseFlow(ctx context.Context, f ids.FlowID) (bool, error) {
	return call(p, "pause_flow", 0, func() (bool, error) { return p.w.ledger.PauseFlow(ctx, f) })
}

func (p port) ResumeFlow(ctx context.Context, f ids.FlowID) (bool, error) {
	return call(p, "resume_flow", 0, func() (bool, error) { return p.w.ledger.ResumeFlow(ctx, f) })
}

func (p port) Outbox(ctx context.Context, after string, count int64) ([]ledger.Entry, error) {
	return ask(p, func() ([]ledger.Entry, error) { return p.w.ledger.Outbox(ctx, after, count) })
}

// WaitOutbox is never called: the reader is driven by Scan and Tail.
func (p port) WaitOutbox(context.Context, string, int64, time.Duration) ([]ledger.Entry, error) {
	return nil, errors.New("simulated: not driven by waiting")
}

func (p port) Dispatched(ctx context.Context, epoch ids.Epoch, done []ledger.Entry) error {
	return tell(p, "dispatched", done[0].Cycle, func() error { return p.w.ledger.Dispatched(ctx, epoch, done) })
}

func (p port) Drop(ctx context.Context, epoch ids.Epoch, entryIDs ...string) error {
	return tell(p, "drop_entries", 0, func() error { return p.w.ledger.Drop(ctx, epoch, entryIDs...) })
}

func (p port) Hold(ctx context.Context, epoch ids.Epoch, e ledger.Entry, waitsFor, blocker string) error {
	return tell(p, "hold", e.Cycle, func() error { return p.w.ledger.Hold(ctx, epoch, e, waitsFor, blocker) })
}

func (p port) Holds(ctx context.Context) ([]string, error) {
	return ask(p, func() ([]string, error) { return p.w.ledger.Holds(ctx) })
}

func (p port) ReleaseHeld(ctx context.Context, epoch ids.Epoch, waitsFor, entryID string) (int64, error) {
	return call(p, "release_held", 0, func() (int64, error) { return p.w.ledger.ReleaseHeld(ctx, epoch, waitsFor, entryID) })
}

func (p port) ReleaseFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, entryID string) (int64, error) {
	return call(p, "release_held", 0, func() (int64, error) { return p.w.ledger.ReleaseFlow(ctx, epoch, f, entryID) })
}

func (p port) Decide(ctx context.Context, epoch ids.Epoch, e ledger.Entry, n *plan.Node, v ledger.Verdict) error {
	return tell(p, "decide", e.Cycle, func() error { return p.w.ledger.Decide(ctx, epoch, e, n, v) })
}

func (p port) SpreadFrom(ctx context.Context, e ledger.Entry) (int, bool, error) {
	type from struct {
		n    int
		open bool
	}
	f, err := ask(p, func() (from, error) { n, open, err := p.w.ledger.SpreadFrom(ctx, e); return from{n, open}, err })
	return f.n, f.open, err
}

func (p port) SpreadEdges(ctx context.Context, epoch ids.Epoch, e ledger.Entry, n *plan.Node, from int, d ledger.Decided) (int, error) {
	return call(p, "spread", e.Cycle, func() (int, error) { return p.w.ledger.SpreadEdges(ctx, epoch, e, n, from, d) })
}

func (p port) SpreadEntries(ctx context.Context, epoch ids.Epoch, e ledger.Entry, all []*plan.Node, from int) (int, error) {
	return call(p, "spread", e.Cycle, func() (int, error) { return p.w.ledger.SpreadEntries(ctx, epoch, e, all, from) })
}

func (p port) Sweep(ctx context.Context, epoch ids.Epoch, e ledger.Entry, status, reason string, nodes []ids.NodeID) error {
	return tell(p, "sweep", e.Cycle, func() error { return p.w.ledger.Sweep(ctx, epoch, e, status, reason, nodes) })
}

func (p port) Expire(ctx context.Context, epoch ids.Epoch, x ledger.Expiry) (bool, error) {
	return call(p, "expire", x.Cycle, func() (bool, error) { return p.w.ledger.Expire(ctx, epoch, x) })
}

func (p port) Retry(ctx context.Context, epoch ids.Epoch, a ids.Attempt) error {
	return tell(p, "retry", a.Cycle, func() error { return p.w.ledger.Retry(ctx, epoch, a) })
}

func (p port) OfferAgain(ctx context.Context, epoch ids.Epoch, a ids.Attempt, why string) (bool, error) {
	return call(p, "offer_again", a.Cycle, func() (bool, error) { return p.w.ledger.OfferAgain(ctx, epoch, a, why) })
}

func (p port) Told(ctx context.Context, epoch ids.Epoch, ended ...ledger.Entry) error {
	return tell(p, "told", ended[0].Cycle, func() error { return p.w.ledger.Told(ctx, epoch, ended...) })
}
