package memory

import (
	"context"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

const (
	clockKey = prefix + ":clock"
	wordKey  = prefix + ":clock_at"
)

// unconfirmed is how much time passes without a leader's word, in ms.
const unconfirmed = 5000

// correction is what makes the clock the ledger's, in ms.
func (l *Ledger) correction() int64 { return number(l.text[clockKey]) }

// read returns what a call goes by, in ms: the clock, bounded by the last word of a
// leader, and the ledger's time that this makes.
func (l *Ledger) read() (raw, now int64) {
	raw = l.clock().UnixMilli()
	now = raw
	if at := number(l.text[wordKey]); at != 0 {
		now = max(at, min(raw, at+unconfirmed))
	}
	return raw, now + l.correction()
}

// Now returns the ledger's time, which calls go by.
func (l *Ledger) Now(context.Context) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.clock().UTC()
	_, now := l.read()
	return time.UnixMilli(now).Add(time.Duration(at.Nanosecond() % 1e6)).UTC(), nil
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
		l.setText(wordKey, itoa(l.raw))
		if d := add - seen; d > smallStep || d < -smallStep {
			l.jot("clock_set", ids.Attempt{}, epoch, "", "", itoa(seen.Milliseconds())+" "+itoa(add.Milliseconds()))
		}
		return true, nil
	}
	return false, nil
}

// smallStep back to Redis's own clock is not worth a record.
const smallStep = 200 * time.Millisecond

// ConfirmClock says that the leader found the clock right, with the correction that
// it saw.
func (l *Ledger) ConfirmClock(_ context.Context, epoch ids.Epoch, seen time.Duration) (bool, error) {
	defer l.begin()()
	if err := l.fence("confirm_clock", epoch); err != nil {
		return false, err
	}
	if l.correction() != seen.Milliseconds() {
		return false, nil
	}
	l.setText(wordKey, itoa(l.raw))
	return true, nil
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
