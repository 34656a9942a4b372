package settle_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
	"github.com/tradingflow/weather-station/worker/internal/settle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errAway    = fmt.Errorf("dial: %w", ledger.ErrUnavailable)
	errStrange = errors.New("ERR max number of clients reached")
)

// book is a ledger that answers with the given errors in turn, then takes all.
type book struct {
	answers   []error
	completed []ledger.Completion
	failed    []ledger.Failure
	released  int
	doubts    []ledger.Doubt
	calls     int
}

func (b *book) answer() error {
	b.calls++
	if len(b.answers) == 0 {
		return nil
	}
	err := b.answers[0]
	b.answers = b.answers[1:]
	return err
}

func (b *book) CompleteNext(_ context.Context, c ledger.Completion, q ledger.Next) ([]ledger.Claim, error) {
	if err := b.answer(); err != nil {
		return nil, err
	}
	b.completed = append(b.completed, c)
	if len(q.Nodes) == 0 {
		return nil, nil
	}
	return []ledger.Claim{{Token: q.Token}}, nil
}

// report reports without a wish for a successor.
func report(ctx context.Context, s *settle.Settler, c *ledger.Claim, r attempt.Report) error {
	_, err := s.Report(ctx, c, r, ledger.Next{})
	return err
}

func (b *book) Fail(_ context.Context, f ledger.Failure) (ledger.Failed, error) {
	if err := b.answer(); err != nil {
		return ledger.Failed{}, err
	}
	b.failed = append(b.failed, f)
	return ledger.Failed{}, nil
}

func (b *book) Release(context.Context, ids.Attempt, uuid.UUID, bool) error {
	if err := b.answer(); err != nil {
		return err
	}
	b.released++
	return nil
}

func (b *book) EndUnknown(_ context.Context, d ledger.Doubt) error {
	if err := b.answer(); err != nil {
		return err
	}
	b.doubts = append(b.doubts, d)
	return nil
}

func (b *book) settler() *settle.Settler {
	return &settle.Settler{Ledger: b, Log: hclog.NewNullLogger(), Rand: func() float64 { return 0 }}
}

func claim() *ledger.Claim {
	return &ledger.Claim{Attempt: ids.Attempt{Flow: "f", Cycle: 1, Node: "n", N: 1}, Token: uuid.New(), Node: plan.Node{ID: "n",
		Retry: plan.Retry{Enabled: true, MaxRetries: 3, Backoff: time.Second, MaxBackoff: time.Minute}}}
}

func success() attempt.Report {
	return attempt.Report{Outcome: task.Outcome{Status: task.Succeeded, Outputs: map[string]json.RawMessage{"a": json.RawMessage("0")}}, Decided: ledger.AllEdges(ledger.Live)}
}

func failure(c task.Class) attempt.Report {
	return attempt.Report{Outcome: task.Outcome{Status: task.Failed, Class: c, Error: "boom"}}
}

func repeat(err error, n int) []error {
	out := make([]error, n)
	for i := range out {
		out[i] = err
	}
	return out
}

// TestHold: a result waits for a ledger that is away for an hour, and is taken
// once.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{answers: repeat(errAway, 3600)}
		began := time.Now()
		if err := report(t.Context(), b.settler(), claim(), success()); err != nil {
			t.Fatal(err)
		}
		if len(b.completed) != 1 || time.Since(began) < 50*time.Minute {
			t.Errorf("completed %d times after %s", len(b.completed), time.Since(began))
		}
	})
}

// TestGiveUp: only the end of the context makes it give up.
func TestGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errEnd := errors.New("the end")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(errEnd) })
		b := &book{answers: repeat(errAway, 1000)}
		err := report(ctx, b.settler(), claim(), success())
		if !errors.Is(err, errEnd) || !errors.Is(err, ledger.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	})
}

// TestStrange: an error of no known kind is ridden out when it passes, and
// believed when it stays.
func TestStrange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{answers: repeat(errStrange, 3)}
		if err := report(t.Context(), b.settler(), claim(), success()); err != nil || len(b.completed) != 1 {
			t.Errorf("completed %d times: %v", len(b.completed), err)
		}
		b = &book{answers: repeat(errStrange, 1000)}
		if err := report(t.Context(), b.settler(), claim(), success()); !errors.Is(err, errStrange) || b.calls > 20 {
			t.Errorf("after %d calls: %v", b.calls, err)
		}
	})
}

// TestRefused: a refusal is an answer; nothing is tried again.
func TestRefused(t *testing.T) {
	for _, refusal := range []error{ledger.ErrGone, ledger.ErrNotMine} {
		for name, do := range map[string]func(*settle.Settler) error{
			"success": func(s *settle.Settler) error { return report(t.Context(), s, claim(), success()) },
			"failure": func(s *settle.Settler) error { return report(t.Context(), s, claim(), failure(task.Retryable)) },
			"release": func(s *settle.Settler) error { return s.Release(t.Context(), claim(), false) },
			"unknown": func(s *settle.Settler) error { return s.EndUnknown(t.Context(), claim(), "why") },
		} {
			b := &book{answers: []error{refusal}}
			if err := do(b.settler()); err != nil || b.calls != 1 {
				t.Errorf("%s, %v: %d calls, %v", name, refusal, b.calls, err)
			}
		}
	}
}

// TestTooLarge: outputs that the cycle has no room for fail the node for good,
// also when Redis goes away between the two calls.
func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{answers: []error{errAway, fmt.Errorf("complete: %w", ledger.ErrTooLarge), errAway, errAway}}
		if err := report(t.Context(), b.settler(), claim(), success()); err != nil {
			t.Fatal(err)
		}
		if len(b.completed) != 0 || len(b.failed) != 1 || b.failed[0].Class != task.Permanent || b.failed[0].Retries != 0 {
			t.Errorf("completed %d times, failed with %+v", len(b.completed), b.failed)
		}
	})
}

// TestReleaseEnding: in a cycle that is ending there is nothing to hand back to.
func TestReleaseEnding(t *testing.T) {
	b := &book{answers: []error{ledger.ErrEnding}}
	if err := b.settler().Release(t.Context(), claim(), false); err != nil {
		t.Fatal(err)
	}
	if b.released != 0 || len(b.failed) != 1 || b.failed[0].Class != task.Abandoned {
		t.Errorf("released %d times, failed with %+v", b.released, b.failed)
	}
}

// TestUnknown: that a node was not started is reported until it is heard.
func TestUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := &book{answers: repeat(errAway, 30)}, claim()
		if err := b.settler().EndUnknown(t.Context(), c, "why"); err != nil {
			t.Fatal(err)
		}
		want := []ledger.Doubt{{Attempt: c.Attempt, Token: c.Token, Plan: &c.Node, OnFailure: c.OnFailure, Why: "why"}}
		if diff := cmp.Diff(want, b.doubts); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRetries(t *testing.T) {
	for class, granted := range map[task.Class]bool{task.Retryable: true, task.Timeout: true, task.Panic: true, task.Permanent: false, task.Abandoned: false} {
		for _, once := range []bool{false, true} {
			for _, enabled := range []bool{false, true} {
				b, c := &book{}, claim()
				c.Node.Retry.Enabled = enabled
				if once {
					c.Node.Delivery = plan.AtMostOnce
				}
				if err := report(t.Context(), b.settler(), c, failure(class)); err != nil {
					t.Fatal(err)
				}
				want := 0
				if granted && enabled && !once {
					want = 3
				}
				if got := b.failed[0].Retries; got != want {
					t.Errorf("%s, enabled %v, at most once %v: %d retries, want %d", class, enabled, once, got, want)
				}
			}
		}
	}
}

func TestBackoff(t *testing.T) {
	p := plan.Retry{Backoff: time.Second, MaxBackoff: 10 * time.Second}
	var got []time.Duration
	for failures := range 6 {
		got = append(got, settle.Backoff(p, failures, 0, 0.5))
	}
	if diff := cmp.Diff([]time.Duration{1e9, 2e9, 4e9, 8e9, 10e9, 10e9}, got); diff != "" {
		t.Error(diff)
	}
	if got := settle.Backoff(p, 0, time.Hour, 0); got != time.Hour {
		t.Errorf("asked for 1h, got %s", got)
	}
	p.Jitter = true
	rapid.Check(t, func(t *rapid.T) {
		p := plan.Retry{Backoff: time.Duration(rapid.Int64Range(0, 24*3600e9).Draw(t, "backoff")), Jitter: true}
		p.MaxBackoff = p.Backoff + time.Duration(rapid.Int64Range(0, 24*3600e9).Draw(t, "more"))
		failures := rapid.IntRange(0, 100).Draw(t, "failures")
		d := settle.Backoff(p, failures, 0, rapid.Float64Range(0, 0.999).Draw(t, "random"))
		if d < p.Backoff/2-1 || d > p.MaxBackoff {
			t.Fatalf("%+v after %d failures: %s", p, failures, d)
		}
	})
}
