package schedule

import "time"

// Replaced is the reason of slots whose schedule was replaced before they were
// accounted for: none of them starts any more, whatever the catch-up policy.
const Replaced = "replaced"

// Left returns the slots in (last, until], which a schedule that ended at until left
// behind. Count is 0 when there are none.
func (s *Schedule) Left(last, until, anchor time.Time) Skip {
	d := s.Due(last, until, anchor)
	var run Skip
	for _, x := range d.Skipped { // one or two, that follow each other
		if run.Count == 0 {
			run.From = x.From
		}
		run.To, run.Count = x.To, run.Count+x.Count
	}
	if !d.Start.IsZero() {
		if run.Count == 0 {
			run.From = d.Start
		}
		run.To, run.Count = d.Start, run.Count+1
	}
	run.Reason = Replaced
	return run
}

// Begins is the last instant before this schedule's slots when it was set at an
// anchor: up to it, slots are those of the schedule before.
func (s *Schedule) Begins(anchor time.Time) time.Time {
	if s.spec.Kind == Periodic {
		return anchor.Add(-time.Millisecond)
	}
	return anchor
}
