package dispatch_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// TestPacks: how many nodes go in one message, by how many are ready, of how many slots
// there are, and of what the workers read.
func TestPacks(t *testing.T) {
	for _, c := range []struct {
		ready, slots, reads, largest, messages int
	}{
		{1, 1, 16, 1, 1},
		{1000, 0, 0, 1, 1000}, // nothing is known of workers
		{1000, 50, 1, 1, 1000},
		{1000, 50, 16, 10, 100},
		{199, 50, 16, 1, 199},
		{200, 50, 16, 2, 100},
		{1000, 4, 16, 16, 63},
		{1000, 4, 99, 16, 63},
		{1000, 4, 3, 3, 334},
	} {
		t.Run(fmt.Sprintf("%d ready, %d slots, %d read", c.ready, c.slots, c.reads), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				b.slots, b.reads = c.slots, c.reads
				run(t, b)
				b.offer(batch(c.ready)...)
				b.settled(t, 0)
				largest, nodes := 0, 0
				for _, s := range b.sent {
					n := strings.Count(s, " a t")
					largest, nodes = max(largest, n), nodes+n
				}
				if largest != c.largest || len(b.sent) != c.messages || nodes != c.ready {
					t.Errorf("%d nodes in %d messages, the largest of %d; want %d, %d, %d", nodes, len(b.sent), largest, c.ready, c.messages, c.largest)
				}
				if marked := slices.Concat(b.marked...); len(marked) != c.ready {
					t.Errorf("%d are marked", len(marked))
				}
			})
		})
	}
}

// TestPacksArePerPool: a message goes to one pool, and each pool has its own measure.
func TestPacksArePerPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.slots, b.reads = 1, 16
		run(t, b)
		var es []ledger.Entry
		for i := range 8 {
			es = append(es, entry(i, []string{"a", "a", "a", "b"}[i%4]))
		}
		b.offer(es...)
		b.settled(t, 0)
		want := []string{"station.pool.fast a t a t a t", "station.pool.fast a t a t a t", "station.pool.slow b t", "station.pool.slow b t"}
		if !slices.Equal(b.sent, want) {
			t.Errorf("sent %q, want %q", b.sent, want)
		}
	})
}

// TestAPackThatIsRefused is given back whole.
func TestAPackThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.slots, b.reads, b.manual = 1, 16, true
		run(t, b)
		b.offer(batch(8)...)
		b.settled(t, 8)
		b.receipts["1-0"].Resolve(taskqueue.ErrUnconfirmed)
		b.receipts["5-0"].Resolve(nil)
		b.settled(t, 4) // what was refused waits a breath
		if got := slices.Concat(b.marked...); !slices.Equal(got, []string{"5-0", "6-0", "7-0", "8-0"}) {
			t.Errorf("marked %v", got)
		}
	})
}

// TestPacksOfShortNodes: when the workers are known to be fast, a message has up to an eighth of a
// worker's share of what is ready, until that was long ago.
func TestPacksOfShortNodes(t *testing.T) {
	const rate = 20 // nodes in a millisecond
	for _, c := range []struct {
		ready, workers int
		later          time.Duration
		largest        int
		mute           bool // the broker does not answer at last
	}{
		{160, 1, 0, 16, false},
		{79, 1, 0, 9, false},
		{159, 4, 0, 4, false},
		{7, 1, 0, 1, false},
		{159, 4, 9 * time.Second, 4, false},
		{159, 1, 11 * time.Second, 1, false},
		{159, 1, 11 * time.Second, 1, true},
	} {
		t.Run(fmt.Sprintf("%d ready for %d workers, %s later", c.ready, c.workers, c.later), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newPool()
				b.workers = c.workers
				inTurns(t, b)
				work := func(until int) {
					for budget := 0; b.waits() > 0 || len(b.offered()) < until; {
						<-time.After(time.Millisecond)
						for budget += rate; budget > 0 && b.waits() > 0; {
							budget -= b.drain(1)
						}
					}
				}
				b.offer(of("f", 1, 5000)...)
				b.settled(t, 5000-2*slots)
				work(5000)
				if c.mute {
					b.set(func() { b.depthErr = taskqueue.ErrDisconnected })
					b.offer(of("f", 6001, 600)...)
					work(5600)
				}
				synctest.Wait()
				<-time.After(c.later)
				b.set(func() { b.sent = nil })
				b.offer(of("g", 1, c.ready)...)
				synctest.Wait()
				largest := 0
				for _, s := range b.sent {
					largest = max(largest, strings.Count(s, " a t"))
				}
				if largest != c.largest {
					t.Errorf("the largest message has %d nodes, want %d", largest, c.largest)
				}
			})
		})
	}
}
