package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/internal/dispatch"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is all that a dispatcher meets: outbox, broker, ledger.
type bench struct {
	mu       sync.Mutex
	waiting  chan []ledger.Entry
	hand     map[string]bool
	back     []string // given back, in order
	sent     []string // queue and task
	flows    []string // those of all nodes that were sent, each with its cycle
	receipts map[string]*taskqueue.Receipt
	publish  error
	planErr  error
	markErr  error
	epochErr error
	checks   int
	carries  bool
	slots    int        // of the workers,
	workers  int        // that have them,
	reads    int        // and how many tasks of one message they read
	marked   [][]string // by call
	dropped  []string
	held     []string
	manual   bool       // receipts are resolved by the test
	ready    [][]string // those of each message that no worker has
	depthErr error      // instead of the depth of the queue,
	deaf     bool       // or no answer at all
	asked    int
	late     time.Duration // each answer is
	// published, when set, is told how many were sent so far.
	published func(n int)
}

func newBench() *bench {
	return &bench{waiting: make(chan []ledger.Entry, 10_000), hand: map[string]bool{}, receipts: map[string]*taskqueue.Receipt{}, carries: true}
}

func (b *bench) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func entry(n int, node string) ledger.Entry {
	return ledger.Entry{ID: fmt.Sprintf("%d-0", n), Kind: ledger.KindReady, Attempt: ids.Attempt{Flow: "f", Cycle: 1, Node: ids.NodeID(node), N: 1}}
}

func batch(n int) []ledger.Entry {
	all := make([]ledger.Entry, n)
	for i := range all {
		all[i] = entry(i+1, "a")
	}
	return all
}

func (b *bench) offer(es ...ledger.Entry) {
	b.set(func() {
		for _, e := range es {
			b.hand[e.ID] = true
		}
	})
	b.waiting <- es
}

func (b *bench) Take(ctx context.Context, _ int) []ledger.Entry {
	select {
	case es := <-b.waiting:
		return es
	case <-ctx.Done():
		return nil
	}
}

func (b *bench) done(entries ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		delete(b.hand, e)
		b.back = append(b.back, e)
	}
}

func (b *bench) Publish(_ context.Context, queue, id string, body []byte) (*taskqueue.Receipt, error) {
	if b.published != nil {
		defer func() { b.published(len(b.sent)) }()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.publish != nil {
		return nil, b.publish
	}
	tasks, err := task.DecodePack(body)
	if err != nil {
		return nil, err
	}
	what := queue
	for _, t := range tasks {
		what += " " + string(t.Node) + " " + t.Type
		b.flows = append(b.flows, fmt.Sprintf("%s%d", t.Flow, t.Cycle))
	}
	b.ready = append(b.ready, b.flows[len(b.flows)-len(tasks):])
	b.sent = append(b.sent, what)
	r := taskqueue.NewReceipt()
	b.receipts[id] = r
	if !b.manual {
		r.Resolve(nil)
	}
	return r, nil
}

func (b *bench) Prefetch(context.Context, []ids.Attempt) {}

func (b *bench) OfCycle(context.Context, ids.Attempt) (*plan.Plan, error) {
	p := &plan.Plan{Nodes: []plan.Node{{ID: "a", Type: "t", Pool: "fast"}, {ID: "b", Type: "t", Pool: "slow"}}}
	b.mu.Lock()
	defer b.mu.Unlock()
	return p.Seal(), b.planErr
}

func (b *bench) Carries(string, string) bool { b.mu.Lock(); defer b.mu.Unlock(); return b.carries }

func (b *bench) Room(string) (slots, workers, pack int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.slots, b.workers, b.reads
}

func (b *bench) Len() int { return len(b.waiting) }

func (b *bench) CheckEpoch(context.Context, ids.Epoch, int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.checks++
	return b.epochErr
}

func (b *bench) Dispatched(_ context.Context, _ ids.Epoch, es []ledger.Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.markErr != nil {
		return b.markErr
	}
	var call []string
	for _, e := range es {
		call = append(call, e.ID)
	}
	b.marked = append(b.marked, call)
	return nil
}

func (b *bench) Drop(_ context.Context, _ ids.Epoch, entries ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropped = append(b.dropped, entries...)
	return b.markErr
}

func (b *bench) Hold(_ context.Context, _ ids.Epoch, e ledger.Entry, waitsFor, blocker string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = append(b.held, e.ID+" "+waitsFor+" "+blocker)
	return b.markErr
}

func run(t *testing.T, b *bench) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- dispatch.Run(ctx, dispatch.Config{Ledger: b, Publisher: b, Plans: b, Fleet: b, Source: b, Done: b.done, Epoch: 5, Prefix: "station", Log: hclog.NewNullLogger()})
	}()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return stop
}

// settled waits until nothing moves, and if need be until marks that wait for others are
// made, and checks how much is kept in hand.
func (b *bench) settled(t *testing.T, inHand int) {
	t.Helper()
	synctest.Wait()
	if b.mu.Lock(); len(b.hand) > inHand {
		b.mu.Unlock()
		<-time.After(10 * time.Millisecond)
		synctest.Wait()
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if len(b.hand) != inHand {
		t.Errorf("%d entries are kept in hand, want %d", len(b.hand), inHand)
	}
}

func TestAnOfferIsPublishedConfirmedAndMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		stop := run(t, b)
		b.offer(entry(1, "a"), entry(2, "b"))
		b.settled(t, 0)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{"station.pool.fast a t", "station.pool.slow b t"}, b.sent); d != "" {
			t.Error(d)
		}
		if got := slices.Concat(b.marked...); !slices.Equal(got, []string{"1-0", "2-0"}) {
			t.Errorf("marked %v", b.marked)
		}
	})
}

func TestManyOffersAreMarkedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.manual = true
		run(t, b)
		for i := range 1000 {
			b.offer(entry(i, "a"))
		}
		b.settled(t, 1000)
		for i := 999; i >= 0; i-- { // the oldest last
			b.receipts[fmt.Sprintf("%d-0", i)].Resolve(nil)
		}
		b.settled(t, 0)
		if all := slices.Concat(b.marked...); len(all) != 1000 || len(b.marked) > 10 {
			t.Errorf("%d offers were marked in %d calls", len(all), len(b.marked))
		}
	})
}

// TestALoneOfferIsMarkedAtOnce, and a stream of them every few milliseconds.
func TestALoneOfferIsMarkedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		run(t, b)
		<-time.After(time.Second)
		b.offer(entry(0, "a"))
		b.settled(t, 0)
		for i := range 20 { // a hop each
			<-time.After(time.Millisecond)
			b.offer(entry(1+i, "a"))
		}
		<-time.After(10 * time.Millisecond)
		b.settled(t, 0)
		if all := slices.Concat(b.marked...); len(all) != 21 || len(b.marked) != 4 {
			t.Errorf("%d offers were marked in %d calls, want 4: one, 10, 10, and none left", len(all), len(b.marked))
		}
	})
}

// TestARefusalDoesNotWaitForMarks to come.
func TestARefusalDoesNotWaitForMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.manual = true
		run(t, b)
		b.offer(entry(1, "a"))
		synctest.Wait()
		b.receipts["1-0"].Resolve(nil)
		b.settled(t, 0)
		b.offer(entry(2, "a"), entry(3, "a"))
		synctest.Wait()
		b.receipts["2-0"].Resolve(nil)
		b.settled(t, 2) // waits for others
		b.receipts["3-0"].Resolve(taskqueue.ErrUnroutable)
		b.settled(t, 1) // its own wait has begun
		<-time.After(100 * time.Millisecond)
		b.settled(t, 0)
	})
}

// TestWhatWentWrongIsGivenBack and never marked.
func TestWhatWentWrongIsGivenBack(t *testing.T) {
	for name, break_ := range map[string]func(b *bench){
		"no connection":        func(b *bench) { b.publish = taskqueue.ErrDisconnected },
		"redis away for plans": func(b *bench) { b.planErr = ledger.ErrUnavailable },
		"redis away for marks": func(b *bench) { b.markErr = ledger.ErrUnavailable },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				break_(b)
				run(t, b)
				b.offer(entry(1, "a"))
				b.settled(t, 0)
				if len(b.marked) > 0 || len(b.back) != 1 {
					t.Errorf("marked %v, given back %v", b.marked, b.back)
				}
			})
		})
	}
	t.Run("returned", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench()
			b.manual = true
			run(t, b)
			b.offer(entry(1, "a"), entry(2, "a"), entry(3, "a"))
			b.settled(t, 3)
			b.receipts["1-0"].Resolve(taskqueue.ErrUnroutable)
			b.receipts["2-0"].Resolve(nil)
			b.receipts["3-0"].Resolve(taskqueue.ErrUnconfirmed)
			b.settled(t, 2)
			<-time.After(100 * time.Millisecond) // refused ones wait, so that a queue in trouble is not asked as fast as it refuses
			b.settled(t, 0)
			if got := slices.Concat(b.marked...); !slices.Equal(got, []string{"2-0"}) {
				t.Errorf("marked %v", got)
			}
		})
	})
}

// TestReceiptsThatNeverCome are given up after one patience, all of them; what is
// published then is waited for longer, up to a bound.
func TestReceiptsThatNeverCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.manual = true
		run(t, b)
		for i := range 50 {
			b.offer(entry(i, "a"))
		}
		<-time.After(5*time.Second + 100*time.Millisecond)
		b.settled(t, 0)
		for i, wait := range []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second, 30 * time.Second} {
			b.offer(entry(100+i, "a"))
			<-time.After(wait - time.Millisecond)
			b.settled(t, 1)
			<-time.After(time.Millisecond + 100*time.Millisecond)
			b.settled(t, 0)
		}
	})
}

func TestWhatHasNoPlaceIsSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		run(t, b)
		b.set(func() { b.carries = false })
		b.offer(entry(1, "a"))
		b.settled(t, 0)
		b.set(func() { b.carries = true })
		b.offer(entry(2, "not there"))
		b.settled(t, 0)
		b.set(func() { b.planErr = fmt.Errorf("cycle: %w", ledger.ErrGone) })
		b.offer(entry(3, "a"))
		b.settled(t, 0)
		if d := cmp.Diff([]string{"1-0 type:fast:t no_worker"}, b.held); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]string{"2-0", "3-0"}, b.dropped); d != "" {
			t.Error(d)
		}
	})
}

// TestAFenceEndsTheEpoch wherever it is met.
func TestAFenceEndsTheEpoch(t *testing.T) {
	fence := &ledger.FencedError{Own: 5, Higher: 6}
	for name, set := range map[string]func(b *bench){
		"mark": func(*bench) {}, "drop": func(b *bench) { b.planErr = ledger.ErrGone }, "hold": func(b *bench) { b.carries = false },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				b.markErr = fence
				set(b)
				b.offer(entry(1, "a"))
				err := dispatch.Run(t.Context(), dispatch.Config{Ledger: b, Publisher: b, Plans: b, Fleet: b, Source: b, Done: b.done, Epoch: 5, Log: hclog.NewNullLogger()})
				var f *ledger.FencedError
				if !errors.As(err, &f) {
					t.Errorf("Run returned %v", err)
				}
			})
		})
	}
}

// TestWithoutTrustTheEpochIsCheckedFirst: whoever may have been deposed asks
// before it publishes, since a message can't be fenced.
func TestWithoutTrustTheEpochIsCheckedFirst(t *testing.T) {
	for _, c := range []struct {
		trusted bool
		epoch   error
		sent    int
		fenced  bool
	}{
		{true, &ledger.FencedError{Own: 5, Higher: 6}, 1, false},
		{false, nil, 1, false},
		{false, ledger.ErrUnavailable, 0, false},
		{false, &ledger.FencedError{Own: 5, Higher: 6}, 0, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench()
			b.epochErr = c.epoch
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- dispatch.Run(ctx, dispatch.Config{Ledger: b, Publisher: b, Plans: b, Fleet: b, Source: b, Done: b.done, Epoch: 5,
					Trusted: func() bool { return c.trusted }, Log: hclog.NewNullLogger()})
			}()
			b.offer(entry(1, "a"))
			b.settled(t, 0)
			cancel()
			if err := <-done; ledger.Fenced(err) != c.fenced || len(b.sent) != c.sent {
				t.Errorf("%+v: sent %v, %v", c, b.sent, err)
			}
		})
	}
}

// TestALeaderThatWakesPublishesNothing: one that was stopped in the middle of a
// batch, for longer than its lease, holds the rest back, and says how much.
func TestALeaderThatWakesPublishesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		var trusted atomic.Bool
		trusted.Store(true)
		b.offer(batch(7)...)
		b.published = func(n int) {
			if n == 3 { // stopped here: meanwhile another was elected and has written
				time.Sleep(time.Minute)
				trusted.Store(false)
				b.set(func() { b.epochErr = &ledger.FencedError{Verb: "check_epoch", Own: 5, Higher: 6} })
			}
		}
		held := 0
		err := dispatch.Run(t.Context(), dispatch.Config{Ledger: b, Publisher: b, Plans: b, Fleet: b, Source: b, Done: b.done, Epoch: 5,
			Trusted: trusted.Load, Log: hclog.NewNullLogger(), HeldBack: func(n int) { held += n }})
		if !ledger.Fenced(err) || len(b.sent) != 3 || held != 4 {
			t.Errorf("sent %v, held back %d, %v", b.sent, held, err)
		}
	})
}

// TestAConfirmedEpochServesAMoment: without trust each offer would else cost a
// round trip.
func TestAConfirmedEpochServesAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.offer(batch(100)...)
		b.published = func(int) { time.Sleep(time.Millisecond) }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- dispatch.Run(ctx, dispatch.Config{Ledger: b, Publisher: b, Plans: b, Fleet: b, Source: b, Done: b.done, Epoch: 5,
				Trusted: func() bool { return false }, Log: hclog.NewNullLogger()})
		}()
		time.Sleep(time.Second)
		cancel()
		if err := <-done; err != nil || len(b.sent) != 100 || b.checks != 5 {
			t.Errorf("sent %d with %d checks of the epoch, %v", len(b.sent), b.checks, err)
		}
	})
}

// TestTheEndDoesNotWaitForReceipts, not even with the window full.
func TestTheEndDoesNotWaitForReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.manual = true
		stop := run(t, b)
		for i := range 5000 {
			b.offer(entry(i, "a"))
		}
		synctest.Wait()
		start := time.Now()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("the end took %s", d)
		}
	})
}
