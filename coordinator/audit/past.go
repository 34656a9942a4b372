package audit

import (
	"github.com/tradingflow/weather-station/shared/ledger"
)

// before reports whether a slot that a record of some time accounts for is of an
// earlier schedule.
func (g *grid) before(slot, at int64) bool { return slot < g.anchor || at < g.anchor }

// era returns the past grid that an instant lies in, or nil.
func (g *grid) era(at int64) *grid {
	for _, p := range g.past {
		if p.anchor <= at && at <= p.until {
			return p
		}
	}
	return nil
}

// missing counts the slots after one that is accounted, up to an instant, on the
// present grid and those before it. How slots lay before the oldest that is known is
// not known.
func (g *grid) missing(slot, to int64) (n int64) {
	for _, p := range append(g.past[:len(g.past):len(g.past)], g) {
		end := to
		if p != g {
			end = min(to, p.until)
		}
		if !p.known() || end < p.anchor || end <= slot {
			continue
		}
		between, _ := p.count(p.after(slot), end)
		n += between
	}
	return n
}

// onPast checks a run of slots of an earlier schedule. Those that were accounted
// before that schedule was set, or before the oldest that is known, are of another.
func (c *checker) onPast(r ledger.Record, f *flow, first, last, count int64) {
	p := f.grid.era(first)
	if p == nil || !p.known() || p.before(first, r.At.UnixMilli()) || !c.fits(r, p, first, last, count) {
		return
	}
	c.noGap(r, f, first)
}
