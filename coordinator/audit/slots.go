package audit

import (
	"strconv"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// grid is a periodic flow's present grid, in Unix milliseconds; step 0 = the
// flow has none.
type grid struct {
	anchor, step int64
	// entered is set by the first slot that lies on it. Before that, slots may
	// still be those of the schedule before.
	entered bool
}

// settling is how long after a grid's beginning slots of the schedule before it
// may still be accounted: a new schedule counts from the instant it was asked
// for, and works a moment later.
const settling = 5 * time.Minute

func gridOf(src Source, id ids.FlowID) *grid {
	anchor, interval, ok := src.Grid(id)
	if !ok || interval < time.Millisecond {
		return &grid{}
	}
	return &grid{anchor: anchor.UnixMilli(), step: interval.Milliseconds()}
}

// changed reports whether the flow has another grid by now.
func (g *grid) changed(src Source, id ids.FlowID) bool {
	now := gridOf(src, id)
	return now.anchor != g.anchor || now.step != g.step
}

func (g *grid) on(slot int64) bool { return slot >= g.anchor && (slot-g.anchor)%g.step == 0 }

// after returns the first slot of the grid later than a slot.
func (g *grid) after(slot int64) int64 {
	if slot < g.anchor {
		return g.anchor
	}
	return g.anchor + ((slot-g.anchor)/g.step+1)*g.step
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
	c.slot(r, first, last, count)
}

// slot accounts a run of slots.
func (c *checker) slot(r ledger.Record, first, last, count int64) {
	c.proof.Checked[Slots] += count
	f := c.flow(r.Flow)
	if f.began && first <= f.slot {
		c.breaks(Slots, r, "slot %s is accounted after slot %s was", instant(first), instant(f.slot))
	}
	if f.grid == nil {
		f.grid = gridOf(c.src, r.Flow)
	}
	if f.grid.step > 0 {
		c.onGrid(r, f, first, last, count)
	}
	if !f.began || last > f.slot {
		f.slot, f.began = last, true
	}
}

// onGrid checks that a run of slots lies on the flow's present grid and leaves
// no gap to the slot before it. Slots from before the grid began are of another
// schedule.
func (c *checker) onGrid(r ledger.Record, f *flow, first, last, count int64) {
	g := f.grid
	if first < g.anchor || r.At.UnixMilli() < g.anchor {
		return
	}
	if !g.on(first) || !g.on(last) || (last-first)/g.step+1 != count {
		if g.entered || r.At.Sub(time.UnixMilli(g.anchor)) > settling {
			c.note(Slots, r, byGrid, "slots %s to %s (%d) do not lie on the grid of %dms from %s", instant(first), instant(last), count, g.step, instant(g.anchor))
		}
		return
	}
	g.entered = true
	if want := g.after(f.slot); f.began && first > want {
		c.note(Slots, r, byGrid, "slot %s follows slot %s: %d slots are not accounted", instant(first), instant(f.slot), (first-want)/g.step)
	}
}

func instant(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
