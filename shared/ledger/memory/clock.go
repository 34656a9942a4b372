package memory

import (
	"context"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

const clockKey = prefix + ":clock"

// correction is what makes the clock the ledger's, in ms.
func (l *Ledger) correction() int64 { return number(l.text[clockKey]) }

// Now returns the ledger's time.
func (l *Ledger) Now(ctx context.Context) (time.Time, error) {
	c, err := l.ReadClock(ctx)
	return c.Now(), err
}

// ReadClock reads the clock and its correction at one instant.
func (l *Ledger) ReadClock(context.Context) (ledger.Clock, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ledger.Clock{Redis: l.clock().UTC(), Add: time.Duration(l.correction()) * time.Millisecond}, nil
}

// SetClock replaces the correction, if the one that was seen still stands.
func (l *Ledger) SetClock(_ context.Context, epoch ids.Epoch, seen, add time.Duration) (bool, error) {
	defer l.begin()()
	if err := l.fence("set_clock", epoch); err != nil {
		return false, err
	}
	switch l.correction() {
	case add.Milliseconds():
		return true, nil
	case seen.Milliseconds():
		l.setText(clockKey, itoa(add.Milliseconds()))
		l.jot("clock_set", ids.Attempt{}, epoch, "", "", itoa(seen.Milliseconds())+" "+itoa(add.Milliseconds()))
		return true, nil
	}
	return false, nil
}

// Head reads where the journal stands.
func (l *Ledger) Head(ctx context.Context) (ledger.Head, error) {
	c, err := l.ReadClock(ctx)
	if err != nil {
		return ledger.Head{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int64(len(l.journal.items))
	return ledger.Head{Kept: n, Written: n, Epoch: l.epoch(), Clock: c}, nil
}
