package ledgertest

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

func (t *twin) Claim(ctx context.Context, q ledger.ClaimRequest) (ledger.Claim, ledger.Refusal, error) {
	c, refusal, err := t.Ledger.Claim(ctx, q)
	c2, refusal2, err2 := t.two.Claim(ctx, q)
	t.same("claim", []any{c, refusal, err}, []any{c2, refusal2, err2})
	return c, refusal, err
}

func (t *twin) Heartbeat(ctx context.Context, w ids.WorkerID, lease time.Duration, claims []ledger.HeldClaim) ([]ledger.Beat, error) {
	beats, err := t.Ledger.Heartbeat(ctx, w, lease, claims)
	beats2, err2 := t.two.Heartbeat(ctx, w, lease, claims)
	t.same("heartbeat", []any{beats, err}, []any{beats2, err2})
	return beats, err
}

func (t *twin) Decline(ctx context.Context, a ids.Attempt, w ids.WorkerID, delay time.Duration) error {
	err := t.Ledger.Decline(ctx, a, w, delay)
	t.same("decline", []any{err}, []any{t.two.Decline(ctx, a, w, delay)})
	return err
}

func (t *twin) Complete(ctx context.Context, c ledger.Completion) error {
	err := t.Ledger.Complete(ctx, c)
	t.same("complete", []any{err}, []any{t.two.Complete(ctx, c)})
	return err
}

func (t *twin) CompleteNext(ctx context.Context, c ledger.Completion, q ledger.Next) ([]ledger.Claim, error) {
	next, err := t.Ledger.CompleteNext(ctx, c, q)
	next2, err2 := t.two.CompleteNext(ctx, c, q)
	t.same("complete with the next", []any{next, err}, []any{next2, err2})
	return next, err
}

func (t *twin) Fail(ctx context.Context, f ledger.Failure) (ledger.Failed, error) {
	out, err := t.Ledger.Fail(ctx, f)
	out2, err2 := t.two.Fail(ctx, f)
	t.same("fail", []any{out, err}, []any{out2, err2})
	return out, err
}

func (t *twin) Release(ctx context.Context, a ids.Attempt, token uuid.UUID, started bool) error {
	err := t.Ledger.Release(ctx, a, token, started)
	t.same("release", []any{err}, []any{t.two.Release(ctx, a, token, started)})
	return err
}

func (t *twin) EndUnknown(ctx context.Context, d ledger.Doubt) error {
	err := t.Ledger.EndUnknown(ctx, d)
	t.same("end unknown", []any{err}, []any{t.two.EndUnknown(ctx, d)})
	return err
}

func (t *twin) Dispatched(ctx context.Context, epoch ids.Epoch, done []ledger.Entry) error {
	yours := make([]ledger.Entry, len(done))
	for i, e := range done {
		yours[i] = t.theirs(ctx, e)
	}
	err := t.Ledger.Dispatched(ctx, epoch, done)
	t.same("dispatched", []any{err}, []any{t.two.Dispatched(ctx, epoch, yours)})
	return err
}

func (t *twin) Drop(ctx context.Context, epoch ids.Epoch, entryIDs ...string) error {
	yours := make([]string, len(entryIDs))
	for i, id := range entryIDs {
		yours[i] = t.entry(ctx, id)
	}
	err := t.Ledger.Drop(ctx, epoch, entryIDs...)
	t.same("drop", []any{err}, []any{t.two.Drop(ctx, epoch, yours...)})
	return err
}

func (t *twin) Told(ctx context.Context, epoch ids.Epoch, ended ...ledger.Entry) error {
	yours := slices.Clone(ended)
	for i, e := range ended {
		yours[i].ID = t.entry(ctx, e.ID)
	}
	err := t.Ledger.Told(ctx, epoch, ended...)
	t.same("told", []any{err}, []any{t.two.Told(ctx, epoch, yours...)})
	return err
}

func (t *twin) Decide(ctx context.Context, epoch ids.Epoch, e ledger.Entry, n *plan.Node, v ledger.Verdict) error {
	yours := t.theirs(ctx, e)
	err := t.Ledger.Decide(ctx, epoch, e, n, v)
	t.same("decide", []any{err}, []any{t.two.Decide(ctx, epoch, yours, n, v)})
	return err
}

func (t *twin) Sweep(ctx context.Context, epoch ids.Epoch, e ledger.Entry, status, reason string, nodes []ids.NodeID) error {
	yours := t.theirs(ctx, e)
	err := t.Ledger.Sweep(ctx, epoch, e, status, reason, nodes)
	t.same("sweep", []any{err}, []any{t.two.Sweep(ctx, epoch, yours, status, reason, nodes)})
	return err
}

func (t *twin) Hold(ctx context.Context, epoch ids.Epoch, e ledger.Entry, waitsFor, blocker string) error {
	yours := t.theirs(ctx, e)
	err := t.Ledger.Hold(ctx, epoch, e, waitsFor, blocker)
	t.same("hold", []any{err}, []any{t.two.Hold(ctx, epoch, yours, waitsFor, blocker)})
	return err
}

func (t *twin) ReleaseHeld(ctx context.Context, epoch ids.Epoch, waitsFor, entryID string) (int64, error) {
	yours := t.entry(ctx, entryID)
	n, err := t.Ledger.ReleaseHeld(ctx, epoch, waitsFor, entryID)
	n2, err2 := t.two.ReleaseHeld(ctx, epoch, waitsFor, yours)
	t.same("release held", []any{n, err}, []any{n2, err2})
	return n, err
}

func (t *twin) ReleaseFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, entryID string) (int64, error) {
	return t.ReleaseHeld(ctx, epoch, "flow:"+string(f), entryID)
}

func (t *twin) Expire(ctx context.Context, epoch ids.Epoch, x ledger.Expiry) (bool, error) {
	ok, err := t.Ledger.Expire(ctx, epoch, x)
	ok2, err2 := t.two.Expire(ctx, epoch, x)
	t.same("expire", []any{ok, err}, []any{ok2, err2})
	return ok, err
}

func (t *twin) Retry(ctx context.Context, epoch ids.Epoch, a ids.Attempt) error {
	err := t.Ledger.Retry(ctx, epoch, a)
	t.same("retry", []any{err}, []any{t.two.Retry(ctx, epoch, a)})
	return err
}

func (t *twin) OfferAgain(ctx context.Context, epoch ids.Epoch, a ids.Attempt, why string) (bool, error) {
	ok, err := t.Ledger.OfferAgain(ctx, epoch, a, why)
	ok2, err2 := t.two.OfferAgain(ctx, epoch, a, why)
	t.same("offer again", []any{ok, err}, []any{ok2, err2})
	return ok, err
}

func (t *twin) MendNode(ctx context.Context, epoch ids.Epoch, a ids.Attempt, status, repair string, lease time.Duration) (bool, error) {
	ok, err := t.Ledger.MendNode(ctx, epoch, a, status, repair, lease)
	ok2, err2 := t.two.MendNode(ctx, epoch, a, status, repair, lease)
	t.same("mend "+repair, []any{ok, err}, []any{ok2, err2})
	return ok, err
}

func (t *twin) MendCounts(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle, seen int64, counters map[string]int, joins []ledger.JoinFix) (bool, error) {
	ok, err := t.Ledger.MendCounts(ctx, epoch, c, seen, counters, joins)
	ok2, err2 := t.two.MendCounts(ctx, epoch, c, seen, counters, joins)
	t.same("mend counts", []any{ok, err}, []any{ok2, err2})
	return ok, err
}

func (t *twin) MendFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, seen string) (bool, error) {
	ok, err := t.Ledger.MendFlow(ctx, epoch, f, seen)
	ok2, err2 := t.two.MendFlow(ctx, epoch, f, seen)
	t.same("mend flow", []any{ok, err}, []any{ok2, err2})
	return ok, err
}
