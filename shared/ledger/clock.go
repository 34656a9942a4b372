package ledger

import (
	"context"
	"strconv"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Clock is one reading of the ledger's clock.
type Clock struct {
	Redis time.Time     // what Redis takes for the time
	Add   time.Duration // what makes it the ledger's; whole milliseconds
}

// Now is the ledger's time of the reading.
func (c Clock) Now() time.Time { return c.Redis.Add(c.Add) }

// Plus is the reading with another correction: d more of it.
func (c Clock) Plus(d time.Duration) Clock { return Clock{Redis: c.Redis, Add: c.Add + d} }

// Now returns the ledger's time, which scripts go by: where no leader has confirmed the
// clock for long, it stands still.
func (l *Ledger) Now(ctx context.Context) (time.Time, error) {
	r, err := l.call(ctx, "read_clock", 0)
	if err != nil {
		return time.Time{}, err
	}
	at := time.UnixMilli(r.int(4))
	if us := r.int(2) % 1000; us > 0 { // finer than scripts need it
		at = at.Add(time.Duration(us) * time.Microsecond)
	}
	return at.UTC(), nil
}

// ReadClock reads Redis's clock and its correction at one instant.
func (l *Ledger) ReadClock(ctx context.Context) (Clock, error) {
	r, err := l.call(ctx, "read_clock", 0)
	if err != nil {
		return Clock{}, err
	}
	return Clock{Redis: time.Unix(r.int(1), r.int(2)*1000).UTC(), Add: time.Duration(r.int(3)) * time.Millisecond}, nil
}

// SetClock replaces the correction of the ledger's clock, if the one that was seen
// still stands. It reports whether the new one stands now.
func (l *Ledger) SetClock(ctx context.Context, epoch ids.Epoch, seen, add time.Duration) (bool, error) {
	r, err := l.call(ctx, "set_clock", epoch, strconv.FormatInt(seen.Milliseconds(), 10), strconv.FormatInt(add.Milliseconds(), 10))
	return err == nil && r.code() > 0, err
}

// ConfirmClock says that the leader found Redis's clock right, with the correction
// that it saw. It has to be said every few seconds: between two such words scripts let
// five seconds pass at most. It reports whether that correction still stands.
func (l *Ledger) ConfirmClock(ctx context.Context, epoch ids.Epoch, seen time.Duration) (bool, error) {
	r, err := l.call(ctx, "confirm_clock", epoch, strconv.FormatInt(seen.Milliseconds(), 10))
	return err == nil && r.code() > 0, err
}
