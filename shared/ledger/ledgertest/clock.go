package ledgertest

import (
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// near requires that two times are the same but for the time a call takes.
func (k *kit) near(got, want time.Time) {
	k.Helper()
	if d := got.Sub(want); d < -5*time.Second || d > 5*time.Second {
		k.Fatalf("time is %s, want about %s", got, want)
	}
}

func (k *kit) set(seen, add time.Duration, want bool) {
	k.Helper()
	done, err := k.SetClock(k.ctx, epoch, seen, add)
	k.ok(err)
	k.equal(done, want)
}

var clocks = []testCase{
	{"the clock is corrected once, from the correction that was seen", func(k *kit) {
		c, err := k.ReadClock(k.ctx)
		k.ok(err)
		k.equal(c.Add, time.Duration(0))
		k.near(c.Now(), c.Redis)
		k.set(0, -time.Hour, true)
		k.unchanged(func() {
			k.set(0, -time.Hour, true)    // the same command again
			k.set(0, -2*time.Hour, false) // of one who has not seen it
			k.set(time.Hour, 0, false)    // or something else
			_, err := k.SetClock(k.ctx, epoch-1, -time.Hour, 0)
			k.fenced(err)
		})
		k.wants("clock_set", "0 -3600000", 1)
		k.set(-time.Hour, 1500*time.Millisecond, true)
		c, err = k.ReadClock(k.ctx)
		k.ok(err)
		k.equal(c.Add, 1500*time.Millisecond)
		k.equal(c.Now(), c.Redis.Add(1500*time.Millisecond))
	}},
	{"every script goes by the corrected clock", func(k *kit) {
		const by = 90 * time.Minute
		p := k.activate(build(flow, 1, "a b"))
		now, err := k.Now(k.ctx)
		k.ok(err)
		later := now.Add(by - time.Minute)
		due := ledger.Start{Plan: p, Slot: later.Truncate(time.Millisecond), Occasion: ids.Occasion(p.UID, "later")}
		c, err := k.StartCycle(k.ctx, epoch, due)
		k.ok(err)
		if c.Ahead <= 0 {
			k.Fatal("a slot ahead of the clock started")
		}
		k.set(0, by, true)
		c = k.start(due)
		k.near(c.At, now.Add(by))
		k.near(k.cycle(c).StartedAt, now.Add(by))
		held := k.claim(attempt(c, "a", 1))
		k.near(k.node(c, "a").StartedAt, now.Add(by))
		leases, err := k.Leases(k.ctx)
		k.ok(err)
		k.near(leases[0].Ends, now.Add(by+lease))
		f := failure(p, held)
		f.Retries, f.Delay = 1, time.Minute
		_, err = k.Fail(k.ctx, f)
		k.ok(err)
		timers, err := k.Timers(k.ctx, 1)
		k.ok(err)
		k.near(timers[0].Due, now.Add(by+time.Minute))
		k.ok(k.Retry(k.ctx, epoch, attempt(c, "a", 1)))
		k.equal(k.node(c, "a").Attempt, 1) // not due yet
		at, err := k.Takeover(k.ctx, epoch)
		k.ok(err)
		k.near(at, now.Add(by))
	}},
	{"a leader's word stands for the correction it saw, and no other", func(k *kit) {
		confirm := func(seen time.Duration, want bool) {
			k.Helper()
			done, err := k.ConfirmClock(k.ctx, epoch, seen)
			k.ok(err)
			k.equal(done, want)
		}
		confirm(0, true)
		k.set(0, time.Hour, true)
		k.unchanged(func() {
			confirm(0, false)
			_, err := k.ConfirmClock(k.ctx, epoch-1, time.Hour)
			k.fenced(err)
		})
		confirm(time.Hour, true)
		c, err := k.ReadClock(k.ctx)
		k.ok(err)
		now, err := k.Now(k.ctx)
		k.ok(err)
		k.near(now, c.Now())
	}},
	{"a worker lives by the corrected clock", func(k *kit) {
		k.ok(k.BeatWorker(k.ctx, ledger.Worker{ID: worker, Pool: "p"}, time.Minute))
		live := func(want int) {
			k.Helper()
			all, err := k.Workers(k.ctx)
			k.ok(err)
			k.equal(len(all), want)
		}
		live(1)
		k.set(0, 2*time.Minute, true) // as when Redis's clock was set back by that
		live(0)
		k.ok(k.BeatWorker(k.ctx, ledger.Worker{ID: worker, Pool: "p"}, time.Minute))
		live(1)
	}},
}
