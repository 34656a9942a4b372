package clock

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// world is Redis, its clock and the time that passes.
type world struct {
	since     time.Duration // what passed
	redis     time.Duration // by how much Redis's clock is off the true time
	wall      time.Duration // and this machine's
	add       time.Duration
	epoch     ids.Epoch
	slow      time.Duration // how long a reading takes
	sets      int
	confirmed int
	meet      func() // runs between a reading and what follows it
}

var dawn = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

func (w *world) truth() time.Time { return dawn.Add(w.since) }

func (w *world) ReadClock(context.Context) (ledger.Clock, error) {
	w.since += w.slow / 2
	c := ledger.Clock{Redis: w.truth().Add(w.redis), Add: w.add}
	w.since += w.slow - w.slow/2
	if w.meet != nil {
		w.meet()
	}
	return c, nil
}

func (w *world) SetClock(_ context.Context, epoch ids.Epoch, seen, add time.Duration) (bool, error) {
	if epoch < w.epoch {
		return false, &ledger.FencedError{Own: epoch, Higher: w.epoch}
	}
	if w.add != seen {
		return false, nil
	}
	w.add, w.sets = add, w.sets+1
	return true, nil
}

func (w *world) ConfirmClock(_ context.Context, epoch ids.Epoch, seen time.Duration) (bool, error) {
	if epoch < w.epoch {
		return false, &ledger.FencedError{Own: epoch, Higher: w.epoch}
	}
	if w.add == seen {
		w.confirmed++
	}
	return w.add == seen, nil
}

func (w *world) keeper() *Keeper {
	return New(Config{Ledger: w, Log: hclog.NewNullLogger(), Since: func() time.Duration { return w.since }, Wall: func() time.Time { return w.truth().Add(w.wall) }})
}

// off is by how much the ledger's clock, as scripts see it, is off the true time.
func (w *world) off() time.Duration { return w.redis + w.add }

func now(t *testing.T, k *Keeper) time.Time {
	t.Helper()
	at, err := k.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func within(t *testing.T, what string, got, want, tolerance time.Duration) {
	t.Helper()
	if d := got - want; d < -tolerance || d > tolerance {
		t.Fatalf("%s is %s, want %s within %s", what, got, want, tolerance)
	}
}

func TestALeaderEvensJumpsOut(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour, 300 * time.Millisecond, -400 * time.Millisecond, 40 * 24 * time.Hour} {
		w := &world{slow: 2 * time.Millisecond}
		k := w.keeper()
		k.Lead(1)
		for range 3 {
			now(t, k)
			w.since += time.Second
		}
		w.redis += by
		within(t, "what Now says after a jump by "+by.String(), now(t, k).Sub(w.truth()), 0, 5*time.Millisecond)
		within(t, "the ledger's clock", w.off(), 0, 5*time.Millisecond)
		w.since += time.Second
		w.redis -= by
		within(t, "what Now says after the jump back", now(t, k).Sub(w.truth()), 0, 5*time.Millisecond)
		if w.sets != 2 {
			t.Fatalf("corrected %d times", w.sets)
		}
	}
}

func TestSmallStepsAndSlowReadingsAreNoJumps(t *testing.T) {
	w := &world{slow: time.Millisecond}
	k := w.keeper()
	k.Lead(1)
	now(t, k)
	for i := range 200 {
		w.since += time.Second
		w.redis += time.Duration(rand.IntN(400)-200) * time.Microsecond
		if i%10 == 0 {
			w.slow = time.Duration(rand.IntN(20)) * time.Second // stopped in the middle
		} else {
			w.slow = time.Millisecond
		}
		now(t, k)
	}
	w.redis += 200 * time.Millisecond
	now(t, k)
	if w.sets != 0 {
		t.Fatalf("corrected %d times", w.sets)
	}
	if e := k.Estimate().Sub(w.truth().Add(w.redis)); e > 0 || e < -50*time.Millisecond {
		t.Fatalf("the estimate is off by %s", e)
	}
}

func TestAStandbyRemembers(t *testing.T) {
	w := &world{slow: time.Millisecond}
	k := w.keeper()
	now(t, k)
	w.redis += time.Hour // and nobody leads
	w.since += 10 * time.Second
	within(t, "what a standby goes by", now(t, k).Sub(w.truth()), 0, 20*time.Millisecond)
	if w.sets != 0 {
		t.Fatal("a standby has set the clock")
	}
	w.since += time.Minute
	k.Lead(2)
	within(t, "what it goes by as leader", now(t, k).Sub(w.truth()), 0, 100*time.Millisecond)
	within(t, "the ledger's clock", w.off(), 0, 100*time.Millisecond)
}

func TestAStandbyTakesTheLeadersWord(t *testing.T) {
	for _, elected := range []bool{false, true} {
		w := &world{slow: time.Millisecond}
		k := w.keeper()
		now(t, k)
		w.add += 10 * time.Minute // as a leader does that found the clock behind
		w.since += time.Second
		if elected {
			k.Lead(2)
		}
		within(t, "what it goes by", now(t, k).Sub(w.truth()), 10*time.Minute, 5*time.Millisecond)
		if w.sets != 0 {
			t.Fatal("it has undone what the leader did")
		}
	}
}

func TestACorrectionThatIsLostIsMadeAgain(t *testing.T) {
	w := &world{slow: time.Millisecond}
	k := w.keeper()
	k.Lead(1)
	now(t, k)
	w.redis += time.Hour
	now(t, k)
	w.add = 0 // Redis lost its last writes
	w.since += time.Second
	within(t, "what Now says", now(t, k).Sub(w.truth()), 0, 10*time.Millisecond)
}

func TestTwoSeeTheSameJump(t *testing.T) {
	w := &world{slow: time.Millisecond}
	a, b := w.keeper(), w.keeper()
	a.Lead(1)
	b.Lead(1)
	now(t, a)
	now(t, b)
	w.redis += time.Hour
	w.meet = func() { w.meet = nil; now(t, b) } // between a's reading and its setting
	within(t, "what the first goes by", now(t, a).Sub(w.truth()), 0, 10*time.Millisecond)
	within(t, "the ledger's clock", w.off(), 0, 10*time.Millisecond)
	if w.sets != 1 {
		t.Fatalf("set %d times", w.sets)
	}
}

func TestADeposedLeaderSetsNothing(t *testing.T) {
	w := &world{slow: time.Millisecond, epoch: 5}
	k := w.keeper()
	k.Lead(4)
	w.epoch = 3
	now(t, k)
	w.epoch = 5
	w.redis += time.Hour
	var fenced *ledger.FencedError
	if _, err := k.Now(t.Context()); !errors.As(err, &fenced) {
		t.Fatalf("error is %v", err)
	}
}

func TestAClockThatWentBackUnseen(t *testing.T) {
	for _, c := range []struct {
		name              string
		redis, wall, seen time.Duration
		want              time.Duration
	}{
		{"nothing happened", 0, 0, -time.Second, 0},
		{"redis went back", -time.Hour, 0, -time.Minute, 0},
		{"and this machine's clock with it", -time.Hour, -time.Hour, -time.Minute, -time.Minute},
		{"redis went forward, or the night was long", time.Hour, 0, -time.Minute, time.Hour},
		{"this machine's clock is off", 0, time.Hour, -time.Minute, 0},
	} {
		w := &world{slow: time.Millisecond, redis: c.redis, wall: c.wall}
		k := w.keeper()
		k.Lead(1)
		if err := k.Seen(t.Context(), w.truth().Add(c.seen)); err != nil {
			t.Fatal(err)
		}
		within(t, c.name+": clock", w.off(), c.want, 10*time.Millisecond)
		sets := w.sets
		w.since += time.Second
		within(t, c.name+": Now a second later", now(t, k).Sub(w.truth()), c.want, 10*time.Millisecond)
		if w.sets != sets {
			t.Errorf("%s: undone", c.name)
		}
	}
}

func TestAWrongClockIsLedBack(t *testing.T) {
	w := &world{slow: time.Millisecond, redis: -time.Minute}
	k := w.keeper()
	k.Lead(1)
	now(t, k)
	w.redis = 0 // somebody put it right
	before := now(t, k)
	within(t, "the ledger's clock", w.off(), -time.Minute, 10*time.Millisecond)
	tick := func() {
		w.since += every
		c, err := k.read(t.Context())
		if err == nil {
			err = k.leadBack(t.Context(), c)
		}
		if err != nil {
			t.Fatal(err)
		}
		at := now(t, k)
		if d := at.Sub(before); d < every*9/10 || d > every*11/10 {
			t.Fatalf("a second took %s", d)
		}
		before = at
	}
	for range 50 {
		tick()
	}
	within(t, "the ledger's clock within a minute", w.off(), -time.Minute, 10*time.Millisecond)
	for range 30 * 60 {
		tick()
	}
	within(t, "the ledger's clock at last", w.off(), 0, 0)
}

func TestAMachineOfTheLeaderWithAWrongClockLeadsNothing(t *testing.T) {
	w := &world{slow: time.Millisecond}
	k := w.keeper()
	k.Lead(1)
	now(t, k)
	w.wall = time.Hour
	for range 300 {
		w.since += every
		c, err := k.read(t.Context())
		if err == nil {
			err = k.leadBack(t.Context(), c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if w.sets != 0 || w.add != 0 {
		t.Fatalf("set %d times, to %s", w.sets, w.add)
	}
}

func TestTheMachinesClockPasses(t *testing.T) {
	a := sinceBoot()
	timer := time.NewTimer(20 * time.Millisecond)
	<-timer.C
	within(t, "20 ms", sinceBoot()-a, 25*time.Millisecond, 15*time.Millisecond)
}

func TestALeaderConfirmsTheClock(t *testing.T) {
	w := &world{slow: time.Millisecond}
	k := w.keeper()
	now(t, k)
	if w.confirmed != 0 {
		t.Fatal("a standby has confirmed the clock")
	}
	end := k.Lead(1)
	now(t, k)
	now(t, k)
	if w.confirmed != 1 {
		t.Fatalf("confirmed %d times at once", w.confirmed)
	}
	w.since += time.Second
	now(t, k)
	end()
	w.since += time.Second
	now(t, k)
	k.Lead(2) // elected again
	now(t, k)
	if w.confirmed != 3 {
		t.Fatalf("confirmed %d times", w.confirmed)
	}
}
