package reconcile

import (
	"context"
	"time"
)

// What follows lets one goroutine drive the loops of this package step by step on
// a clock of its own: the simulation of the protocol does, and no program.

// Quiet revokes no claim for one lease from now: Run begins with it, and Grace
// leads to it.
func (k *Leases) Quiet(now time.Time) { k.quiet = now.Add(k.cfg.Lease) }

// Pass looks at the leases once, as Run does again and again.
func (k *Leases) Pass(ctx context.Context, now time.Time) (running int, next time.Duration, err error) {
	return k.pass(ctx, now)
}

// Pass audits once: every running cycle, or those that made no progress since the
// last pass; after the loss of a worker in a hurry.
// It returns how many cycles are open.
func (a *Audit) Pass(ctx context.Context, all, hurry bool) (open int, err error) {
	return a.pass(ctx, all, hurry)
}

// Forget forgets what earlier passes found of queues, as Run does after an error
// and when Redis was restarted.
func (a *Audit) Forget() { a.forgetQueues() }

// Fire acts once on every timer that is due and returns how long to sleep.
func (k *Timers) Fire(ctx context.Context) (time.Duration, error) { return k.fire(ctx) }
