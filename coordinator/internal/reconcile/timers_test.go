package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/reconcile"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// alarms is a ledger's set of timers.
type alarms struct {
	mu    sync.Mutex
	set   []ledger.Timer
	fired chan string
	fail  map[ids.NodeID]error // by node, of every act
	reads int
}

func newAlarms() *alarms {
	return &alarms{fired: make(chan string, 5000), fail: map[ids.NodeID]error{}}
}

func (a *alarms) add(kind, node string, due time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := ledger.Timer{Kind: kind, Attempt: at(node), Due: due}
	a.set = append(a.set, t)
	slices.SortStableFunc(a.set, func(x, y ledger.Timer) int { return x.Due.Compare(y.Due) })
}

func (a *alarms) Now(context.Context) (time.Time, error) { return time.Now(), nil }

func (a *alarms) Timers(_ context.Context, count int64) ([]ledger.Timer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reads++
	return slices.Clone(a.set[:min(len(a.set), int(count))]), nil
}

func (a *alarms) act(kind string, node ids.NodeID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.fail[node]; err != nil {
		return err
	}
	a.set = slices.DeleteFunc(a.set, func(t ledger.Timer) bool { return t.Kind == kind && t.Node == node })
	a.fired <- kind + " " + string(node)
	return nil
}

func (a *alarms) Retry(_ context.Context, _ ids.Epoch, x ids.Attempt) error {
	return a.act("retry", x.Node)
}

func (a *alarms) OfferAgain(_ context.Context, _ ids.Epoch, x ids.Attempt, _ string) (bool, error) {
	return true, a.act("offer", x.Node)
}

func (a *alarms) CancelCycle(context.Context, ids.Epoch, ids.FlowID, int64, uuid.UUID, string) (string, error) {
	return "running", a.act("deadline", "")
}

func ring(t *testing.T, a *alarms) *reconcile.Timers {
	k := reconcile.NewTimers(a, 5, 10*time.Second, hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return k
}

func TestTimersFireWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, start := newAlarms(), time.Now()
		a.add("retry", "n1", start.Add(3*time.Second))
		a.add("deadline", "", start.Add(20*time.Second))
		k := ring(t, a)
		if got := <-a.fired; got != "retry n1" || time.Since(start) != 3*time.Second {
			t.Errorf("%q after %s", got, time.Since(start))
		}
		a.add("offer", "n2", start.Add(4*time.Second)) // announced, and earlier than the next known
		k.Wake()
		if got := <-a.fired; got != "offer n2" || time.Since(start) != 4*time.Second {
			t.Errorf("%q after %s", got, time.Since(start))
		}
		a.add("retry", "n3", start.Add(6*time.Second)) // not announced: late by a bounded time
		if got := <-a.fired; got != "retry n3" || time.Since(start) > 12*time.Second {
			t.Errorf("%q after %s", got, time.Since(start))
		}
		if got := <-a.fired; got != "deadline " || time.Since(start) != 20*time.Second {
			t.Errorf("%q after %s", got, time.Since(start))
		}
	})
}

// TestATimerThatStaysHoldsUpNoOther and makes nothing spin: one of a kind that
// this version does not know, and one whose act fails for good.
func TestATimerThatStaysHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, start := newAlarms(), time.Now()
		for i := range 300 { // more than one read takes
			a.add("of tomorrow", fmt.Sprintf("x%d", i), start.Add(-time.Hour))
		}
		a.fail["bad"] = errors.New("WRONGTYPE")
		a.add("retry", "bad", start.Add(-time.Minute))
		a.add("retry", "n1", start)
		a.add("retry", "n2", start.Add(2*time.Second))
		ring(t, a)
		if got := <-a.fired; got != "retry n1" || time.Since(start) > time.Second {
			t.Errorf("%q after %s", got, time.Since(start))
		}
		if got := <-a.fired; got != "retry n2" || time.Since(start) > 3*time.Second {
			t.Errorf("%q after %s", got, time.Since(start))
		}
		sleep(10 * time.Second)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.reads > 80 {
			t.Errorf("%d reads in %s", a.reads, time.Since(start))
		}
	})
}

func TestAStormOfTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, start := newAlarms(), time.Now()
		for i := range 2000 {
			a.add("retry", fmt.Sprintf("n%d", i), start.Add(time.Second))
		}
		ring(t, a)
		for range 2000 {
			<-a.fired
		}
		if time.Since(start) > time.Second+10*time.Millisecond {
			t.Errorf("the last fired after %s", time.Since(start))
		}
	})
}

func TestTimersOverAnOutageAndAFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, start := newAlarms(), time.Now()
		a.add("retry", "n1", start)
		a.fail["n1"] = fmt.Errorf("%w: away", ledger.ErrUnavailable)
		ring(t, a)
		sleep(3 * time.Second)
		a.mu.Lock()
		delete(a.fail, "n1")
		a.mu.Unlock()
		<-a.fired
		if d := time.Since(start); d > 3250*time.Millisecond {
			t.Errorf("fired %s after the start", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a := newAlarms()
		a.add("retry", "n1", time.Now())
		a.fail["n1"] = &ledger.FencedError{Own: 5, Higher: 6}
		if err := reconcile.NewTimers(a, 5, 0, hclog.NewNullLogger()).Run(t.Context()); !ledger.Fenced(err) {
			t.Errorf("Run returned %v", err)
		}
	})
}
