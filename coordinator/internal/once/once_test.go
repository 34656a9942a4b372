package once

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

var occasion = uuid.MustParse("11111111-2222-5333-8444-555555555555")

func key(node ids.NodeID) Key { return Key{Flow: "f", Occasion: occasion, Node: node} }

func take(t *testing.T, s *Store, k Key, token uuid.UUID, want error) {
	t.Helper()
	if err := s.Take(t.Context(), k, token); !errors.Is(err, want) {
		t.Fatalf("take %v: %v, want %v", k, err, want)
	}
}

func TestOneTokenTakesTheKey(t *testing.T) {
	s, own := open(t), uuid.New()
	take(t, s, key("a"), own, nil)
	take(t, s, key("a"), own, nil) // asking again is harmless
	take(t, s, key("a"), uuid.New(), ErrTaken)
	take(t, s, key("a"), own, nil)
	for _, other := range []Key{key("b"), {Flow: "g", Occasion: occasion, Node: "a"}, {Flow: "f", Occasion: uuid.New(), Node: "a"}} {
		take(t, s, other, uuid.New(), nil)
	}
}

// Any number of claimants ask at once, each several times: one is granted, and
// granted each time.
func TestConcurrentClaimants(t *testing.T) {
	s := open(t)
	for round := range 20 {
		k := key(ids.NodeID(fmt.Sprint("n", round)))
		var granted, whole, asked atomic.Int64
		var all sync.WaitGroup
		for range 8 {
			token := uuid.New()
			all.Go(func() {
				var mine atomic.Int64
				var each sync.WaitGroup
				for range 3 {
					each.Go(func() {
						asked.Add(1)
						if err := s.Take(t.Context(), k, token); err == nil {
							mine.Add(1)
						} else if !errors.Is(err, ErrTaken) {
							t.Error(err)
						}
					})
				}
				each.Wait()
				if mine.Load() > 0 {
					granted.Add(1)
				}
				if mine.Load() == 3 {
					whole.Add(1)
				}
			})
		}
		all.Wait()
		if granted.Load() != 1 || whole.Load() != 1 || asked.Load() != 24 {
			t.Fatalf("round %d: %d tokens were granted, %d of them each time, of %d calls", round, granted.Load(), whole.Load(), asked.Load())
		}
	}
}

// What nobody can read was made by somebody.
func TestAKeyThatCannotBeReadIsTaken(t *testing.T) {
	s := open(t)
	for i, v := range []string{"", "{", `{"token":"x"}`, `{"token":"00000000-0000-0000-0000-000000000000"}`, `[]`} {
		k := key(ids.NodeID(fmt.Sprint("n", i)))
		if _, err := s.client.Put(t.Context(), s.key(k), v); err != nil {
			t.Fatal(err)
		}
		take(t, s, k, uuid.New(), ErrTaken)
		take(t, s, k, uuid.Nil, ErrTaken)
	}
}

func TestAwayIsNoAnswer(t *testing.T) {
	s, err := New(Config{Client: dial(t, "127.0.0.1:1"), Prefix: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var away *Unavailable
	if err := s.Take(t.Context(), key("a"), uuid.New()); !errors.As(err, &away) {
		t.Errorf("take: %v", err)
	}
	if _, _, err := s.Look(t.Context(), key("a")); !errors.As(err, &away) {
		t.Errorf("look: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Take(ctx, key("a"), uuid.New()); !errors.Is(err, context.Canceled) || errors.As(err, &away) {
		t.Errorf("take by a caller that gave up: %v", err)
	}
}

func TestConfig(t *testing.T) {
	_, err := New(Config{})
	if err == nil || !strings.Contains(err.Error(), "Client") || !strings.Contains(err.Error(), "Prefix") {
		t.Errorf("got %v; want both faults", err)
	}
}

// book is what the ledger says of cycles and eras.
type book struct {
	mu    sync.Mutex
	known map[ids.FlowID]map[uuid.UUID]bool
	asked []ids.FlowID
	err   error
	cycle ledger.CycleState
	era   string
	since time.Time
	told  chan struct{}
}

func (b *book) Occasions(_ context.Context, f ids.FlowID) (map[uuid.UUID]bool, error) {
	b.asked = append(b.asked, f)
	return b.known[f], b.err
}

func (b *book) Cycle(context.Context, ids.FlowID, int64) (ledger.CycleState, error) {
	return b.cycle, b.err
}

func (b *book) OnceEra(_ context.Context, _ ids.Epoch, era string) (time.Time, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return time.Time{}, b.err
	}
	if b.era != era {
		b.era, b.since = era, b.since.Add(time.Hour)
		if b.told != nil {
			close(b.told)
			b.told = nil
		}
	}
	return b.since, nil
}

func TestSweep(t *testing.T) {
	s := open(t)
	now := time.UnixMilli(1_000_000_000)
	s.now = func() time.Time { return now }
	kept, gone := uuid.New(), uuid.New()
	for _, f := range []ids.FlowID{"f", "g"} {
		take(t, s, Key{Flow: f, Occasion: kept, Node: "a"}, uuid.New(), nil)
		for i := range page + 3 { // more than is read, and removed, at once
			take(t, s, Key{Flow: f, Occasion: gone, Node: ids.NodeID(fmt.Sprint("n", i))}, uuid.New(), nil)
		}
	}
	if _, err := s.client.Put(t.Context(), s.keys()+"what is this", "?"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Era(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := &book{known: map[ids.FlowID]map[uuid.UUID]bool{"f": {kept: true}, "g": {kept: true}}}
	w := &Sweeper{Store: s, Cycles: b, Keep: time.Hour, Log: hclog.NewNullLogger()}
	sweep := func(removed, left int) {
		t.Helper()
		r, l, err := w.Sweep(t.Context())
		if err != nil || r != removed || l != left {
			t.Fatalf("removed %d, left %d, %v; want %d and %d", r, l, err, removed, left)
		}
	}
	all := 2 * (1 + page + 3)
	sweep(0, all+1) // young
	if len(b.asked) != 0 {
		t.Errorf("the ledger was asked of %v for young keys", b.asked)
	}
	now = now.Add(time.Hour + time.Millisecond)
	take(t, s, Key{Flow: "f", Occasion: gone, Node: "young"}, uuid.New(), nil)
	b.err = ledger.ErrUnavailable
	if r, _, err := w.Sweep(t.Context()); !errors.Is(err, ledger.ErrUnavailable) || r != 0 {
		t.Fatalf("without the ledger's word %d keys went: %v", r, err)
	}
	b.err = nil
	w.Mine = func(f ids.FlowID) bool { return f == "f" } // g's cycles are another partition's
	sweep(page+3, 4+page+3)
	w.Mine = nil
	sweep(page+3, 4)
	sweep(0, 4)
	take(t, s, Key{Flow: "f", Occasion: kept, Node: "a"}, uuid.New(), ErrTaken)
	take(t, s, Key{Flow: "f", Occasion: gone, Node: "young"}, uuid.New(), ErrTaken)
	b.known = nil // the flows are removed, cycles and all
	sweep(2, 2)
	if _, era, err := s.Look(t.Context(), key("a")); err != nil || era == "" {
		t.Errorf("the era is %q: %v", era, err)
	}
}

func TestWitness(t *testing.T) {
	s := open(t)
	claimed := time.UnixMilli(5_000_000)
	a := ids.Attempt{Flow: "f", Cycle: 3, UUID: uuid.New(), Node: "a", N: 1}
	b := &book{cycle: ledger.CycleState{Flow: "f", Cycle: 3, UUID: a.UUID, Occasion: occasion}, since: time.UnixMilli(0).Add(-time.Hour)}
	w := &Witness{Store: s, Ledger: b, Epoch: 1}
	unstarted := func(want bool, wantErr error) {
		t.Helper()
		got, err := w.Unstarted(t.Context(), a, claimed)
		if got != want || !errors.Is(err, wantErr) {
			t.Fatalf("unstarted: %v, %v; want %v, %v", got, err, want, wantErr)
		}
	}
	unstarted(false, nil) // this etcd was never asked before: it may be new
	first, err := w.tell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.tell(t.Context()); err != nil || again != first {
		t.Fatalf("the era was %s and is %s: %v", first, again, err)
	}
	unstarted(true, nil)
	b.since = claimed // the ledger has known this etcd only since then
	unstarted(false, nil)
	b.since = claimed.Add(-time.Second)
	unstarted(true, nil)
	take(t, s, Key{Flow: "f", Occasion: occasion, Node: "a"}, uuid.New(), nil)
	unstarted(false, nil)
	if _, err := s.client.Delete(t.Context(), s.prefix+"/", deleteAll); err != nil { // as if it were rebuilt
		t.Fatal(err)
	}
	unstarted(false, nil)
	b.told = make(chan struct{})
	told, ctx := b.told, t.Context()
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	<-told
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if b.era == first {
		t.Error("a rebuilt etcd has the era of before")
	}
	unstarted(false, nil)               // claimed before the new era was told
	b.since = claimed.Add(-time.Second) // and after
	unstarted(true, nil)
	b.err = ledger.ErrUnavailable
	unstarted(false, ledger.ErrUnavailable)
	b.err = nil
	b.cycle.UUID = uuid.New()
	unstarted(false, ledger.ErrGone)
	b.err = &ledger.FencedError{Own: 1, Higher: 2}
	if err := w.Run(t.Context()); !ledger.Fenced(err) {
		t.Errorf("Run returned %v", err)
	}
}

// BenchmarkTake is what an at-most-once node waits for in etcd.
func BenchmarkTake(b *testing.B) {
	s, token := open(b), uuid.New()
	for i := 0; b.Loop(); i++ {
		if err := s.Take(b.Context(), key(ids.NodeID(fmt.Sprint("n", i))), token); err != nil {
			b.Fatal(err)
		}
	}
}
