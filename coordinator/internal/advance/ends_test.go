package advance_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/advance"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// ending is what ends of cycles meet.
type ending struct {
	advance.Ledger // its other verbs are not for ends
	gone           map[int64]bool
	unheard        map[int64]bool
	heard          []int64
	told, back     []string
	reads, calls   int
	readErr, err   error
}

func (x *ending) CyclesOf(_ context.Context, of []ids.Attempt) ([]ledger.CycleState, error) {
	x.reads++
	out := make([]ledger.CycleState, len(of))
	for i, a := range of {
		if !x.gone[a.Cycle] {
			out[i] = ledger.CycleState{Flow: a.Flow, Cycle: a.Cycle, UUID: a.UUID}
		}
	}
	return out, x.readErr
}

func (x *ending) Told(_ context.Context, _ ids.Epoch, ended ...ledger.Entry) error {
	x.calls++
	for _, e := range ended {
		x.told = append(x.told, e.ID)
	}
	return x.err
}

func (x *ending) config() advance.Config {
	return advance.Config{Ledger: x, Epoch: 5, Log: hclog.NewNullLogger(), Done: func(e ...string) { x.back = append(x.back, e...) },
		Listeners: advance.Listeners{Closed: func(_ context.Context, c ledger.CycleState) error {
			if x.unheard[c.Cycle] {
				return errors.New("later")
			}
			x.heard = append(x.heard, c.Cycle)
			return nil
		}}}
}

func ended(n int64) (out []ledger.Entry) {
	for i := int64(1); i <= n; i++ {
		out = append(out, ledger.Entry{ID: fmt.Sprintf("%d-0", i), Kind: ledger.KindClosed, Attempt: ids.Attempt{Flow: "f", Cycle: i, UUID: uuid.New()}})
	}
	return out
}

// TestEndsAreToldTogether: one read and one write for all of them; what nobody heard
// stays, and a cycle that is gone is heard by nobody.
func TestEndsAreToldTogether(t *testing.T) {
	x := &ending{gone: map[int64]bool{2: true}, unheard: map[int64]bool{3: true}}
	if err := advance.Ends(t.Context(), x.config(), ended(4)); err != nil {
		t.Fatal(err)
	}
	if x.reads != 1 || x.calls != 1 || !slices.Equal(x.heard, []int64{1, 4}) || !slices.Equal(x.told, []string{"1-0", "2-0", "4-0"}) ||
		!slices.Equal(x.back, []string{"1-0", "2-0", "3-0", "4-0"}) {
		t.Errorf("%d reads, %d calls, heard %v, told %v, given back %v", x.reads, x.calls, x.heard, x.told, x.back)
	}
}

func TestEndsThatCantBeRead(t *testing.T) {
	x := &ending{readErr: ledger.ErrUnavailable}
	if err := advance.Ends(t.Context(), x.config(), ended(2)); err != nil || len(x.heard)+x.calls > 0 || len(x.back) != 2 {
		t.Errorf("%v; heard %v, %d calls, given back %v", err, x.heard, x.calls, x.back)
	}
}

func TestAFenceEndsTheTelling(t *testing.T) {
	x := &ending{err: fmt.Errorf("x: %w", &ledger.FencedError{Own: 5, Higher: 6})}
	if err := advance.Ends(t.Context(), x.config(), ended(2)); !ledger.Fenced(err) {
		t.Errorf("Ends returned %v", err)
	}
}
