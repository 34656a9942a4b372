package cluster

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// ticking registers flows that keep a cluster busy: several cycles run at any
// time.
func (c *cluster) ticking(t *testing.T) {
	t.Helper()
	c.register(t, chain("chain", 200*time.Millisecond), diamond("diamond", 300*time.Millisecond), parts("parts", 500*time.Millisecond))
	c.progress(t, 20*time.Second, 2)
}

// nextSlot waits until a slot of a flow is off (negative: ahead) by d.
func (c *cluster) nextSlot(t *testing.T, d time.Duration) {
	t.Helper()
	f := c.flows["parts"]
	now := time.Now()
	k := now.Add(2*f.Interval).Sub(f.Anchor) / f.Interval
	<-time.After(time.Until(f.Anchor.Add(k*f.Interval + d)))
}

// taken finds when the next leadership after the first skip entries began, and
// when its first slot and its first offer came.
func (c *cluster) taken(t *testing.T, since time.Time, skip int) (takeover, slot, offer time.Duration) {
	t.Helper()
	r := c.entry(t, 20*time.Second, skip, "takeover", func(r ledger.Record) bool { return r.Op == "takeover" && r.At.After(since.Add(-time.Second)) })
	from := slices.IndexFunc(c.read(), func(x ledger.Record) bool { return x.ID == r.ID })
	s := c.entry(t, 20*time.Second, from, "slot", func(x ledger.Record) bool { return x.Op == "cycle_start" && x.Epoch == r.Epoch })
	o := c.entry(t, 20*time.Second, from, "offer", func(x ledger.Record) bool { return x.Op == "dispatch" && x.Epoch == r.Epoch })
	return r.At.Sub(since), s.At.Sub(since), o.At.Sub(since)
}

// TestLeaderIsKilled kills the leader in the middle of running cycles: before,
// at and after a slot.
func TestLeaderIsKilled(t *testing.T) {
	t.Parallel()
	c := start(t, setup{faults: true})
	c.ticking(t)
	for _, off := range []time.Duration{-3 * time.Millisecond, 0, 4 * time.Millisecond} {
		leader, _ := c.leader(t)
		c.whole(t)
		c.nextSlot(t, off)
		skip, at := len(c.read()), time.Now()
		leader.kill(t)
		takeover, slot, offer := c.taken(t, at, skip)
		t.Logf("killed %s from a slot: takeover after %s, first slot after %s, first offer after %s", off, takeover, slot, offer)
		if limit := leaderTTL + time.Second; takeover > limit+time.Second {
			t.Errorf("the standby leads after %s; %s are allowed", takeover, limit)
		}
		c.settled(t, 20*time.Second)
		leader.start(t)
		c.whole(t)
	}
	c.progress(t, 20*time.Second, 3)
	c.settled(t, 20*time.Second)
	c.judge(t, histcheck.Evidence{})
}

// TestLeaderHandsOver stops the leader in good order.
func TestLeaderHandsOver(t *testing.T) {
	t.Parallel()
	c := start(t, setup{faults: true})
	c.ticking(t)
	for range 2 {
		leader, _ := c.leader(t)
		c.whole(t)
		c.nextSlot(t, 20*time.Millisecond)
		skip, at := len(c.read()), time.Now()
		leader.signal(t, syscall.SIGTERM)
		takeover, slot, offer := c.taken(t, at, skip)
		code := leader.exit(t, 10*time.Second)
		t.Logf("asked to stop: takeover after %s, first slot after %s, first offer after %s", takeover, slot, offer)
		if takeover > time.Second {
			t.Errorf("a planned hand-over takes %s", takeover)
		}
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
		c.settled(t, 20*time.Second)
		leader.start(t)
		c.whole(t)
	}
	c.progress(t, 20*time.Second, 2)
	c.settled(t, 20*time.Second)
	c.judge(t, histcheck.Evidence{})
}

// TestLeaderIsFrozen stops the leader's process for longer than its term lasts:
// when it wakes, nothing it writes is taken.
func TestLeaderIsFrozen(t *testing.T) {
	t.Parallel()
	c := start(t, setup{faults: true})
	c.ticking(t)
	leader, _ := c.leader(t)
	c.whole(t)
	skip, at := len(c.read()), time.Now()
	leader.signal(t, syscall.SIGSTOP)
	takeover, slot, offer := c.taken(t, at, skip)
	t.Logf("frozen: takeover after %s, first slot after %s, first offer after %s", takeover, slot, offer)
	leader.signal(t, syscall.SIGCONT)
	c.progress(t, 20*time.Second, 4)
	c.whole(t)
	c.settled(t, 20*time.Second)
	if n := count(c.read()[skip:], "takeover"); n > 2 { // the woken one may be elected only in a new term
		t.Errorf("%d leaderships began after one was lost", n)
	}
	c.judge(t, histcheck.Evidence{})
}

func count(journal []ledger.Record, op string) (n int) {
	for _, r := range journal {
		if r.Op == op {
			n++
		}
	}
	return n
}
