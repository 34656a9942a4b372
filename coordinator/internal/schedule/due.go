package schedule

import "time"

// Next returns the first slot strictly after an instant, in UTC. The anchor is
// the instant at which the schedule was set: the first slot of a periodic
// schedule, and the exclusive lower bound of a cron schedule's slots. It
// returns false when there is no such slot, as always for a manual schedule.
func (s *Schedule) Next(after, anchor time.Time) (time.Time, bool) {
	switch s.spec.Kind {
	case Periodic:
		g := s.grid(anchor)
		return g.slot(max(0, g.newest(after)+1)), true
	case Cron:
		if after.Before(anchor) {
			after = anchor
		}
		t := s.cron.next(after)
		return t, !t.IsZero()
	default:
		return time.Time{}, false
	}
}

// Due accounts for every slot in (last, now]: one may start, the others are
// skipped. last is the newest slot accounted for so far, zero for none; the
// caller passes the newest slot of the answer as the next last. Due looks at
// nothing but its arguments, so the same question has the same answer on every
// coordinator.
func (s *Schedule) Due(last, now, anchor time.Time) Due {
	switch s.spec.Kind {
	case Periodic:
		return s.duePeriodic(last, now, anchor)
	case Cron:
		return s.dueCron(last, now, anchor)
	default:
		return Due{}
	}
}

func (s *Schedule) duePeriodic(last, now, anchor time.Time) Due {
	g := s.grid(anchor)
	first := int64(0)
	if !last.IsZero() {
		first = max(0, g.newest(last)+1)
	}
	newest := g.newest(now)
	if newest < first {
		return Due{Next: g.slot(first)}
	}
	var older Skip
	if n := newest - first; n > 0 {
		older = Skip{From: g.slot(first), To: g.slot(newest - 1), Count: n}
	}
	d := s.decide(older, g.slot(newest), now)
	d.Next = g.slot(newest + 1)
	return d
}

func (s *Schedule) dueCron(last, now, anchor time.Time) Due {
	from := anchor
	if last.After(from) {
		from = last
	}
	first := s.cron.next(from)
	if first.IsZero() || first.After(now) {
		return Due{Next: first}
	}
	newest := s.cron.newest(first, now)
	d := s.decide(s.cron.between(first, newest), newest, now)
	d.Next = s.cron.next(newest)
	return d
}

// decide applies the catch-up policy to the newest due slot and to the run of
// older ones, which may be empty.
func (s *Schedule) decide(older Skip, newest, now time.Time) Due {
	late := now.Sub(newest)
	one := Skip{From: newest, To: newest, Count: 1}
	older.Reason = Missed
	start := true
	if s.spec.Catchup == CatchupNone {
		older.Reason = SkippedByCatchupNone
		one.Reason = SkippedByCatchupNone
		start = late <= s.tolerance
	} else {
		one.Reason = OutsideCatchupWindow
		start = late <= s.window
	}
	var d Due
	if older.Count > 0 {
		d.Skipped = append(d.Skipped, older)
	}
	switch {
	case start:
		d.Start = newest
	case older.Count > 0 && older.Reason == one.Reason:
		d.Skipped[0].To = newest
		d.Skipped[0].Count++
	default:
		d.Skipped = append(d.Skipped, one)
	}
	return d
}

// grid is the arithmetic of a periodic schedule, in Unix milliseconds.
type grid struct {
	anchor, step int64
}

func (s *Schedule) grid(anchor time.Time) grid {
	return grid{anchor: anchor.UnixMilli(), step: s.spec.Interval.Milliseconds()}
}

func (g grid) slot(k int64) time.Time {
	return time.UnixMilli(g.anchor + k*g.step).UTC()
}

// newest returns the number of the newest slot at or before t, negative when
// t lies before the anchor.
func (g grid) newest(t time.Time) int64 {
	d := t.UnixMilli() - g.anchor
	k := d / g.step
	if d%g.step < 0 {
		k--
	}
	return k
}
