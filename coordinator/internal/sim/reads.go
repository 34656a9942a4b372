package sim

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

func (p port) Claim(ctx context.Context, q ledger.ClaimRequest) (ledger.Claim, ledger.Refusal, error) {
	type answer struct {
		claim   ledger.Claim
		refusal ledger.Refusal
	}
	r, err := call(p, "claim", q.Cycle, func() (answer, error) {
		c, refusal, err := p.w.ledger.Claim(ctx, q)
		return answer{c, refusal}, err
	})
	return r.claim, r.refusal, err
}

func (p port) Decline(ctx context.Context, a ids.Attempt, w ids.WorkerID, delay time.Duration) error {
	return tell(p, "decline", a.Cycle, func() error { return p.w.ledger.Decline(ctx, a, w, delay) })
}

func (p port) Heartbeat(ctx context.Context, w ids.WorkerID, lease time.Duration, claims []ledger.HeldClaim) ([]ledger.Beat, error) {
	return call(p, "heartbeat", claims[0].Cycle, func() ([]ledger.Beat, error) { return p.w.ledger.Heartbeat(ctx, w, lease, claims) })
}

func (p port) BeatWorker(ctx context.Context, w ledger.Worker, ttl time.Duration) error {
	return tell(p, "beat_worker", 0, func() error { return p.w.ledger.BeatWorker(ctx, w, ttl) })
}

func (p port) CompleteNext(ctx context.Context, c ledger.Completion, q ledger.Next) ([]ledger.Claim, error) {
	return call(p, "complete", c.Cycle, func() ([]ledger.Claim, error) { return p.w.ledger.CompleteNext(ctx, c, q) })
}

func (p port) Fail(ctx context.Context, f ledger.Failure) (ledger.Failed, error) {
	return call(p, "fail", f.Cycle, func() (ledger.Failed, error) { return p.w.ledger.Fail(ctx, f) })
}

func (p port) Release(ctx context.Context, a ids.Attempt, token uuid.UUID, started bool) error {
	return tell(p, "release", a.Cycle, func() error { return p.w.ledger.Release(ctx, a, token, started) })
}

func (p port) EndUnknown(ctx context.Context, d ledger.Doubt) error {
	return tell(p, "end_unknown", d.Cycle, func() error { return p.w.ledger.EndUnknown(ctx, d) })
}

func (p port) Now(ctx context.Context) (time.Time, error) {
	return ask(p, func() (time.Time, error) { return p.w.ledger.Now(ctx) })
}

func (p port) Flow(ctx context.Context, f ids.FlowID) (ledger.FlowState, error) {
	return ask(p, func() (ledger.FlowState, error) { return p.w.ledger.Flow(ctx, f) })
}

func (p port) Cycle(ctx context.Context, f ids.FlowID, n int64) (ledger.CycleState, error) {
	return ask(p, func() (ledger.CycleState, error) { return p.w.ledger.Cycle(ctx, f, n) })
}

func (p port) CyclesOf(ctx context.Context, of []ids.Attempt) ([]ledger.CycleState, error) {
	return ask(p, func() ([]ledger.CycleState, error) { return p.w.ledger.CyclesOf(ctx, of) })
}

func (p port) Nodes(ctx context.Context, f ids.FlowID, n int64, nodes []ids.NodeID) ([]ledger.NodeState, error) {
	return ask(p, func() ([]ledger.NodeState, error) { return p.w.ledger.Nodes(ctx, f, n, nodes) })
}

func (p port) Joins(ctx context.Context, f ids.FlowID, n int64) (map[string]string, error) {
	return ask(p, func() (map[string]string, error) { return p.w.ledger.Joins(ctx, f, n) })
}

func (p port) JoinOf(ctx context.Context, f ids.FlowID, n int64, node ids.NodeID) (live, dead, failed int, err error) {
	join, err := ask(p, func() ([3]int, error) {
		live, dead, failed, err := p.w.ledger.JoinOf(ctx, f, n, node)
		return [3]int{live, dead, failed}, err
	})
	return join[0], join[1], join[2], err
}

func (p port) Active(ctx context.Context) ([]ledger.ActiveCycle, error) {
	return ask(p, func() ([]ledger.ActiveCycle, error) { return p.w.ledger.Active(ctx) })
}

func (p port) ReadPosted(ctx context.Context) (ledger.Posted, error) {
	return ask(p, func() (ledger.Posted, error) { return p.w.ledger.ReadPosted(ctx) })
}

func (p port) Leases(ctx context.Context) ([]ledger.Lease, error) {
	return ask(p, func() ([]ledger.Lease, error) { return p.w.ledger.Leases(ctx) })
}

func (p port) Timers(ctx context.Context, count int64) ([]ledger.Timer, error) {
	return ask(p, func() ([]ledger.Timer, error) { return p.w.ledger.Timers(ctx, count) })
}

func (p port) Worker(ctx context.Context, id ids.WorkerID) (ledger.Worker, error) {
	return ask(p, func() (ledger.Worker, error) { return p.w.ledger.Worker(ctx, id) })
}
