package audit

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// grid is a flow's present grid, in Unix milliseconds; neither step nor next = the
// flow has none.
type grid struct {
	anchor, step int64
	next         func(after int64) int64 // the first slot later than an instant, 0 = none
	name         string
	until        int64   // of a past grid
	past         []*grid // oldest first
	// entered is set by the first slot that lies on it. Before that, slots may
	// still be those of the schedule before.
	entered bool
	first   int64            // that slot
	started int64            // from it on
	skipped map[string]int64 // by reason
	vague   bool             // a run of them was too long to be counted one by one
}

const (
	// settling is how long after a grid's beginning slots of the schedule before it
	// may still be accounted: a new schedule counts from the instant it was asked
	// for, and works a moment later.
	settling = 5 * time.Minute
	// walked is how many slots without a fixed step are looked at one by one; the
	// schedule itself counts no more than that in a run exactly.
	walked = 10_000
)

func gridOf(src Source, id ids.FlowID) *grid {
	now, ok := src.Grid(id)
	if !ok {
		return &grid{}
	}
	g := newGrid(now)
	for _, p := range now.Past {
		g.past = append(g.past, newGrid(p))
	}
	return g
}

func newGrid(now Grid) *grid {
	g := &grid{anchor: now.Anchor.UnixMilli(), step: now.Interval.Milliseconds(), name: now.Name, until: now.Until.UnixMilli(), skipped: map[string]int64{}}
	if now.Next != nil {
		g.step = 0
		g.next = func(after int64) int64 {
			at := now.Next(time.UnixMilli(after))
			if at.IsZero() {
				return 0
			}
			return at.UnixMilli()
		}
	}
	return g
}

// changed reports whether the flow has another grid by now.
func (g *grid) changed(src Source, id ids.FlowID) bool {
	now := gridOf(src, id)
	return now.anchor != g.anchor || now.step != g.step || now.name != g.name
}

func (g *grid) known() bool { return g.step > 0 || g.next != nil }

// leave forgets what was counted: the flow is another from now on.
func (g *grid) leave() {
	g.entered, g.started, g.vague = false, 0, false
	g.skipped = map[string]int64{}
}

func (g *grid) on(slot int64) bool {
	if g.next != nil {
		return g.next(slot-1) == slot
	}
	return g.step > 0 && slot >= g.anchor && (slot-g.anchor)%g.step == 0
}

// after returns the first slot of the grid later than a slot.
func (g *grid) after(slot int64) int64 {
	switch {
	case g.next != nil:
		return g.next(max(slot, g.anchor))
	case slot < g.anchor:
		return g.anchor
	}
	return g.anchor + ((slot-g.anchor)/g.step+1)*g.step
}

// count returns how many slots lie from a slot of the grid up to an instant; false
// when they are too many to be counted.
func (g *grid) count(first, to int64) (int64, bool) {
	if first == 0 || to < first {
		return 0, true
	}
	if g.next == nil {
		return (to-first)/g.step + 1, true
	}
	n := int64(0)
	for at := first; at != 0 && at <= to; at = g.next(at) {
		if n++; n > 10*walked {
			return n, false
		}
	}
	return n, true
}

// skipped reads "first last count reason".
func (c *checker) skipped(r ledger.Record) {
	if c.flow(r.Flow).status == deleting {
		c.breaks(Holds, r, "a slot is accounted while the flow is being deleted")
	}
	parts := strings.Fields(r.Detail)
	var first, last, count int64
	var err1, err2, err3 error
	if len(parts) == 4 {
		first, err1 = strconv.ParseInt(parts[0], 10, 64)
		last, err2 = strconv.ParseInt(parts[1], 10, 64)
		count, err3 = strconv.ParseInt(parts[2], 10, 64)
	}
	if len(parts) != 4 || err1 != nil || err2 != nil || err3 != nil {
		c.breaks(Slots, r, "detail %q can't be read: want first, last, count, reason", r.Detail)
		return
	}
	if last < first || count < 1 || (first == last) != (count == 1) {
		c.breaks(Slots, r, "%d slots from %d to %d make no sense", count, first, last)
		return
	}
	c.flow(r.Flow).skipped[parts[3]] += count
	c.slot(r, first, last, count, parts[3])
}

// slot accounts a run of slots: skipped for a reason, or started ("").
func (c *checker) slot(r ledger.Record, first, last, count int64, reason string) {
	c.proof.Checked[Slots] += count
	f := c.flow(r.Flow)
	if f.began && first <= f.slot {
		c.breaks(Slots, r, "slot %s is accounted after slot %s was", instant(first), instant(f.slot))
	}
	if f.grid == nil {
		f.grid = gridOf(c.src, r.Flow)
	}
	if f.grid.before(first, r.At.UnixMilli()) {
		c.onPast(r, f, first, last, count)
	} else if f.grid.known() && c.onGrid(r, f, first, last, count) {
		if reason == "" {
			f.grid.started++
		} else {
			f.grid.skipped[reason] += count
		}
	}
	if !f.began || last > f.slot {
		f.slot, f.began = last, true
	}
}

// onGrid checks that a run of slots lies on the flow's present grid and leaves
// no gap to the slot before it.
func (c *checker) onGrid(r ledger.Record, f *flow, first, last, count int64) bool {
	g := f.grid
	if !c.fits(r, g, first, last, count) {
		return false
	}
	c.noGap(r, f, first)
	return true
}

// fits checks that a run of slots lies on a grid, and enters it.
func (c *checker) fits(r ledger.Record, g *grid, first, last, count int64) bool {
	exact := int64(1)
	if count > 1 {
		if exact, _ = g.count(first, last); g.next != nil && count > walked {
			exact, g.vague = count, true
		}
	}
	if !g.on(first) || !g.on(last) || exact != count {
		if g.entered || r.At.Sub(time.UnixMilli(g.anchor)) > settling {
			c.note(Slots, r, byGrid, "slots %s to %s (%d) do not lie on the grid of %s", instant(first), instant(last), count, g)
		}
		return false
	}
	if !g.entered {
		g.entered, g.first = true, first
	}
	return true
}

// noGap checks that every slot between the flow's last one and this is accounted.
func (c *checker) noGap(r ledger.Record, f *flow, first int64) {
	if !f.began {
		return
	}
	if missing := f.grid.missing(f.slot, first-1); missing > 0 {
		c.note(Slots, r, byGrid, "slot %s follows slot %s: %d slots are not accounted", instant(first), instant(f.slot), missing)
	}
}

func (g *grid) String() string {
	if g.next != nil {
		return g.name
	}
	return fmt.Sprintf("%dms from %s", g.step, instant(g.anchor))
}

func instant(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
