package ticker_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/coordinator/internal/ticker"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

const every10s = `"schedule_type":"periodic","interval_seconds":10`

// sleep lets time pass in a bubble, and everything that is due then happen.
func sleep(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func empty() *flows { return &flows{all: map[ids.FlowID]*registry.Flow{}} }

func TestEverySlotStartsOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		f := doc(t, "f", 1, time.Now(), every10s)
		a := install(b, r, f)
		tk, stop := lead(t, b, r, 1, 0, nil)
		tk.Look("f")
		sleep(time.Hour)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.balance(t, f, a, 1)
		if len(a.started) < 360 || a.late > time.Millisecond || len(a.skipped) > 0 {
			t.Errorf("%d started, at worst %s late, skipped %v", len(a.started), a.late, a.skipped)
		}
	})
}

// TestFailover: leaders come and go, also two at a time, with a gap between
// some; every slot is accounted once.
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		f := doc(t, "f", 1, time.Now(), every10s)
		a := install(b, r, f)
		for epoch := ids.Epoch(1); epoch < 20; epoch++ {
			tk, stop := lead(t, b, r, epoch, 0, nil)
			know(b, tk)
			sleep(37 * time.Second)
			switch epoch % 3 {
			case 0: // a gap in which two slots pass
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				sleep(25 * time.Second)
			case 1: // the old one goes on until it is fenced
				next, stopNext := lead(t, b, r, epoch+1, 0, nil)
				know(b, next)
				sleep(23 * time.Second)
				if err := stop(); !ledger.Fenced(err) {
					t.Errorf("the old leader ended with %v", err)
				}
				_ = stopNext()
				epoch++
			default:
				_ = stop()
			}
		}
		tk, _ := lead(t, b, r, 99, 0, nil)
		know(b, tk)
		sleep(time.Millisecond)
		b.balance(t, f, a, 0)
		if a.skipped["missed"] == 0 || len(a.started) < 50 {
			t.Errorf("the test saw no gap: started %d, skipped %v", len(a.started), a.skipped)
		}
	})
}

// TestClocks: this machine's clock and Redis's differ. No slot starts before its
// time by either clock, none is lost, and nothing spins.
func TestClocks(t *testing.T) {
	for _, ahead := range []time.Duration{20 * time.Millisecond, 3 * time.Second, time.Hour, -20 * time.Millisecond, -3 * time.Second} {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, r := newBook(), empty()
				f := doc(t, "f", 1, time.Now(), every10s)
				a := install(b, r, f)
				tk, _ := lead(t, b, r, 1, ahead, nil)
				tk.Look("f")
				sleep(10*time.Minute + 5*time.Second)
				pending := int64(0)
				if ahead < 0 {
					pending = 1
				}
				b.balance(t, f, a, pending)
				b.set(func() {
					if a.last.After(b.clock()) {
						t.Errorf("slots are accounted up to %s ahead of Redis", a.last.Sub(b.clock()))
					}
					if len(a.skipped) > 0 || a.late > max(-ahead, 0)+time.Millisecond {
						t.Errorf("skipped %v, late %s", a.skipped, a.late)
					}
					if b.calls > 61*4 {
						t.Errorf("%d calls for 61 slots", b.calls)
					}
				})
			})
		})
	}
}

// TestAJumpOfThisClock: it is set an hour ahead while leading.
func TestAJumpOfThisClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		f := doc(t, "f", 1, time.Now(), every10s)
		a := install(b, r, f)
		var mu sync.Mutex
		ahead := time.Duration(0)
		tk, _ := lead(t, b, r, 1, 0, func(c *ticker.Config) {
			c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }
		})
		tk.Look("f")
		for _, d := range []time.Duration{0, time.Hour, 0} {
			mu.Lock()
			ahead = d
			mu.Unlock()
			sleep(5*time.Minute + time.Second)
		}
		b.balance(t, f, a, 6)
		b.set(func() {
			if a.last.After(b.clock()) {
				t.Errorf("slots are accounted up to %s ahead of Redis", a.last.Sub(b.clock()))
			}
		})
	})
}

func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		f := doc(t, "f", 1, time.Now(), every10s)
		a := install(b, r, f)
		tk, _ := lead(t, b, r, 1, 0, nil)
		tk.Look("f")
		sleep(25 * time.Second)
		b.set(func() { a.paused = true }) // the pause reaches Redis first,
		sleep(7 * time.Second)
		held := *f
		held.Paused = true
		r.put(&held) // then this process
		tk.Look("f")
		sleep(30 * time.Second)
		b.set(func() {
			if len(a.started) != 3 || a.skipped["paused"] != 4 {
				t.Errorf("paused after 3 slots for 4: %d started, skipped %v", len(a.started), a.skipped)
			}
			a.paused = false
		})
		r.put(f)
		tk.Look("f")
		sleep(20 * time.Second)
		b.balance(t, f, a, 0)
	})
}

func TestAnEditedSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		a := install(b, r, doc(t, "f", 1, time.Now(), every10s))
		tk, _ := lead(t, b, r, 1, 0, nil)
		tk.Look("f")
		sleep(25 * time.Second)
		edited := doc(t, "f", 2, time.Now(), `"schedule_type":"periodic","interval_seconds":3`)
		r.put(edited) // this process knows it before Redis does
		tk.Look("f")
		sleep(time.Second)
		install(b, r, edited)
		tk.Look("f")
		sleep(10*time.Second + 500*time.Millisecond)
		b.set(func() {
			var slots []time.Duration
			for d := time.Duration(0); d <= 12*time.Second; d += 500 * time.Millisecond {
				if a.started[edited.Record.Anchor().UTC().Add(d)] > 0 {
					slots = append(slots, d)
				}
			}
			if diff := cmp.Diff([]time.Duration{0, 3 * time.Second, 6 * time.Second, 9 * time.Second}, slots); diff != "" {
				t.Errorf("slots of the new grid (-want +got):\n%s", diff)
			}
			if len(a.started) != 3+4 {
				t.Errorf("started %d in all", len(a.started))
			}
		})
	})
}

func TestDeletedAndMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		old := install(b, r, doc(t, "f", 1, time.Now(), every10s))
		tk, _ := lead(t, b, r, 1, 0, nil)
		tk.Look("f")
		sleep(25 * time.Second)
		r.drop("f")
		b.set(func() { delete(b.flows, "f") })
		tk.Look("f")
		sleep(25 * time.Second)
		if len(old.started) != 3 {
			t.Errorf("a deleted flow went on: %d cycles", len(old.started))
		}
		again := doc(t, "f", 1, time.Now(), every10s)
		again.Record.UID[0]++
		a := install(b, r, again)
		tk.Look("f")
		sleep(25 * time.Second)
		b.balance(t, again, a, 0)
		if len(a.started) != 3 {
			t.Errorf("made again it started %d", len(a.started))
		}
	})
}

// TestAnOutage: slots that pass meanwhile are made good by the catch-up policy.
func TestAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		f := doc(t, "f", 1, time.Now(), every10s)
		a := install(b, r, f)
		tk, _ := lead(t, b, r, 1, 0, nil)
		tk.Look("f")
		sleep(5 * time.Second)
		b.set(func() { b.down = ledger.ErrUnavailable })
		sleep(41 * time.Second)
		b.set(func() { b.down = nil })
		back := time.Now()
		for len(b.started) > 0 {
			<-b.started
		}
		<-b.started
		if d := time.Since(back); d > 250*time.Millisecond {
			t.Errorf("the next cycle came %s after the outage", d)
		}
		sleep(time.Minute)
		b.balance(t, f, a, 0)
	})
}

// TestRedisGoesBack: what it forgot under a leader that knows better is accounted
// again, and no slot is lost between.
func TestRedisGoesBack(t *testing.T) {
	for _, back := range []time.Duration{10 * time.Second, 40 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b, r := newBook(), empty()
			f := doc(t, "f", 1, time.Now(), every10s)
			a := install(b, r, f)
			tk, _ := lead(t, b, r, 1, 0, nil)
			tk.Look("f")
			sleep(65 * time.Second)
			b.set(func() { // as a file does that lost its end
				for slot := a.last; slot.After(a.last.Add(-back)); slot = slot.Add(-10 * time.Second) {
					delete(a.started, slot.UTC())
				}
				a.last = a.last.Add(-back)
			})
			sleep(time.Minute)
			b.balance(t, f, a, 0)
		})
	}
}

// TestALostFlowIsTold, so that somebody installs it again.
func TestALostFlowIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		f := doc(t, "f", 1, time.Now(), every10s)
		install(b, r, f)
		told := make(chan ids.FlowID, 10)
		tk, _ := lead(t, b, r, 1, 0, func(c *ticker.Config) { c.Missing = func(id ids.FlowID) { told <- id } })
		tk.Look("f")
		sleep(15 * time.Second)
		b.set(func() { clear(b.flows) }) // FLUSHALL
		lost := time.Now()
		<-told
		if d := time.Since(lost); d > 10*time.Second {
			t.Errorf("told after %s", d)
		}
		a := install(b, r, f)
		tk.Look("f")
		sleep(20 * time.Second)
		if len(a.started) != 3 {
			t.Errorf("%d cycles since, want 3: the slot it was lost at, and two", len(a.started))
		}
	})
}

func TestBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		f := doc(t, "f", 1, time.Now(), every10s)
		a := install(b, r, f)
		why := "memory"
		tk, _ := lead(t, b, r, 1, 0, func(c *ticker.Config) {
			c.Blocked = func() string { b.mu.Lock(); defer b.mu.Unlock(); return why }
		})
		tk.Look("f")
		sleep(25 * time.Second)
		b.set(func() { why = "" })
		sleep(20 * time.Second)
		b.balance(t, f, a, 0)
		if a.skipped["memory"] != 3 || len(a.started) != 2 {
			t.Errorf("skipped %v, started %d", a.skipped, len(a.started))
		}
	})
}

// TestSummerTime: a cron flow over both changes of the clock.
func TestSummerTime(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		day   time.Time
		slots int
	}{
		{time.Date(2026, 3, 7, 12, 0, 0, 0, zone), 3}, // 02:30 is left out on the 8th and runs at 03:30
		{time.Date(2026, 10, 31, 12, 0, 0, 0, zone), 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, r := newBook(), empty()
			b.skew = time.Until(c.day)
			a := install(b, r, doc(t, "f", 1, b.clock(), `"schedule_type":"cron","cron":"30 2 * * *","timezone":"America/New_York"`))
			tk, _ := lead(t, b, r, 1, b.skew, nil)
			tk.Look("f")
			sleep(72 * time.Hour)
			if len(a.started) != c.slots || len(a.skipped) > 0 || a.late > time.Millisecond {
				t.Errorf("%s: %d slots, skipped %v, late %s", c.day, len(a.started), a.skipped, a.late)
			}
		})
	}
}

func TestTenThousandFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		start := time.Now()
		tk, stop := lead(t, b, r, 1, 0, nil)
		for i := range 10_000 {
			id := fmt.Sprintf("f%d", i)
			install(b, r, doc(t, id, 1, start.Add(time.Duration(i)*time.Millisecond), every10s))
			tk.Look(ids.FlowID(id))
		}
		sleep(30*time.Second - time.Millisecond)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for id, a := range b.flows {
			if len(a.started) != 3 || a.late > time.Millisecond {
				t.Fatalf("%s: %d cycles, late %s", id, len(a.started), a.late)
			}
		}
	})
}

func TestManualFlowsNeverStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		a := install(b, r, doc(t, "f", 1, time.Now(), `"schedule_type":"manual"`))
		tk, _ := lead(t, b, r, 1, 0, nil)
		tk.Look("f")
		sleep(time.Hour)
		if len(a.started) > 0 {
			t.Error("it started")
		}
	})
}

// TestAnExpectedFlowIsReadWhenItIsDue: until then it costs nothing, and one that is
// known by then is not read at all.
func TestAnExpectedFlowIsReadWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		first := time.Now()
		f, g := doc(t, "f", 1, first, every10s), doc(t, "g", 1, first, every10s)
		a, other := install(b, r, f), install(b, r, g)
		tk, _ := lead(t, b, r, 1, 0, nil)
		for _, id := range []ids.FlowID{"f", "g"} {
			tk.Expect(id, first.Add(10*time.Second))
		}
		tk.Know("g", first)
		b.set(func() { other.last, a.last = first, first })
		tk.Expect("g", first.Add(time.Second)) // known already
		sleep(9 * time.Second)
		b.set(func() {
			if b.calls > 0 {
				t.Errorf("%d calls before anything is due", b.calls)
			}
		})
		sleep(time.Second)
		b.set(func() {
			if len(a.started) != 1 || len(other.started) != 1 || b.calls != 3 || a.late+other.late > time.Millisecond {
				t.Errorf("started %v and %v by %d calls", a.started, other.started, b.calls)
			}
		})
	})
}

// TestKnownFlowsThatRestCostNothing: what the ledger has of them tells when they are
// due; manual ones are not kept at all.
func TestKnownFlowsThatRestCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBook(), empty()
		a := install(b, r, doc(t, "f", 1, time.Now().Add(-time.Hour), `"schedule_type":"cron","cron":"0 0 1 6 *"`))
		install(b, r, doc(t, "m", 1, time.Now(), `"schedule_type":"manual"`))
		tk, _ := lead(t, b, r, 1, 0, nil)
		tk.Know("f", time.Time{})
		tk.Know("m", time.Time{})
		tk.Know("gone", time.Time{})
		sleep(time.Hour)
		b.set(func() {
			if b.calls > 0 {
				t.Errorf("%d calls, %v", b.calls, a.started)
			}
		})
	})
}
