package audit

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// clock follows the correction of the ledger's clock. A record's id is Redis
// TIME, or later where that was set back; with the correction it is never earlier
// than the ledger's time of the record.
type clock struct {
	add   int64 // ms
	known bool
	early []early
}

// early is a record that came too early, unless the clock was corrected by more.
type early struct {
	rule   string
	record ledger.Record
	by     int64
	format string
	args   []any
}

// reached checks that an instant (ms) was there when a record was written.
func (k *clock) reached(c *checker, rule string, r ledger.Record, due int64, format string, args ...any) {
	by := due - r.At.UnixMilli()
	switch {
	case k.known && by > k.add:
		c.breaks(rule, r, format, args...)
	case !k.known && by > 0 && len(k.early) < MaxViolations:
		k.early = append(k.early, early{rule, r, by, format, args})
	}
}

// learn judges what came early by the correction that stood then.
func (k *clock) learn(c *checker, add int64) {
	if k.known {
		return
	}
	k.add, k.known = add, true
	for _, e := range k.early {
		if e.by > add {
			c.breaks(e.rule, e.record, e.format, e.args...)
		}
	}
	k.early = nil
}

// set reads "correction before, correction from now on".
func (k *clock) set(c *checker, r ledger.Record) {
	c.proof.Checked[Journal]++
	from, to, _ := strings.Cut(r.Detail, " ")
	before, err1 := strconv.ParseInt(from, 10, 64)
	after, err2 := strconv.ParseInt(to, 10, 64)
	if err1 != nil || err2 != nil {
		c.breaks(Journal, r, "detail %q can't be read: want the correction of the clock before and after", r.Detail)
		return
	}
	k.learn(c, before)
	if before != k.add {
		c.breaks(Journal, r, "the clock's correction is set from %d ms; the journal has %d ms", before, k.add)
	}
	k.add = after
}

// account sums up a flow's slots on its present grid.
func (c *checker) account(id ids.FlowID, f *flow) {
	g := f.grid
	if g == nil || !g.entered || g.vague || f.status == deleting {
		return
	}
	now := max(c.now, f.slot)
	due, ok := g.count(g.first, now)
	if !ok {
		return
	}
	pending, _ := g.count(g.after(f.slot), now)
	s := SlotCount{Flow: id, First: time.UnixMilli(g.first).UTC(), Last: time.UnixMilli(now).UTC(), Due: due, Started: g.started, Skipped: g.skipped, Pending: pending}
	sum := s.Started + s.Pending
	for _, n := range s.Skipped {
		sum += n
	}
	c.proof.Slots = append(c.proof.Slots, s)
	c.proof.Checked[Slots]++
	if sum != due && !f.misslotted { // a gap or an overlap is told where it is
		c.proof.Broken++
		f.doubtful[byGrid]++
		c.found = append(c.found, finding{Violation{Rule: Slots, Key: fmt.Sprintf("flow:%s:state", id), Flow: id,
			Message: fmt.Sprintf("%d slots were due from %s to %s; %d are started, skipped or pending", due, instant(g.first), instant(now), sum)}, byGrid})
	}
}
