package clock

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

const (
	every     = time.Second            // between readings
	tolerance = 250 * time.Millisecond // what a reading may be off before it is a jump
	drift     = 1000                   // one part in this many, by which two clocks may run apart
	agreed    = time.Second            // how close Redis's clock and this machine's are when they agree
	patience  = time.Minute            // how long they must have, before the ledger's is led back
	lead      = 20                     // one part in this many of the time that passes
)

// Ledger is what the keeper reads and writes.
type Ledger interface {
	ReadClock(ctx context.Context) (ledger.Clock, error)
	SetClock(ctx context.Context, epoch ids.Epoch, seen, add time.Duration) (bool, error)
	ConfirmClock(ctx context.Context, epoch ids.Epoch, seen time.Duration) (bool, error)
}

// Config of a Keeper.
type Config struct {
	Ledger Ledger
	Log    hclog.Logger
	// Since is a clock that nobody sets; nil means the machine's.
	Since func() time.Duration
	// Wall is this machine's wall clock; nil means time.Now.
	Wall func() time.Time
}

// Keeper is one coordinator's view of the ledger's clock. It is safe for concurrent
// use.
type Keeper struct {
	cfg Config

	reading   sync.Mutex    // one reading at a time
	confirmed time.Duration // when the clock was last confirmed,
	by        ids.Epoch     // and in which epoch
	agree     time.Duration
	agreeOn   bool

	mu     sync.Mutex
	known  bool
	lo, hi time.Duration // the ledger's time, in Unix nanoseconds, is Since() + something from lo to hi
	at     time.Duration // when that was found
	add    time.Duration // the correction then
	epoch  ids.Epoch     // 0: this coordinator does not lead
	heir   bool          // it leads, and has not read since: the one before may have moved the correction
}

// New makes a keeper that knows nothing.
func New(cfg Config) *Keeper {
	if cfg.Since == nil {
		cfg.Since = sinceBoot
	}
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	return &Keeper{cfg: cfg}
}

// Run reads the clock every second until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
		// Redis may be away, or the epoch over; both are said by others.
		if c, err := k.read(ctx); err == nil {
			_ = k.leadBack(ctx, c)
		}
	}
}

// Lead says that this coordinator leads from now on, until the function it returns
// is called. What a leader before it has set stands.
func (k *Keeper) Lead(epoch ids.Epoch) (end func()) {
	k.setEpoch(epoch)
	return func() { k.setEpoch(0) }
}

func (k *Keeper) setEpoch(e ids.Epoch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epoch, k.heir = e, e != 0
}

// Now reads the ledger's clock, corrected if it jumped.
func (k *Keeper) Now(ctx context.Context) (time.Time, error) {
	c, err := k.read(ctx)
	return c.Now(), err
}

// Estimate is the ledger's time without a call; it is never ahead. Before the first
// reading it is this machine's.
func (k *Keeper) Estimate() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.known {
		return k.cfg.Wall()
	}
	return time.Unix(0, int64(k.lo+k.cfg.Since())).UTC()
}

// Seen says that the ledger holds something that happened at t. If that has yet to
// come, the clock went back while nobody looked, and is set right.
func (k *Keeper) Seen(ctx context.Context, t time.Time) error {
	k.reading.Lock()
	defer k.reading.Unlock()
	c, err := k.readOnce(ctx)
	if err != nil || !t.After(c.Now().Add(agreed)) {
		return err
	}
	k.mu.Lock()
	epoch := k.epoch
	k.mu.Unlock()
	right := t
	if wall := k.cfg.Wall(); wall.After(right) {
		right = wall
	}
	k.cfg.Log.Warn("the ledger holds what is yet to come: its clock went back while nobody looked, and is set", "clock", c.Now(), "seen", t, "to", right)
	_, err = k.move(ctx, epoch, c, right.Sub(c.Now()), right.Sub(c.Now()))
	return err
}

func (k *Keeper) read(ctx context.Context) (ledger.Clock, error) {
	k.reading.Lock()
	defer k.reading.Unlock()
	return k.readOnce(ctx)
}

// tries bounds how often a clock that jumps again and again is corrected in one call.
const tries = 5

// readOnce reads until what it read needs no correction. The caller holds reading.
func (k *Keeper) readOnce(ctx context.Context) (ledger.Clock, error) {
	var c ledger.Clock
	for range tries {
		sent := k.cfg.Since()
		var err error
		if c, err = k.cfg.Ledger.ReadClock(ctx); err != nil {
			return c, err
		}
		jump, epoch := k.note(c, sent, k.cfg.Since())
		if epoch == 0 {
			return c.Plus(-jump), nil
		}
		if jump == 0 {
			return c, k.confirm(ctx, epoch, c)
		}
		if done, err := k.move(ctx, epoch, c, -jump, 0); err != nil {
			return c, err
		} else if done {
			k.cfg.Log.Warn("the clock of redis jumped; the ledger's goes on evenly", "by", jump.Round(time.Millisecond), "correction", c.Add-jump.Round(time.Millisecond))
		}
	}
	return c, nil
}

// confirm lets the ledger's clock go on, once in a while. If the correction is another
// by now, the next reading tells. The caller holds reading.
func (k *Keeper) confirm(ctx context.Context, epoch ids.Epoch, c ledger.Clock) error {
	now := k.cfg.Since()
	if k.by == epoch && now-k.confirmed < every*9/10 {
		return nil
	}
	_, err := k.cfg.Ledger.ConfirmClock(ctx, epoch, c.Add)
	if err == nil {
		k.confirmed, k.by = now, epoch
	}
	return err
}

// note takes a reading in, and returns by how much Redis's clock jumped if it is to
// be corrected, and the epoch to do it by.
func (k *Keeper) note(c ledger.Clock, sent, received time.Duration) (jump time.Duration, epoch ids.Epoch) {
	now := time.Duration(c.Now().UnixNano())
	lo, hi := now-received, now-sent
	k.mu.Lock()
	defer k.mu.Unlock()
	wide := (received - k.at) / drift
	oldLo, oldHi := k.lo-wide, k.hi+wide
	off := max(lo-oldHi, oldLo-hi, 0)
	switch {
	case !k.known, off > 0 && off <= tolerance, off > 0 && c.Add != k.add && (k.epoch == 0 || k.heir):
		k.lo, k.hi = lo, hi
	case off == 0:
		k.lo, k.hi = max(lo, oldLo), min(hi, oldHi)
	case lo > oldHi: // the nearest ends meet: a reading that took long moves nothing too far
		return lo - oldHi, k.epoch
	default:
		return hi - oldLo, k.epoch
	}
	k.known, k.at, k.add, k.heir = true, received, c.Add, false
	return 0, k.epoch
}

// move moves the correction by d; own is what that moves the ledger's time by, as it
// was known here.
func (k *Keeper) move(ctx context.Context, epoch ids.Epoch, c ledger.Clock, d, own time.Duration) (bool, error) {
	add := (c.Add + d).Round(time.Millisecond)
	done, err := k.cfg.Ledger.SetClock(ctx, epoch, c.Add, add)
	if err != nil || !done {
		return false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.add, k.lo, k.hi = add, k.lo+own, k.hi+own
	return true, nil
}

// leadBack moves the ledger's clock a little towards Redis's, if that and this
// machine's have agreed for long.
func (k *Keeper) leadBack(ctx context.Context, c ledger.Clock) error {
	k.reading.Lock()
	defer k.reading.Unlock()
	k.mu.Lock()
	epoch := k.epoch
	k.mu.Unlock()
	if off := c.Redis.Sub(k.cfg.Wall()); epoch == 0 || c.Add == 0 || off > agreed || off < -agreed {
		k.agreeOn = false
		return nil
	}
	now := k.cfg.Since()
	if !k.agreeOn {
		k.agreeOn, k.agree = true, now
	}
	if now-k.agree < patience {
		return nil
	}
	step := min(max(-c.Add, -every/lead), every/lead)
	_, err := k.move(ctx, epoch, c, step, step)
	return err
}
