package attempt_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
	"github.com/tradingflow/weather-station/worker/node"
)

var errEnd = errors.New("the end")

// TestTimeout: a handler that heeds its context fails as timed out, at once.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r := runner().Run(t.Context(), claim(plan.Node{Timeout: 5 * time.Second}), node.HandlerFunc(func(ctx context.Context, _ *node.Input) (node.Result, error) {
			<-ctx.Done()
			return node.Result{}, node.Permanent(ctx.Err())
		}))
		if r.Class != task.Timeout || r.Error != "timed out after 5s" || time.Since(began) != 5*time.Second {
			t.Errorf("after %s: %s %q", time.Since(began), r.Class, r.Error)
		}
	})
}

// TestLateResult: a result after the timeout is a timeout, also when the handler
// came back within the patience.
func TestLateResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runner().Run(t.Context(), claim(plan.Node{Timeout: time.Second}), node.HandlerFunc(func(context.Context, *node.Input) (node.Result, error) {
			<-time.After(2 * time.Second)
			return node.Outputs(map[string]any{"a": 1}), nil
		}))
		if r.Class != task.Timeout || !strings.HasPrefix(r.Error, "timed out after 1s") {
			t.Errorf("got %s %s %q", r.Status, r.Class, r.Error)
		}
	})
}

// TestNoTimeout: a node without a timeout has no bound.
func TestNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runner().Run(t.Context(), claim(plan.Node{}), node.HandlerFunc(func(ctx context.Context, _ *node.Input) (node.Result, error) {
			<-time.After(time.Hour)
			return node.Result{}, ctx.Err()
		}))
		if r.Status != task.Succeeded {
			t.Errorf("got %s %q", r.Status, r.Error)
		}
	})
}

// TestHang: a handler that ignores its context is left behind and counted until
// it returns.
func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left atomic.Int64
		r := runner()
		r.Abandoned = func() func() { left.Add(1); return func() { left.Add(-1) } }
		release := make(chan struct{})
		began := time.Now()
		report := r.Run(t.Context(), claim(plan.Node{Timeout: time.Second}), node.HandlerFunc(func(context.Context, *node.Input) (node.Result, error) {
			<-release
			return node.Result{}, nil
		}))
		if report.Class != task.Timeout || time.Since(began) != time.Second+attempt.Patience {
			t.Errorf("after %s: %s %q", time.Since(began), report.Class, report.Error)
		}
		if left.Load() != 1 {
			t.Errorf("%d handlers are left behind, want 1", left.Load())
		}
		close(release)
		synctest.Wait()
		if left.Load() != 0 {
			t.Errorf("%d handlers are left behind, want 0", left.Load())
		}
	})
}

// ending runs a handler whose context ends after a second with errEnd.
func ending(t *testing.T, timeout time.Duration, h node.HandlerFunc, edges ...string) attempt.Report {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer time.AfterFunc(time.Second, func() { cancel(errEnd) }).Stop()
	return runner().Run(ctx, claim(plan.Node{Timeout: timeout, Successors: []plan.Successor{to("b", edges...)}}), h)
}

func TestEnded(t *testing.T) {
	wait := func(res node.Result, err error) node.HandlerFunc {
		return func(ctx context.Context, _ *node.Input) (node.Result, error) {
			<-ctx.Done()
			return res, err
		}
	}
	for name, c := range map[string]struct {
		handler node.HandlerFunc
		status  task.Status
		class   task.Class
		text    string
	}{
		"by an error": {wait(node.Result{}, context.Canceled), task.Failed, task.Abandoned, "ended early: the end"},
		"by a panic": {func(ctx context.Context, _ *node.Input) (node.Result, error) { <-ctx.Done(); panic("oh") },
			task.Failed, task.Abandoned, "ended early: the end"},
		"what is finished is finished":     {wait(node.Outputs(map[string]any{"a": 1}), nil), task.Succeeded, "", ""},
		"a failure before is that failure": {returns(node.Result{}, node.Permanent(errors.New("boom"))), task.Failed, task.Permanent, "boom"},
		"a hang": {func(context.Context, *node.Input) (node.Result, error) {
			<-time.After(time.Hour)
			return node.Result{}, nil
		},
			task.Failed, task.Abandoned, "ended early: the end"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := ending(t, time.Minute, c.handler, "a if value == 1")
				if r.Status != c.status || r.Class != c.class || r.Error != c.text {
					t.Errorf("got %s %q %q", r.Status, r.Class, r.Error)
				}
				if (r.Class == task.Abandoned) != errors.Is(r.Cause, errEnd) || !r.Started {
					t.Errorf("cause %v, started %v", r.Cause, r.Started)
				}
				<-time.After(2 * time.Hour) // the hanging one is gone
			})
		})
	}
}

// TestNotStarted: no handler begins under a context that ended.
func TestNotStarted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errEnd)
	called := make(chan struct{}, 1)
	r := runner().Run(ctx, claim(plan.Node{Timeout: time.Minute}), node.HandlerFunc(func(context.Context, *node.Input) (node.Result, error) {
		called <- struct{}{}
		return node.Result{}, nil
	}))
	if r.Started || r.Class != task.Abandoned || !errors.Is(r.Cause, errEnd) || len(called) != 0 {
		t.Errorf("got %+v, called %d times", r, len(called))
	}
}
