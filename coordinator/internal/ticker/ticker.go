// Package ticker turns slots into cycles while this coordinator leads. One loop
// holds every flow's next slot in a heap and sleeps until the earliest; a small
// set of starters carries out what package schedule decides.
//
// Only the ledger knows which slots are accounted. The ticker learns the last one
// of each flow when the leadership begins and after every refusal, so a slot that
// an earlier leader started is met with a refusal and never doubled, and what was
// missed between two leaders is started or skipped with its reason, by the flow's
// catch-up policy. Redis may go back in time under a leader and forget slots that
// it was told of; a call that names the last slot known to be accounted meets a
// refusal then, and the flow is looked at anew from what Redis still knows. What is
// due is told by an estimate of the ledger's clock, and a slot that lies ahead of that
// clock waits for it: this machine's own plays no part.
package ticker

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/coordinator/internal/plans"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Ledger is what the ticker reads and writes.
type Ledger interface {
	Now(ctx context.Context) (time.Time, error)
	Flow(ctx context.Context, f ids.FlowID) (ledger.FlowState, error)
	StartCycle(ctx context.Context, epoch ids.Epoch, s ledger.Start) (ledger.Started, error)
	SkipSlots(ctx context.Context, epoch ids.Epoch, f ids.FlowID, uid uuid.UUID, known, first, last time.Time, count int64, reason string) error
}

// Flows is the registry as the ticker uses it.
type Flows interface {
	Get(id ids.FlowID) *registry.Flow
}

// Config of a Ticker.
type Config struct {
	Ledger   Ledger
	Flows    Flows
	Epoch    ids.Epoch
	Log      hclog.Logger
	Starters int                                  // cycles started at once; 32 when 0
	Started  func(p *plan.Plan, s ledger.Started) // a cycle began; may be nil
	Blocked  func() string                        // why no cycle may start now; "" = they may; may be nil
	Missing  func(f ids.FlowID)                   // the ledger has lost this flow; may be nil
	Late     func(d time.Duration)                // lateness of each started slot; may be nil
	Now      func() time.Time                     // the ledger's clock, near enough; nil = time.Now
}

// Ticker is made anew for each leadership.
type Ticker struct {
	cfg  Config
	wake chan struct{}
	work chan *state

	mu    sync.Mutex
	heap  slots
	flows map[ids.FlowID]*state
	wall  time.Time // the clock at the last look at it, and
	mono  time.Time // the time that no setting of it changes
	down  bool      // the last call of the ledger failed, and that was told
}

// New makes a ticker.
func New(cfg Config) *Ticker {
	if cfg.Starters <= 0 {
		cfg.Starters = 32 // starts that are due together share a round trip; more would hold up other calls in it
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Ticker{cfg: cfg, wake: make(chan struct{}, 1), work: make(chan *state), flows: map[ids.FlowID]*state{}}
}

// Run ticks until ctx ends or the epoch is fenced, which it returns.
func (t *Ticker) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { defer close(t.work); return t.loop(ctx) })
	for range t.cfg.Starters {
		g.Go(func() error {
			for s := range t.work {
				if err := t.tick(ctx, s); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (t *Ticker) loop(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s, sleep := t.pop()
		if s != nil {
			select {
			case t.work <- s:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		timer.Reset(sleep)
		select {
		case <-timer.C:
		case <-t.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// pop takes the earliest flow when it is due, else says how long to sleep.
func (t *Ticker) pop() (due *state, sleep time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.heap) == 0 {
		return nil, time.Hour
	}
	first := t.heap[0]
	now := t.cfg.Now()
	t.stepped(now)
	if wait := time.Duration(first.at - now.UnixNano()); wait > 0 {
		return nil, min(wait, glance)
	}
	heap.Pop(&t.heap)
	first.busy, first.again = true, false
	return first, 0
}

// ahead is by how much a slot may lie ahead of the ledger's clock that was asked for by
// the estimate.
const ahead = 100 * time.Millisecond

// glance is how often the clock is looked at while nothing is due.
const glance = 5 * time.Second

// stepped looks at every flow anew when the clock was set: what the heap holds was
// said by the old one. The caller holds the lock.
func (t *Ticker) stepped(now time.Time) {
	wall, mono := now.Round(0), time.Now()
	step := wall.Sub(t.wall) - mono.Sub(t.mono)
	if !t.wall.IsZero() && (step > time.Second || step < -time.Second) {
		t.cfg.Log.Warn("the clock that slots go by was set", "by", step.Round(time.Millisecond))
		for _, s := range t.heap {
			s.at = now.UnixNano() // all alike: still a heap
		}
	}
	t.wall, t.mono = wall, mono
}

// tick looks at one flow and sets its next look.
func (t *Ticker) tick(ctx context.Context, s *state) error {
	next, err := t.look(ctx, s.flow)
	t.mu.Lock()
	defer t.mu.Unlock()
	s.busy = false
	switch {
	case ledger.Fenced(err) || ctx.Err() != nil:
		return err
	case err != nil:
		s.known = false
		if !t.down {
			t.down = true
			t.cfg.Log.Warn("slots can't be looked at", "flow", s.flow, "error", err)
		}
		t.schedule(s, t.cfg.Now().Add(200*time.Millisecond))
		return nil
	case s.again:
		t.schedule(s, t.cfg.Now())
	case next.IsZero(): // not before somebody looks at it again
		delete(t.flows, s.flow)
	default:
		t.schedule(s, next)
	}
	if t.down {
		t.down = false
		t.cfg.Log.Info("slots are looked at again")
	}
	return nil
}

// look does what is due for a flow and returns when to look again; zero when
// nothing will be due by time.
func (t *Ticker) look(ctx context.Context, id ids.FlowID) (time.Time, error) {
	f := t.cfg.Flows.Get(id)
	if f == nil || f.Schedule.Spec().Kind == schedule.Manual {
		return time.Time{}, nil
	}
	last, err := t.lastSlot(ctx, f)
	if errors.Is(err, ledger.ErrGone) {
		return t.missing(id), nil
	}
	if err != nil {
		return time.Time{}, err
	}
	due, ahead, err := t.due(ctx, f, last)
	if err != nil {
		return time.Time{}, err
	}
	for _, s := range due.Skipped {
		err := t.cfg.Ledger.SkipSlots(ctx, t.cfg.Epoch, id, f.Record.UID, last, s.From, s.To, s.Count, s.Reason)
		switch {
		case errors.Is(err, ledger.ErrGone):
			return t.missing(id), nil
		case errors.Is(err, ledger.ErrAccounted), t.forgotten(id, err):
			t.forget(id)
			return t.cfg.Now(), nil
		case err != nil:
			return time.Time{}, err
		}
		if s.Reason != "paused" {
			t.cfg.Log.Warn("slots skipped", "flow", id, "count", s.Count, "from", s.From.UTC(), "to", s.To.UTC(), "reason", s.Reason)
		}
		t.accounted(id, s.To)
		last = s.To
	}
	if due.Start.IsZero() {
		if due.Next.IsZero() {
			return time.Time{}, nil
		}
		return due.Next.Add(ahead), nil
	}
	return t.start(ctx, f, last, due.Start, due.Next)
}

func (t *Ticker) start(ctx context.Context, f *registry.Flow, last, slot, next time.Time) (time.Time, error) {
	id := f.Record.Flow
	p, err := f.Plan()
	if err != nil {
		t.cfg.Log.Error("slots of a flow can't start", "flow", id, "error", err)
		return next, nil
	}
	out, err := t.cfg.Ledger.StartCycle(ctx, t.cfg.Epoch, ledger.Start{
		Plan: p, Slot: slot, Since: last, Occasion: plans.SlotOccasion(f.Record.UID, slot), Overlap: f.Schedule.Spec().Overlap == schedule.OverlapAllow,
	})
	switch {
	case err == nil && out.Ahead > ahead:
		// By so much no estimate is off: the clock was set, and reading it corrects it.
		clock, err := t.cfg.Ledger.Now(ctx)
		return t.cfg.Now().Add(max(slot.Sub(clock), 0)), err
	case err == nil && out.Ahead > 0:
		return t.cfg.Now().Add(out.Ahead), nil
	case err == nil:
		t.accounted(id, slot)
		switch {
		case out.Skipped != "":
			t.cfg.Log.Warn("slot skipped", "flow", id, "slot", slot.UTC(), "reason", out.Skipped)
		case !out.Before:
			if t.cfg.Late != nil {
				t.cfg.Late(out.At.Sub(slot))
			}
			if t.cfg.Started != nil {
				t.cfg.Started(p, out)
			}
		}
		return next, nil
	case errors.Is(err, ledger.ErrAccounted), t.forgotten(id, err):
		t.forget(id)
		return t.cfg.Now(), nil
	case errors.Is(err, ledger.ErrPaused), errors.Is(err, ledger.ErrStale), errors.Is(err, ledger.ErrGone):
		// The change is on its way to this process and looks again when it is here.
		t.forget(id)
		return t.cfg.Now().Add(100 * time.Millisecond), nil
	}
	return time.Time{}, err
}

// forgotten reports, and tells, that Redis went back behind a slot that was
// accounted: everything from what it still knows on is due again.
func (t *Ticker) forgotten(f ids.FlowID, err error) bool {
	if !errors.Is(err, ledger.ErrForgotten) {
		return false
	}
	t.cfg.Log.Warn("redis forgot slots that were accounted; they are looked at again", "flow", f)
	return true
}

// missing tells of a flow that the ledger does not have: it is not installed yet,
// or was lost. Installing it looks again.
func (t *Ticker) missing(f ids.FlowID) time.Time {
	t.forget(f)
	if t.cfg.Missing != nil {
		t.cfg.Missing(f)
	}
	return time.Time{}
}

func (t *Ticker) lastSlot(ctx context.Context, f *registry.Flow) (time.Time, error) {
	id := f.Record.Flow
	t.mu.Lock()
	s := *t.state(id)
	t.mu.Unlock()
	if s.known {
		return s.accounted(), nil
	}
	state, err := t.cfg.Ledger.Flow(ctx, id)
	if err != nil {
		return time.Time{}, err
	}
	if state.UID != f.Record.UID || state.Revision < f.Record.Revision {
		return time.Time{}, ledger.ErrGone // what the ledger has is about to be replaced
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.state(id)
	own.account(state.LastSlot)
	own.known = true
	return state.LastSlot, nil
}

func (t *Ticker) accounted(f ids.FlowID, slot time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state(f).account(slot)
}

func (t *Ticker) forget(f ids.FlowID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state(f).known = false
}
