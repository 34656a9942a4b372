package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// TimerLedger is what the keeper of timers reads and writes.
type TimerLedger interface {
	Now(ctx context.Context) (time.Time, error)
	Timers(ctx context.Context, count int64) ([]ledger.Timer, error)
	Retry(ctx context.Context, epoch ids.Epoch, a ids.Attempt) error
	OfferAgain(ctx context.Context, epoch ids.Epoch, a ids.Attempt, why string) (bool, error)
	CancelCycle(ctx context.Context, epoch ids.Epoch, f ids.FlowID, n int64, id uuid.UUID, cause string) (string, error)
}

// Timers fires what is due.
type Timers struct {
	ledger TimerLedger
	epoch  ids.Epoch
	log    hclog.Logger
	wake   chan struct{}
	sleep  time.Duration // the longest: how late a timer may be that nobody announced
}

// timerBatch is how many timers one read takes.
const timerBatch = 256

// NewTimers makes a keeper of timers. A timer whose announcement is lost is at
// most half of within late.
func NewTimers(l TimerLedger, epoch ids.Epoch, within time.Duration, log hclog.Logger) *Timers {
	if within <= 0 {
		within = DefaultWithin
	}
	return &Timers{ledger: l, epoch: epoch, log: log, wake: make(chan struct{}, 1), sleep: max(within/2, time.Second)}
}

// Wake says that a timer was set.
func (k *Timers) Wake() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run fires timers until ctx ends or the epoch is fenced, which it returns.
func (k *Timers) Run(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	down := false
	for {
		select {
		case <-t.C:
		case <-k.wake:
		case <-ctx.Done():
			return nil
		}
		next, err := k.fire(ctx)
		switch {
		case ledger.Fenced(err):
			return err
		case err != nil && ctx.Err() == nil:
			if !down {
				k.log.Warn("timers can't be looked at", "error", err)
			}
			down, next = true, min(next, time.Second)
			if errors.Is(err, ledger.ErrUnavailable) {
				next = 200 * time.Millisecond
			}
		case down:
			down = false
			k.log.Info("timers are looked at again")
		}
		t.Reset(next)
	}
}

// fire acts on everything due and returns how long to sleep. A timer that can't
// be acted on, or stays after the act, holds up no other: it is left for the next
// time.
func (k *Timers) fire(ctx context.Context) (time.Duration, error) {
	var left map[ledger.Timer]bool // acted on, and possibly still there
	var faults []error
	for {
		due, err := k.ledger.Timers(ctx, int64(timerBatch+len(left)))
		if err != nil {
			return k.sleep, err
		}
		now, err := k.ledger.Now(ctx)
		if err != nil {
			return k.sleep, err
		}
		acted, sleep := 0, k.sleep
		stay := map[ledger.Timer]bool{}
		for _, t := range due {
			if t.Due.After(now) {
				sleep = min(max(t.Due.Sub(now), time.Millisecond), k.sleep)
				break
			}
			if stay[t] = true; left[t] {
				continue
			}
			acted++
			switch err := k.act(ctx, t); {
			case ledger.Fenced(err), errors.Is(err, ledger.ErrUnavailable), err != nil && ctx.Err() != nil:
				return k.sleep, err
			case err != nil:
				faults = append(faults, err)
			}
		}
		if left = stay; acted == 0 {
			if len(left) > 0 {
				sleep = min(sleep, time.Second)
			}
			return sleep, errors.Join(faults...)
		}
	}
}

func (k *Timers) act(ctx context.Context, t ledger.Timer) error {
	switch t.Kind {
	case "retry":
		return k.ledger.Retry(ctx, k.epoch, t.Attempt)
	case "offer":
		_, err := k.ledger.OfferAgain(ctx, k.epoch, t.Attempt, "offer timer")
		return err
	case "deadline":
		was, err := k.ledger.CancelCycle(ctx, k.epoch, t.Flow, t.Cycle, t.UUID, ledger.CauseTimeout)
		if was == "running" {
			k.log.Warn("cycle passed its timeout", "flow", t.Flow, "cycle", t.Cycle)
		}
		return ignoreGone(err)
	default:
		k.log.Error("timer of an unknown kind is left alone", "kind", t.Kind)
		return nil
	}
}

func ignoreGone(err error) error {
	if errors.Is(err, ledger.ErrGone) {
		return nil
	}
	return err
}

func parseToken(s string) uuid.UUID {
	u, err := uuid.Parse(s)
	if err != nil {
		return uuid.Nil
	}
	return u
}
