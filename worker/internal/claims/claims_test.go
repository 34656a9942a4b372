package claims_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/worker/internal/claims"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const lease = 10 * time.Second

// book answers heartbeats. Its fields are read under mu.
type book struct {
	mu     sync.Mutex
	answer ledger.Beat
	err    error
	hang   chan struct{} // when set, a beat waits for it, or for its context
	beats  []int         // claims per beat
	out    int           // beats that wait for their answer now
	most   int           // of out
}

func (b *book) Heartbeat(ctx context.Context, _ ids.WorkerID, _ time.Duration, held []ledger.HeldClaim) ([]ledger.Beat, error) {
	b.mu.Lock()
	b.beats = append(b.beats, len(held))
	b.out++
	b.most = max(b.most, b.out)
	answer, err, hang := b.answer, b.err, b.hang
	b.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.out--
	out := make([]ledger.Beat, len(held))
	for i := range out {
		out[i] = answer
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (b *book) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *book) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.beats)
}

// keep runs a keeper inside a bubble.
func keep(t *testing.T, b *book, test func(t *testing.T, k *claims.Keeper)) {
	synctest.Test(t, func(t *testing.T) {
		k := claims.NewKeeper(claims.Config{Ledger: b, Worker: "w", Lease: lease, Log: hclog.NewNullLogger()})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		test(t, k)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func hold(t *testing.T, k *claims.Keeper) (context.Context, func()) {
	return k.Hold(t.Context(), ids.Attempt{Flow: "f", Cycle: 1, Node: "n", N: 1}, uuid.New(), time.Now())
}

func pass(d time.Duration) { <-time.After(d); synctest.Wait() }

// lost requires that ctx ends with cause within the time given, and not before.
func lost(t *testing.T, ctx context.Context, cause error, from, to time.Duration) {
	t.Helper()
	began := time.Now()
	select {
	case <-ctx.Done():
	case <-time.After(time.Hour):
		t.Fatal("the context does not end")
	}
	if took := time.Since(began); took < from || took > to {
		t.Errorf("the context ended after %s, want %s to %s", took, from, to)
	}
	if !errors.Is(context.Cause(ctx), cause) {
		t.Errorf("cause is %v, want %v", context.Cause(ctx), cause)
	}
}

// TestRenew: a claim is kept as long as it is held, and beats stop with the last.
func TestRenew(t *testing.T) {
	b := &book{answer: ledger.Renewed}
	keep(t, b, func(t *testing.T, k *claims.Keeper) {
		ctx, drop := hold(t, k)
		pass(10 * time.Minute)
		if ctx.Err() != nil {
			t.Fatalf("ended: %v", context.Cause(ctx))
		}
		if got, want := b.count(), int(10*time.Minute/(lease/5)); got < want*4/5 || got > want {
			t.Errorf("%d beats in 10 minutes, want about %d", got, want)
		}
		drop()
		pass(time.Second)
		before := b.count()
		pass(10 * time.Minute)
		if got := b.count(); got != before {
			t.Errorf("%d beats without a claim", got-before)
		}
		if k.Busy() != 0 {
			t.Errorf("%d claims are held", k.Busy())
		}
	})
}

// TestIdleBusy: however claims come and go, one that is held is renewed.
func TestIdleBusy(t *testing.T) {
	b := &book{answer: ledger.Renewed}
	keep(t, b, func(t *testing.T, k *claims.Keeper) {
		for i := range 50 {
			for range i % 4 { // short ones before
				_, drop := hold(t, k)
				drop()
			}
			ctx, drop := hold(t, k)
			second, dropSecond := hold(t, k)
			pass(time.Duration(i) * 130 * time.Millisecond)
			drop()
			pass(3 * lease)
			if second.Err() != nil {
				t.Fatalf("round %d: ended: %v", i, context.Cause(second))
			}
			dropSecond()
			if ctx.Err() == nil {
				t.Fatal("a dropped claim's context goes on")
			}
			pass(time.Duration(i%7) * 210 * time.Millisecond)
		}
	})
}

// TestFence: without an answer a claim ends one lease less the margin after the
// last beat that was answered was sent.
func TestFence(t *testing.T) {
	for name, silence := range map[string]func(*book){
		"errors": func(b *book) { b.err = ledger.ErrUnavailable },
		"hangs":  func(b *book) { b.hang = make(chan struct{}) },
	} {
		t.Run(name, func(t *testing.T) {
			b := &book{answer: ledger.Renewed}
			keep(t, b, func(t *testing.T, k *claims.Keeper) {
				ctx, drop := hold(t, k)
				defer drop()
				pass(7*time.Second + time.Millisecond) // beats at 2, 4 and 6 s
				b.set(func() { silence(b) })
				// 6 s + 9 s, seen within a twentieth of the lease.
				lost(t, ctx, claims.ErrLost, 7900*time.Millisecond, 8600*time.Millisecond)
				pass(time.Minute)
				b.set(func() {
					if b.most != 1 {
						t.Errorf("%d beats were out at once", b.most)
					}
				})
			})
		})
	}
}

// TestLateAnswer: an answer counts from when its beat was sent.
func TestLateAnswer(t *testing.T) {
	b := &book{answer: ledger.Renewed}
	keep(t, b, func(t *testing.T, k *claims.Keeper) {
		ctx, drop := hold(t, k)
		defer drop()
		hang := make(chan struct{})
		b.set(func() { b.hang = hang })
		pass(6 * time.Second) // the beat of 2 s is out
		b.set(func() { b.hang, b.err = nil, ledger.ErrUnavailable })
		close(hang)
		lost(t, ctx, claims.ErrLost, 4900*time.Millisecond, 5600*time.Millisecond) // at 2 s + 9 s
	})
}

// TestStale: a claim whose grant took longer than its lease never begins.
func TestStale(t *testing.T) {
	keep(t, &book{answer: ledger.Renewed}, func(t *testing.T, k *claims.Keeper) {
		ctx, drop := k.Hold(t.Context(), ids.Attempt{Node: "n"}, uuid.New(), time.Now().Add(-lease))
		defer drop()
		lost(t, ctx, claims.ErrLost, 0, 0)
	})
}

// TestRenewedAfterFence: a fenced claim is renewed, so that its result may wait
// for the ledger, but its attempt stays ended.
func TestRenewedAfterFence(t *testing.T) {
	b := &book{answer: ledger.Renewed, err: ledger.ErrUnavailable}
	keep(t, b, func(t *testing.T, k *claims.Keeper) {
		ctx, drop := hold(t, k)
		defer drop()
		lost(t, ctx, claims.ErrLost, 0, lease)
		b.set(func() { b.err, b.beats = nil, nil })
		pass(time.Minute)
		if got := b.count(); got < 20 {
			t.Errorf("%d beats in a minute", got)
		}
		if !errors.Is(context.Cause(ctx), claims.ErrLost) {
			t.Errorf("cause is %v", context.Cause(ctx))
		}
	})
}

// TestTold: the ledger's word ends an attempt at the next beat. What is lost is
// not renewed any more, what is cancelled is until it is dropped.
func TestTold(t *testing.T) {
	for answer, want := range map[ledger.Beat]struct {
		cause error
		beats bool
	}{ledger.Lost: {claims.ErrLost, false}, ledger.Cancel: {claims.ErrCancelled, true}} {
		b := &book{answer: answer}
		keep(t, b, func(t *testing.T, k *claims.Keeper) {
			ctx, drop := hold(t, k)
			defer drop()
			lost(t, ctx, want.cause, 0, 3*time.Second)
			pass(time.Second)
			b.set(func() { b.beats = nil })
			pass(time.Minute)
			if got := b.count(); (got > 0) != want.beats {
				t.Errorf("after %v: %d beats in a minute", want.cause, got)
			}
		})
	}
}
