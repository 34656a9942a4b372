package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Pair is two ledgers on one clock.
type Pair struct {
	One, Two Ledger
	Tick     func(d time.Duration) // moves the clock of both
	Done     func()
}

// Twins does what Random does to two ledgers at once: each call must get the same
// answer from both and leave the same records, to the last field.
func Twins(t *testing.T, steps int, open func(t *testing.T) Pair) {
	rapid.Check(t, func(r *rapid.T) {
		p := open(t)
		defer p.Done()
		f := fatal{t, r}
		w := newWorld(newKit(f, &twin{t: f, Ledger: p.One, two: p.Two}), r)
		for i := range steps {
			p.Tick(time.Duration(rapid.IntRange(0, 900).Draw(r, "ms")) * time.Millisecond)
			w.step()
			sameRecords(f, i, p)
		}
		p.Tick(time.Hour)
		w.drain()
		sameRecords(f, steps, p)
		w.consistent()
		w.quiet()
	})
}

func sameRecords(t testing.TB, step int, p Pair) {
	t.Helper()
	var dumps [2]map[string]string
	for i, l := range []Ledger{p.One, p.Two} {
		d, err := l.Dump(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		dumps[i] = map[string]string{}
		for key, text := range d {
			dumps[i][strings.TrimPrefix(key, l.Prefix())] = alike(key, text)
		}
	}
	if d := cmp.Diff(dumps[0], dumps[1]); d != "" {
		t.Fatalf("records differ after step %d (-one +two):\n%s", step, d)
	}
}

// alike leaves out what may differ: how a plan is stored, and in which order one
// call added several lines to a stream.
func alike(key, text string) string {
	switch {
	case strings.Contains(key, ":plan:"):
		return "a plan"
	case strings.HasSuffix(key, ":outbox"), strings.HasSuffix(key, ":journal"):
		lines := strings.Split(text, "\n")
		for i, l := range lines {
			ms, rest, _ := strings.Cut(l, "-")
			_, values, _ := strings.Cut(rest, " ")
			lines[i] = ms + " " + values
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	return text
}

// twin makes every call of both ledgers and answers for the first.
type twin struct {
	t testing.TB
	Ledger
	two Ledger
}

func (t *twin) same(verb string, one, two []any) {
	t.t.Helper()
	for i := range one {
		if err, ok := one[i].(error); ok {
			one[i] = kindOf(err)
		}
		if err, ok := two[i].(error); ok {
			two[i] = kindOf(err)
		}
	}
	if d := cmp.Diff(one, two); d != "" {
		t.t.Fatalf("%s is answered differently (-one +two):\n%s", verb, d)
	}
}

// kindOf is what a caller decides by.
func kindOf(err error) string {
	var f *ledger.FencedError
	if errors.As(err, &f) {
		return fmt.Sprintf("%+v", *f)
	}
	for _, known := range []error{ledger.ErrGone, ledger.ErrPaused, ledger.ErrStale, ledger.ErrAccounted, ledger.ErrBusy, ledger.ErrDeleting,
		ledger.ErrNoPlan, ledger.ErrNotMine, ledger.ErrEnding, ledger.ErrStarted, ledger.ErrTooLarge} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return err.Error()
}

// theirs is the second ledger's entry for one of the first's.
func (t *twin) theirs(ctx context.Context, e ledger.Entry) ledger.Entry {
	t.t.Helper()
	mine, err1 := t.Outbox(ctx, "", 1_000_000)
	yours, err2 := t.two.Outbox(ctx, "", 1_000_000)
	if err1 != nil || err2 != nil {
		t.t.Fatal(err1, err2)
	}
	rank, found := 0, false
	for _, o := range mine {
		if o.ID == e.ID {
			found = true
			break
		}
		if o.Kind == e.Kind && o.Attempt == e.Attempt {
			rank++
		}
	}
	e.ID = "1-1" // no entry has it
	for _, o := range yours {
		if !found || o.Kind != e.Kind || o.Attempt != e.Attempt {
			continue
		}
		if rank == 0 {
			e.ID = o.ID
			break
		}
		rank--
	}
	return e
}

func (t *twin) entry(ctx context.Context, id string) string {
	all, err := t.Outbox(ctx, "", 1_000_000)
	if err != nil {
		t.t.Fatal(err)
	}
	for _, e := range all {
		if e.ID == id {
			return t.theirs(ctx, e).ID
		}
	}
	return id
}

func (t *twin) Takeover(ctx context.Context, epoch ids.Epoch) (time.Time, error) {
	at, err := t.Ledger.Takeover(ctx, epoch)
	at2, err2 := t.two.Takeover(ctx, epoch)
	t.same("takeover", []any{at, err}, []any{at2, err2})
	return at, err
}

func (t *twin) WritePlan(ctx context.Context, p *plan.Plan) error {
	return errors.Join(t.Ledger.WritePlan(ctx, p), t.two.WritePlan(ctx, p))
}

func (t *twin) ActivateFlow(ctx context.Context, a ledger.Activation) error {
	err := t.Ledger.ActivateFlow(ctx, a)
	t.same("activate", []any{err}, []any{t.two.ActivateFlow(ctx, a)})
	return err
}

func (t *twin) PauseFlow(ctx context.Context, f ids.FlowID) (bool, error) {
	ok, err := t.Ledger.PauseFlow(ctx, f)
	ok2, err2 := t.two.PauseFlow(ctx, f)
	t.same("pause", []any{ok, err}, []any{ok2, err2})
	return ok, err
}

func (t *twin) ResumeFlow(ctx context.Context, f ids.FlowID) (bool, error) {
	ok, err := t.Ledger.ResumeFlow(ctx, f)
	ok2, err2 := t.two.ResumeFlow(ctx, f)
	t.same("resume", []any{ok, err}, []any{ok2, err2})
	return ok, err
}

func (t *twin) StartCycle(ctx context.Context, epoch ids.Epoch, s ledger.Start) (ledger.Started, error) {
	c, err := t.Ledger.StartCycle(ctx, epoch, s)
	c2, err2 := t.two.StartCycle(ctx, epoch, s)
	t.same("start", []any{c, err}, []any{c2, err2})
	return c, err
}

func (t *twin) CancelCycle(ctx context.Context, epoch ids.Epoch, f ids.FlowID, n int64, id uuid.UUID, cause string) (string, error) {
	was, err := t.Ledger.CancelCycle(ctx, epoch, f, n, id, cause)
	was2, err2 := t.two.CancelCycle(ctx, epoch, f, n, id, cause)
	t.same("cancel", []any{was, err}, []any{was2, err2})
	return was, err
}
