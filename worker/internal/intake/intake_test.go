package intake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/inproc"
	"github.com/tradingflow/weather-station/worker/internal/claims"
	"github.com/tradingflow/weather-station/worker/internal/intake"
	"github.com/tradingflow/weather-station/worker/internal/once"
	"github.com/tradingflow/weather-station/worker/node"
)

var errAway = fmt.Errorf("dial: %w", ledger.ErrUnavailable)

// TestDeclinedOften: an offer that comes again and again fills no log.
func TestDeclinedOften(t *testing.T) {
	bubble(t, func(w *world) {
		w.start(1)
		for range 100 {
			w.offer("strange")
		}
		pass(time.Minute)
		w.stop()
		w.ends()
		if n := w.asked("decline"); n != 100 {
			t.Errorf("declined %d times", n)
		}
		if n := strings.Count(w.text.String(), "is not carried here"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// takes returns a handler that works for d, or until its context ends.
func takes(d time.Duration) node.HandlerFunc {
	return func(ctx context.Context, _ *node.Input) (node.Result, error) {
		select {
		case <-time.After(d):
			return node.Result{}, nil
		case <-ctx.Done():
			return node.Result{}, ctx.Err()
		}
	}
}

func TestMessages(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("quick", takes(time.Second))
		w.start(1)
		w.offer("quick")
		pass(2 * time.Second)
		w.log("claim", "complete succeeded")
		w.publish([]byte("{"))
		w.offer("strange")
		pass(time.Second)
		w.log("claim", "complete succeeded", "decline")
		if d := w.left(taskqueue.Parking("t")); d == nil || string(d.Body()) != "{" {
			t.Errorf("parked is %v", d)
		}
		w.stop()
		if took := w.ends(); took != 0 {
			t.Errorf("an idle intake took %s to end", took)
		}
		w.empty()
	})
}

// TestHold: while the ledger is away a message is held, never handed back, and a
// result waits far longer than the lease.
func TestHold(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(time.Minute))
		w.away(errAway)
		w.start(1)
		w.offer("n")
		pass(time.Hour)
		w.empty()
		w.away(nil)
		pass(2 * time.Second)
		w.log("claim")
		w.away(errAway)
		pass(time.Hour)
		w.away(nil)
		pass(2 * time.Second)
		w.log("claim", "complete succeeded")
		w.stop()
		w.ends()
		w.empty()
	})
}

// TestUnanswered: an error that is no outage is not asked about for ever, and
// does not send the message round in circles.
func TestUnanswered(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(time.Second))
		w.away(errors.New("NOPERM"))
		w.start(1)
		w.offer("n")
		pass(time.Minute)
		if n := w.asked("claim"); n < 2 || n > 20 {
			t.Errorf("asked %d times", n)
		}
		w.empty()
		w.stop()
		w.ends()
	})
}

// TestTakeNothingNew: when draining begins, a message that waits for its claim
// goes back at once.
func TestTakeNothingNew(t *testing.T) {
	for _, nodeType := range []string{"n", "strange"} {
		bubble(t, func(w *world) {
			w.handle("n", takes(time.Second))
			w.away(errAway)
			w.start(1)
			w.offer(nodeType)
			pass(time.Minute)
			w.stop()
			if took := w.ends(); took > 2*time.Second {
				t.Errorf("intake took %s to end", took)
			}
			w.log()
			w.back()
		})
	}
}

// TestDrain: what ends within the grace is reported, the rest is handed back.
func TestDrain(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("short", takes(20*time.Second))
		w.handle("long", takes(time.Hour))
		w.start(2)
		w.offer("short")
		w.offer("long")
		pass(time.Second)
		w.stop()
		pass(20 * time.Second)
		w.offer("short")
		if took := w.ends(); took != grace-20*time.Second {
			t.Errorf("intake ended %s after the short node", took)
		}
		w.log("claim", "claim", "complete succeeded", "release")
		if d := w.left(queue); d == nil || d.Redelivered() {
			t.Errorf("the offer after the stop was touched: %v", d)
		}
		w.empty()
	})
}

// TestDrainOnce: an at-most-once node that started is left to the leader.
func TestDrainOnce(t *testing.T) {
	bubble(t, func(w *world) {
		w.once = true
		w.handle("long", takes(time.Hour))
		w.start(1)
		w.offer("long")
		pass(time.Second)
		w.stop()
		w.ends()
		w.log("claim")
		w.back()
	})
}

// TestDrainAway: with the ledger away a drain ends all the same, and the message
// of an unreported result goes to another worker.
func TestDrainAway(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(time.Second))
		w.start(1)
		w.offer("n")
		pass(time.Millisecond)
		w.away(errAway)
		pass(time.Minute)
		w.stop()
		if took := w.ends(); took < grace || took > grace+10*time.Second {
			t.Errorf("intake took %s to end", took)
		}
		w.log("claim")
		w.back()
	})
}

// TestKilled: a worker whose death is played ends at once, says nothing of what it
// ran, and leaves its message to another.
func TestKilled(t *testing.T) {
	bubble(t, func(w *world) {
		var cause error
		w.handle("n", func(ctx context.Context, _ *node.Input) (node.Result, error) {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return node.Result{}, ctx.Err()
		})
		w.start(2)
		defer w.stop()
		w.offer("n")
		pass(time.Second)
		began := time.Now()
		close(w.killed)
		if err := <-w.done; !errors.Is(err, intake.ErrKilled) {
			t.Errorf("intake: %v", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("intake took %s to end", took)
		}
		if !errors.Is(cause, intake.ErrKilled) {
			t.Errorf("the node ended for %v", cause)
		}
		w.log("claim")
		w.back()
	})
}

// TestHang: a handler that ignores everything does not hold up the end.
func TestHang(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("hang", func(context.Context, *node.Input) (node.Result, error) {
			<-time.After(24 * time.Hour)
			return node.Result{}, nil
		})
		w.start(1)
		w.offer("hang")
		pass(time.Second)
		w.stop()
		if took := w.ends(); took > grace+10*time.Second {
			t.Errorf("intake took %s to end", took)
		}
		w.log("claim", "release")
		w.empty()
		pass(25 * time.Hour)
	})
}

// TestInterrupted: an attempt whose claim can't be proven own was interrupted, it
// did not fail; one whose cycle is ending failed for that reason.
func TestInterrupted(t *testing.T) {
	for name, c := range map[string]struct {
		once  bool
		cause error
		want  []string
	}{
		"lost":         {false, claims.ErrLost, []string{"claim", "release"}},
		"lost, once":   {true, claims.ErrLost, []string{"claim"}},
		"cancel":       {false, claims.ErrCancelled, []string{"claim", "fail cancelled: ended early: cycle is ending"}},
		"cancel, once": {true, claims.ErrCancelled, []string{"claim", "fail cancelled: ended early: cycle is ending"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.once = c.once
				w.handle("n", takes(time.Hour))
				w.start(1)
				w.offer("n")
				pass(time.Second)
				w.loses(c.cause)
				pass(time.Second)
				w.log(c.want...)
				w.stop()
				w.ends()
				w.empty()
			})
		})
	}
}

// TestEarlyAck: a long node's message is acked while it runs; its result, or its
// hand-back, still comes. So is the message of a result that waits long.
func TestEarlyAck(t *testing.T) {
	for name, c := range map[string]struct {
		works time.Duration
		away  bool
		stop  bool
		once  bool
		want  []string
	}{
		"result":       {works: 50 * time.Minute, want: []string{"claim", "complete succeeded"}},
		"drain":        {works: 50 * time.Minute, stop: true, want: []string{"claim", "release"}},
		"drain, once":  {works: 50 * time.Minute, stop: true, once: true, want: []string{"claim"}},
		"ledger away":  {works: time.Second, away: true, want: []string{"claim", "complete succeeded"}},
		"away and end": {works: time.Second, away: true, stop: true, want: []string{"claim"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.once = c.once
				w.handle("n", takes(c.works))
				w.start(1)
				w.offer("n")
				pass(time.Millisecond)
				if c.away {
					w.away(errAway)
				}
				pass(11 * time.Minute)
				w.broker.Disconnect() // would deliver again what is not acked
				w.empty()
				if c.stop {
					w.stop()
					w.ends()
				} else {
					w.away(nil)
					pass(time.Hour)
				}
				w.log(c.want...)
				if c.stop {
					w.empty()
					return
				}
				w.offer("n") // the slot consumes again
				pass(2 * time.Hour)
				w.log(append(c.want, c.want...)...)
				w.stop()
				w.ends()
			})
		})
	}
}

// TestSourceEnds: intake ends with its source, and says why.
func TestSourceEnds(t *testing.T) {
	bubble(t, func(w *world) {
		w.start(3)
		pass(time.Second)
		w.broker.Close()
		if err := <-w.done; !errors.Is(err, inproc.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// few makes a few slots, then none.
type few struct {
	intake interface {
		Slot(queue string) (taskqueue.Slot, error)
	}
	left int
	err  error
}

func (f *few) Slot(queue string) (taskqueue.Slot, error) {
	if f.left--; f.left < 0 {
		return nil, f.err
	}
	return f.intake.Slot(queue)
}

// TestSlotRefused: a slot that can't be made ends those that were.
func TestSlotRefused(t *testing.T) {
	bubble(t, func(w *world) {
		refused := errors.New("no more")
		w.source = &few{w.broker.Consumer(), 2, refused}
		w.start(3)
		select {
		case err := <-w.done:
			if !errors.Is(err, refused) {
				t.Errorf("got %v", err)
			}
		case <-time.After(time.Hour):
			t.Fatal("intake does not end")
		}
	})
}

// TestOnceKey: what becomes of an at-most-once node by what is heard of its
// once-key.
func TestOnceKey(t *testing.T) {
	waits := func(ctx context.Context, stop <-chan struct{}) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-stop:
			return once.ErrStopped
		}
	}
	for name, c := range map[string]struct {
		keys  func(context.Context, <-chan struct{}) error
		cause error // with which the claim ends
		want  []string
	}{
		"granted":   {func(context.Context, <-chan struct{}) error { return nil }, nil, []string{"claim", "complete succeeded"}},
		"taken":     {func(context.Context, <-chan struct{}) error { return once.ErrTaken }, nil, []string{"claim", "unknown " + once.ErrTaken.Error()}},
		"stopped":   {waits, nil, []string{"claim", "release"}},
		"lost":      {waits, claims.ErrLost, []string{"claim", "release"}},
		"cancelled": {waits, claims.ErrCancelled, []string{"claim", "fail cancelled: ended early: cycle is ending"}},
		"granted too late": {func(ctx context.Context, _ <-chan struct{}) error { <-ctx.Done(); return nil }, claims.ErrLost,
			[]string{"claim", "release"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.once, w.keys = true, c.keys
				ran := 0
				w.handle("n", func(context.Context, *node.Input) (node.Result, error) { ran++; return node.Result{}, nil })
				w.start(1)
				w.offer("n")
				pass(time.Second)
				if c.cause != nil {
					w.loses(c.cause)
				}
				pass(time.Second)
				w.stop()
				if took := w.ends(); took > time.Second {
					t.Errorf("the worker took %s to stop", took)
				}
				w.log(c.want...)
				w.empty()
				if started := ran > 0; started != (name == "granted") {
					t.Errorf("started: %v", started)
				}
			})
		})
	}
}
