package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/internal/outbox"
	"github.com/tradingflow/weather-station/shared/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stream is an outbox in memory.
type stream struct {
	mu      sync.Mutex
	list    []ledger.Entry
	changed chan struct{}
	down    error
	reads   int
	during  func() // runs between a read of the whole and its answer
}

func newStream() *stream { return &stream{changed: make(chan struct{})} }

func (s *stream) add(kind ledger.Kind, ids ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.list = append(s.list, ledger.Entry{ID: name(id), Kind: kind})
	}
	slices.SortFunc(s.list, func(a, b ledger.Entry) int { return number(a.ID) - number(b.ID) })
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *stream) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(e ledger.Entry) bool { return e.ID == id })
}

func (s *stream) setDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func name(n int) string    { return strconv.Itoa(n) + "-0" }
func number(id string) int { n, _ := strconv.Atoi(id[:len(id)-2]); return n }
func after(id string) int {
	if id == "" {
		return -1
	}
	return number(id)
}
func ids(es []ledger.Entry) (out []string) {
	for _, e := range es {
		out = append(out, e.ID)
	}
	return out
}

func (s *stream) Outbox(_ context.Context, from string, count int64) ([]ledger.Entry, error) {
	s.mu.Lock()
	var out []ledger.Entry
	for _, e := range s.list {
		if number(e.ID) > after(from) && int64(len(out)) < count {
			out = append(out, e)
		}
	}
	s.reads++
	err, during := s.down, s.during
	s.mu.Unlock()
	if during != nil {
		during()
	}
	return out, err
}

func (s *stream) WaitOutbox(ctx context.Context, from string, count int64, block time.Duration) ([]ledger.Entry, error) {
	over := time.NewTimer(block)
	defer over.Stop()
	for {
		s.mu.Lock()
		changed, down := s.changed, s.down
		var out []ledger.Entry
		for _, e := range s.list {
			if number(e.ID) > after(from) && int64(len(out)) < count {
				out = append(out, e)
			}
		}
		s.mu.Unlock()
		if down != nil || len(out) > 0 {
			return out, down
		}
		select {
		case <-changed:
		case <-over.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// run starts a reader with one queue for ready and one for the rest.
func run(t *testing.T, s *stream) (r *outbox.Reader, ready, rest *outbox.Queue) {
	r = outbox.New(outbox.Config{Ledger: s, Log: hclog.NewNullLogger()})
	ready, rest = r.Route(ledger.KindReady), r.Route(ledger.KindClosed, ledger.KindTimer)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r, ready, rest
}

// took takes what a queue has within a moment.
func took(t *testing.T, q *outbox.Queue, wait time.Duration) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	return ids(q.Take(ctx, 10_000))
}

func TestEachEntryGoesToItsQueueOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		s.add(ledger.KindReady, 1, 3)
		s.add(ledger.KindTimer, 2)
		_, ready, rest := run(t, s)
		synctest.Wait()
		s.add(ledger.KindClosed, 4)
		synctest.Wait()
		if d := cmp.Diff([]string{"1-0", "3-0"}, took(t, ready, time.Millisecond)); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]string{"2-0", "4-0"}, took(t, rest, time.Millisecond)); d != "" {
			t.Error(d)
		}
		if again := append(took(t, ready, 5*time.Second), took(t, rest, time.Second)...); again != nil {
			t.Errorf("entries in hand are handed out again: %v", again)
		}
	})
}

// TestAnEntryGivenBackComesAgain, within one pass, whoever took it.
func TestAnEntryGivenBackComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		s.add(ledger.KindReady, 1, 2)
		r, ready, _ := run(t, s)
		first := took(t, ready, time.Second)
		s.remove("2-0")
		r.Done(first...)
		start := time.Now()
		if d := cmp.Diff([]string{"1-0"}, took(t, ready, 3*time.Second)); d != "" {
			t.Error(d)
		}
		if late := time.Since(start); late > 1100*time.Millisecond {
			t.Errorf("it came %s later", late)
		}
		if n := r.InHand(); n != 1 {
			t.Errorf("%d entries are in hand, want 1", n)
		}
	})
}

// TestAnEntryDoneDuringAReadIsNotHandedOutAgain: the read shows it, but it is
// gone by the time the answer is looked at.
func TestAnEntryDoneDuringAReadIsNotHandedOutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		s.add(ledger.KindClosed, 1)
		r, _, rest := run(t, s)
		if d := cmp.Diff([]string{"1-0"}, took(t, rest, time.Second)); d != "" {
			t.Fatal(d)
		}
		once := sync.OnceFunc(func() {
			s.remove("1-0")
			r.Done("1-0")
		})
		s.mu.Lock()
		s.during = once
		s.mu.Unlock()
		if again := took(t, rest, 5*time.Second); again != nil {
			t.Errorf("the end of a cycle is told twice: %v", again)
		}
		if n := r.InHand(); n != 0 {
			t.Errorf("%d entries are in hand, want none", n)
		}
	})
}

// TestEntriesBelowTheCursorAreFound: after Redis went back in time new entries
// may sort below what was read already.
func TestEntriesBelowTheCursorAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		s.add(ledger.KindReady, 100)
		_, ready, _ := run(t, s)
		took(t, ready, time.Second)
		s.add(ledger.KindReady, 7)
		start := time.Now()
		if d := cmp.Diff([]string{"7-0"}, took(t, ready, 3*time.Second)); d != "" {
			t.Error(d)
		}
		if late := time.Since(start); late > 1100*time.Millisecond {
			t.Errorf("it came %s later", late)
		}
	})
}

// TestAnOutageIsWaitedOut and told once; nothing spins meanwhile.
func TestAnOutageIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		s.setDown(errors.New("away"))
		_, ready, _ := run(t, s)
		if got := took(t, ready, 10*time.Second); got != nil {
			t.Errorf("got %v from a ledger that is away", got)
		}
		s.mu.Lock()
		reads := s.reads
		s.mu.Unlock()
		if reads > 250 {
			t.Errorf("%d reads in 10 s of outage", reads)
		}
		s.add(ledger.KindReady, 1)
		s.setDown(nil)
		start := time.Now()
		if d := cmp.Diff([]string{"1-0"}, took(t, ready, time.Second)); d != "" {
			t.Error(d)
		}
		if late := time.Since(start); late > 100*time.Millisecond {
			t.Errorf("it came %s after the ledger was back", late)
		}
	})
}

func TestUnknownKindsAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		s.add("of tomorrow", 1)
		s.add(ledger.KindReady, 2)
		_, ready, rest := run(t, s)
		if d := cmp.Diff([]string{"2-0"}, took(t, ready, 3*time.Second)); d != "" {
			t.Error(d)
		}
		if got := took(t, rest, time.Second); got != nil {
			t.Errorf("an unknown kind went to %v", got)
		}
		if len(s.list) != 2 {
			t.Error("an entry was removed")
		}
	})
}

// TestAFullOutboxIsReadInPages and shared by several takers.
func TestAFullOutboxIsReadInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all = 3_500
		s := newStream()
		for i := range all {
			s.list = append(s.list, ledger.Entry{ID: name(i), Kind: ledger.KindReady})
		}
		_, ready, _ := run(t, s)
		got := make(chan string, all)
		ctx, cancel := context.WithCancel(t.Context())
		var takers sync.WaitGroup
		for range 8 {
			takers.Go(func() {
				for ctx.Err() == nil {
					for _, e := range ready.Take(ctx, 7) {
						got <- e.ID
					}
				}
			})
		}
		seen := map[string]bool{}
		for range all {
			seen[<-got] = true
		}
		cancel()
		takers.Wait()
		if len(seen) != all || len(got) != 0 {
			t.Errorf("%d of %d entries, %d more", len(seen), all, len(got))
		}
	})
}

// TestWhatIsNewDoesNotWaitForAPass: it is handed out between two pages of it.
func TestWhatIsNewDoesNotWaitForAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pages, more = 10, 20_000
		s := newStream()
		for i := range pages * 1000 {
			s.list = append(s.list, ledger.Entry{ID: name(i), Kind: ledger.KindReady})
		}
		_, ready, rest := run(t, s)
		synctest.Wait()
		if n := ready.Len(); n != pages*1000 {
			t.Fatalf("%d entries are handed out", n)
		}
		s.mu.Lock()
		reads, came := 0, 0 // of the next pass
		s.during = func() {
			reads++
			if reads == 2 {
				s.add(ledger.KindTimer, more)
			}
			if came == 0 && rest.Len() > 0 {
				came = reads
			}
		}
		s.mu.Unlock()
		<-time.After(1100 * time.Millisecond)
		synctest.Wait()
		if d := cmp.Diff([]string{name(more)}, took(t, rest, time.Millisecond)); d != "" {
			t.Error(d)
		}
		if came == 0 || came > 5 || reads < pages {
			t.Errorf("it came with read %d of %d", came, reads)
		}
	})
}

// TestMoreThanIsHandedOut stays where it is until there is room, whoever else has some.
func TestMoreThanIsHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		s.add(ledger.KindReady, 1, 2, 3, 4, 5)
		s.add(ledger.KindTimer, 6)
		r := outbox.New(outbox.Config{Ledger: s, Log: hclog.NewNullLogger(), Most: 3})
		ready, rest := r.Route(ledger.KindReady), r.Route(ledger.KindTimer)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		if d := cmp.Diff([]string{"6-0"}, took(t, rest, time.Millisecond)); d != "" {
			t.Error(d)
		}
		first := took(t, ready, 3*time.Second)
		if d := cmp.Diff([]string{"1-0", "2-0", "3-0"}, first); d != "" {
			t.Error(d)
		}
		for _, id := range first[:2] {
			s.remove(id)
			r.Done(id)
		}
		if d := cmp.Diff([]string{"4-0", "5-0"}, took(t, ready, 3*time.Second)); d != "" {
			t.Error(d)
		}
		cancel()
		<-done
	})
}

// TestALongPassIsMadeLessOften, but often enough.
func TestALongPassIsMadeLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		s.during = func() { time.Sleep(300 * time.Millisecond) }
		_, ready, _ := run(t, s)
		took(t, ready, 33*time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.reads < 9 || s.reads > 11 { // every 3.3 s
			t.Errorf("%d passes in 33 s, each of 0.3 s", s.reads)
		}
	})
}

func BenchmarkRouting(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			s := newStream()
			r := outbox.New(outbox.Config{Ledger: s, Log: hclog.NewNullLogger()})
			q := r.Route(ledger.KindReady)
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx) }()
			batch, next := make([]ledger.Entry, n), 0
			for b.Loop() {
				for i := range batch {
					batch[i] = ledger.Entry{ID: name(next), Kind: ledger.KindReady}
					next++
				}
				s.mu.Lock()
				s.list = append(s.list[:0], batch...)
				close(s.changed)
				s.changed = make(chan struct{})
				s.mu.Unlock()
				for left := n; left > 0; {
					got := q.Take(ctx, left)
					r.Done(ids(got)...)
					left -= len(got)
				}
			}
			cancel()
			<-done
		})
	}
}
