// Package route brings each call to the ledger of the partition that it concerns: what
// is about a flow to the flow's, a worker's record to all, and a question about the
// whole deployment to whichever answers.
package route

import (
	"context"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Ledger is the ledgers of all partitions as a worker uses them.
type Ledger struct{ set *ledger.Set }

// New makes a route to the ledgers of a set.
func New(s *ledger.Set) *Ledger { return &Ledger{s} }

// Partition returns the partition that a flow is in.
func (l *Ledger) Partition(f ids.FlowID) int { return l.set.Partition(f) }

// Heed takes over the number of partitions that a task carries, and reports whether
// the task is of any use.
func (l *Ledger) Heed(ctx context.Context, partitions int) (bool, error) {
	return l.set.Heed(ctx, partitions)
}

// Ping asks whether the server of every partition answers.
func (l *Ledger) Ping(ctx context.Context) error { return l.set.Ping(ctx) }

// Claim asks for an attempt.
func (l *Ledger) Claim(ctx context.Context, q ledger.ClaimRequest) (ledger.Claim, ledger.Refusal, error) {
	return l.set.Of(q.Flow).Claim(ctx, q)
}

// Decline gives an offer back.
func (l *Ledger) Decline(ctx context.Context, a ids.Attempt, w ids.WorkerID, delay time.Duration) error {
	return l.set.Of(a.Flow).Decline(ctx, a, w, delay)
}

// CompleteNext reports a success, and asks for successors.
func (l *Ledger) CompleteNext(ctx context.Context, c ledger.Completion, q ledger.Next) ([]ledger.Claim, error) {
	return l.set.Of(c.Flow).CompleteNext(ctx, c, q)
}

// Fail reports a failure.
func (l *Ledger) Fail(ctx context.Context, f ledger.Failure) (ledger.Failed, error) {
	return l.set.Of(f.Flow).Fail(ctx, f)
}

// Release hands a claim back.
func (l *Ledger) Release(ctx context.Context, a ids.Attempt, token uuid.UUID, started bool) error {
	return l.set.Of(a.Flow).Release(ctx, a, token, started)
}

// EndUnknown ends a node that may have been started before.
func (l *Ledger) EndUnknown(ctx context.Context, d ledger.Doubt) error {
	return l.set.Of(d.Flow).EndUnknown(ctx, d)
}

// Block names what a claimed node waits for.
func (l *Ledger) Block(ctx context.Context, a ids.Attempt, token uuid.UUID, blocker string) error {
	return l.set.Of(a.Flow).Block(ctx, a, token, blocker)
}

// Heartbeat renews claims that are all in one partition.
func (l *Ledger) Heartbeat(ctx context.Context, w ids.WorkerID, lease time.Duration, claims []ledger.HeldClaim) ([]ledger.Beat, error) {
	if len(claims) == 0 {
		return nil, nil
	}
	return l.set.Of(claims[0].Flow).Heartbeat(ctx, w, lease, claims)
}

// Coordinators lists them, from the first partition whose ledger answers: they announce
// themselves in all.
func (l *Ledger) Coordinators(ctx context.Context) (found []ledger.Coordinator, err error) {
	for _, in := range l.set.All() {
		if found, err = in.Coordinators(ctx); err == nil && len(found) > 0 || ctx.Err() != nil {
			break
		}
	}
	return found, err
}

// BeatWorker records in every partition that a worker lives, and looks how many there
// are. Each partition's leader has to know its workers, and none waits for the server of
// another.
func (l *Ledger) BeatWorker(ctx context.Context, w ledger.Worker, ttl time.Duration) error {
	err := l.set.Learn(ctx)
	if each := l.each(func(in *ledger.Ledger) error { return in.BeatWorker(ctx, w, ttl) }); each != nil {
		return each
	}
	return err
}

// LeaveWorker removes a worker's record from every partition.
func (l *Ledger) LeaveWorker(ctx context.Context, id ids.WorkerID) error {
	return l.each(func(in *ledger.Ledger) error { return in.LeaveWorker(ctx, id) })
}

// each does it in all partitions at once, whatever becomes of the others, and returns
// the first error.
func (l *Ledger) each(do func(*ledger.Ledger) error) error {
	all := l.set.All()
	if len(all) == 1 {
		return do(all[0])
	}
	var g errgroup.Group
	g.SetLimit(16)
	for _, in := range all {
		g.Go(func() error { return do(in) })
	}
	return g.Wait()
}
