// Package settle reports what an attempt came to. A result that the ledger can't
// take now is held and reported again until it can, or until the claim is known
// to be another's: a finished node is never run again because Redis was away,
// however long. The lease is no bound for that. Whether it ran out is for the
// leader to say, who grants a grace after every outage, and the heartbeats that
// go on meanwhile renew the claim as soon as Redis is back. Only the end of the
// process gives a result up.
//
// An error that is no refusal and no sign of an outage is tried a few times and
// then believed: holding on for ever would keep a node running that never ends,
// while without heartbeats its lease runs out and it is run again.
package settle

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
)

// Ledger takes results.
type Ledger interface {
	CompleteNext(ctx context.Context, c ledger.Completion, q ledger.Next) ([]ledger.Claim, error)
	Fail(ctx context.Context, f ledger.Failure) (ledger.Failed, error)
	Release(ctx context.Context, a ids.Attempt, token uuid.UUID, started bool) error
	EndUnknown(ctx context.Context, d ledger.Doubt) error
}

// Settler reports results.
type Settler struct {
	Ledger Ledger
	Log    hclog.Logger
	// Rand gives numbers in [0, 1) for the jitter of retries; nil = math/rand.
	Rand func() float64
}

// about makes the logger of one attempt, once there is something to tell of it.
func (s *Settler) about(c *ledger.Claim) hclog.Logger {
	return s.Log.With("flow", c.Flow, "cycle", c.Cycle, "node", c.Attempt.Node, "attempt", c.N)
}

// Next is the successors that were claimed with a report.
type Next struct {
	Claims []ledger.Claim
	Sent   time.Time // when they were asked for: their leases are no older
}

// Report reports until the ledger has answered or ctx ends, whose error it then
// returns. With a success it asks for claims of successors; next is what was granted. A
// fault of these claims does not keep the result from being counted.
func (s *Settler) Report(ctx context.Context, c *ledger.Claim, r attempt.Report, q ledger.Next) (next Next, err error) {
	err = Insist(ctx, func() (err error) {
		if r.Status == task.Failed {
			return s.fail(ctx, c, r)
		}
		sent := time.Now()
		got, err := s.Ledger.CompleteNext(ctx, ledger.Completion{Attempt: c.Attempt, Token: c.Token, Plan: &c.Node, Status: r.Status,
			Reason: r.Error, Outputs: r.Outputs, Decided: r.Decided}, q)
		switch {
		case len(got) > 0:
			next = Next{got, sent}
		case err != nil && !refusal(err) && !errors.Is(err, ledger.ErrUnavailable):
			q = ledger.Next{} // it may be the wish that fails; claims that it got run out
		}
		if errors.Is(err, ledger.ErrTooLarge) { // for good: should the answer to fail be lost, fail is what is repeated
			r = attempt.Report{Outcome: task.Outcome{Status: task.Failed, Class: task.Permanent, Error: err.Error()}}
			return s.fail(ctx, c, r)
		}
		return err
	})
	return next, s.refused(err, c)
}

// Release hands a claim back without a result; started says that the handler was
// called.
func (s *Settler) Release(ctx context.Context, c *ledger.Claim, started bool) error {
	err := Insist(ctx, func() error {
		err := s.Ledger.Release(ctx, c.Attempt, c.Token, started)
		if errors.Is(err, ledger.ErrEnding) {
			return s.fail(ctx, c, attempt.Report{Outcome: task.Outcome{Status: task.Failed, Class: task.Abandoned, Error: "ended early: cycle is ending"}})
		}
		return err
	})
	if err == nil {
		s.about(c).Info("claim handed back")
	}
	return s.refused(err, c)
}

// EndUnknown says that the node was not started here, since it may have been
// before.
func (s *Settler) EndUnknown(ctx context.Context, c *ledger.Claim, why string) error {
	err := Insist(ctx, func() error {
		return s.Ledger.EndUnknown(ctx, ledger.Doubt{Attempt: c.Attempt, Token: c.Token, Plan: &c.Node, OnFailure: c.OnFailure, Why: why})
	})
	if err == nil {
		s.about(c).Warn("at-most-once node was not started and ends unknown", "why", why)
	}
	return s.refused(err, c)
}

// refused makes an answer of a refusal: the result has no place to go.
func (s *Settler) refused(err error, c *ledger.Claim) error {
	if errors.Is(err, ledger.ErrNotMine) || errors.Is(err, ledger.ErrGone) {
		s.about(c).Warn("result was refused", "error", err)
		return nil
	}
	return err
}

func (s *Settler) fail(ctx context.Context, c *ledger.Claim, r attempt.Report) error {
	f := ledger.Failure{Attempt: c.Attempt, Token: c.Token, Plan: &c.Node, Class: r.Class, Error: r.Error, OnFailure: c.OnFailure}
	if retryable(&c.Node, r.Class) {
		f.Retries = c.Node.Retry.MaxRetries
		f.Delay = Backoff(c.Node.Retry, c.Retries, r.RetryAfter, s.random())
	}
	out, err := s.Ledger.Fail(ctx, f)
	if err != nil {
		return err
	}
	if out.Retry.IsZero() {
		s.about(c).Warn("node failed", "class", r.Class, "error", r.Error)
	} else {
		s.about(c).Warn("attempt failed", "class", r.Class, "error", r.Error, "retry_at", out.Retry)
	}
	return nil
}

func (s *Settler) random() float64 {
	if s.Rand != nil {
		return s.Rand()
	}
	return rand.Float64()
}

// retryable says whether the policy grants retries for a class at all. A node
// that may be started only once is never tried again.
func retryable(n *plan.Node, c task.Class) bool {
	if !n.Retry.Enabled || n.Delivery == plan.AtMostOnce {
		return false
	}
	return c == task.Retryable || c == task.Timeout || c == task.Panic
}

// Backoff returns the wait before the retry after the given number of earlier
// failures: backoff × 2^failures, at most max_backoff, with jitter down to half
// of it, and never less than the handler asked for. random is in [0, 1).
func Backoff(p plan.Retry, failures int, asked time.Duration, random float64) time.Duration {
	d := p.Backoff
	for range failures {
		if d >= p.MaxBackoff/2 {
			d = p.MaxBackoff
			break
		}
		d *= 2
	}
	d = min(d, p.MaxBackoff)
	if p.Jitter {
		d = d/2 + time.Duration(random*float64(d)/2)
	}
	return max(d, asked)
}

// strange is how often an error that says nothing about an outage is taken for
// one: some 5 s in all.
const strange = 10

// Insist repeats do while the ledger is unavailable, with pauses of 20 ms to 1 s,
// until ctx ends. Refusals are answers and are returned at once; other errors
// are when they came too often in a row.
func Insist(ctx context.Context, do func() error) error {
	pause := 20 * time.Millisecond
	var t *time.Timer // made when it is needed: most calls are answered at once
	for left := strange; ; {
		err := do()
		switch {
		case err == nil || refusal(err):
			return err
		case errors.Is(err, ledger.ErrUnavailable):
			left = strange
		default:
			if left--; left <= 0 {
				return err
			}
		}
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		if t == nil {
			t = time.NewTimer(pause)
			defer t.Stop()
		} else {
			t.Reset(pause)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
		pause = min(2*pause, time.Second)
	}
}

func refusal(err error) bool {
	for _, known := range []error{ledger.ErrNotMine, ledger.ErrGone, ledger.ErrEnding, ledger.ErrStarted, ledger.ErrTooLarge} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
