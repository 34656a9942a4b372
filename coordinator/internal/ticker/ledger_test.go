package ticker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/coordinator/internal/ticker"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// book is the ledger's account of slots, by the rules of its scripts.
type book struct {
	mu      sync.Mutex
	skew    time.Duration // of Redis's clock against real time
	epoch   ids.Epoch
	down    error
	flows   map[ids.FlowID]*account
	calls   int
	started chan ids.FlowID // one value a cycle
}

type account struct {
	uid     uuid.UUID
	rev     int64
	paused  bool
	last    time.Time
	started map[time.Time]int
	late    time.Duration // the worst
	skipped map[string]int64
}

func newBook() *book {
	return &book{flows: map[ids.FlowID]*account{}, started: make(chan ids.FlowID, 100_000)}
}

func (b *book) clock() time.Time { return time.Now().Add(b.skew) }

func (b *book) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func (b *book) refuse(epoch ids.Epoch) error {
	b.calls++
	if b.down != nil {
		return b.down
	}
	if epoch < b.epoch {
		return &ledger.FencedError{Own: epoch, Higher: b.epoch}
	}
	b.epoch = epoch
	return nil
}

func (b *book) Now(context.Context) (time.Time, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clock(), b.down
}

func (b *book) Flow(_ context.Context, f ids.FlowID) (ledger.FlowState, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	a := b.flows[f]
	if b.down != nil || a == nil {
		return ledger.FlowState{}, fmt.Errorf("flow: %w", or(b.down, ledger.ErrGone))
	}
	return ledger.FlowState{UID: a.uid, Revision: a.rev, LastSlot: a.last}, nil
}

func or(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (b *book) StartCycle(_ context.Context, epoch ids.Epoch, s ledger.Start) (ledger.Started, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuse(epoch); err != nil {
		return ledger.Started{}, err
	}
	a := b.flows[s.Plan.Flow]
	switch {
	case a == nil:
		return ledger.Started{}, ledger.ErrGone
	case s.Slot.Equal(a.last) && a.started[s.Slot.UTC()] > 0:
		return ledger.Started{Before: true}, nil
	case !s.Slot.After(a.last):
		return ledger.Started{}, ledger.ErrAccounted
	case a.last.Before(s.Since):
		return ledger.Started{}, ledger.ErrForgotten
	case a.paused:
		return ledger.Started{}, ledger.ErrPaused
	case a.rev != s.Plan.Revision:
		return ledger.Started{}, ledger.ErrStale
	case s.Slot.After(b.clock()):
		return ledger.Started{Ahead: s.Slot.Sub(b.clock())}, nil
	}
	a.last = s.Slot
	a.started[s.Slot.UTC()]++
	a.late = max(a.late, b.clock().Sub(s.Slot))
	b.started <- s.Plan.Flow
	return ledger.Started{Cycle: 1, At: b.clock()}, nil
}

func (b *book) SkipSlots(_ context.Context, epoch ids.Epoch, f ids.FlowID, uid uuid.UUID, known, first, last time.Time, count int64, reason string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuse(epoch); err != nil {
		return err
	}
	a := b.flows[f]
	switch {
	case a == nil || a.uid != uid:
		return ledger.ErrGone
	case !a.last.Before(last):
		return nil
	case !a.last.Before(first):
		return ledger.ErrAccounted
	case a.last.Before(known):
		return ledger.ErrForgotten
	}
	a.last = last
	a.skipped[reason] += count
	return nil
}

// flows is a registry that tests write.
type flows struct {
	mu  sync.Mutex
	all map[ids.FlowID]*registry.Flow
}

func (f *flows) Get(id ids.FlowID) *registry.Flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all[id]
}

func (f *flows) put(flow *registry.Flow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[flow.Record.Flow] = flow
}

func (f *flows) drop(id ids.FlowID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, id)
}

// doc builds a flow whose schedule is the given fields of a document.
func doc(t testing.TB, id string, rev int64, anchor time.Time, fields string) *registry.Flow {
	t.Helper()
	body := fmt.Sprintf(`{"flow_id":%q,"name":"n","nodes":[{"id":"a","type":"delay"}],"edges":[],%s}`, id, fields)
	f, err := registry.Build(catalog.Record{Flow: ids.FlowID(id), UID: uuid.NewSHA1(uuid.Nil, []byte(id)), Revision: rev, Document: json.RawMessage(body), Anchor: anchor})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// install puts a flow into the registry and the book.
func install(b *book, r *flows, f *registry.Flow) *account {
	r.put(f)
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.flows[f.Record.Flow]
	if a == nil || a.uid != f.Record.UID {
		a = &account{uid: f.Record.UID, started: map[time.Time]int{}, skipped: map[string]int64{}}
		b.flows[f.Record.Flow] = a
	}
	a.rev = f.Record.Revision
	return a
}

// lead runs a ticker; stop ends it and returns Run's error.
func lead(t *testing.T, b *book, r *flows, epoch ids.Epoch, ahead time.Duration, change func(*ticker.Config)) (tk *ticker.Ticker, stop func() error) {
	cfg := ticker.Config{Ledger: b, Flows: r, Epoch: epoch, Log: hclog.NewNullLogger(), Now: func() time.Time { return time.Now().Add(ahead) }}
	if change != nil {
		change(&cfg)
	}
	tk = ticker.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tk.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return tk, stop
}

func know(b *book, tk *ticker.Ticker) {
	b.mu.Lock()
	last := map[ids.FlowID]time.Time{}
	for f, a := range b.flows {
		last[f] = a.last
	}
	b.mu.Unlock()
	for f, l := range last {
		tk.Know(f, l)
	}
}

// balance checks that every slot since the anchor is accounted once.
func (b *book) balance(t *testing.T, f *registry.Flow, a *account, pending int64) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var got int64
	for slot, n := range a.started {
		if n != 1 {
			t.Errorf("slot %s made %d cycles", slot, n)
		}
		got++
	}
	for _, n := range a.skipped {
		got += n
	}
	due := b.clock().Sub(f.Record.Anchor())/f.Schedule.Spec().Interval + 1
	if got+pending < int64(due) || got > int64(due) {
		t.Errorf("%d slots are due, %d started, skipped %v", due, len(a.started), a.skipped)
	}
}
