package registry

import (
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
)

// Era is a schedule that was replaced.
type Era struct {
	*schedule.Schedule
	Anchor time.Time
	Until  time.Time // the last instant that was its own
}

// Past compiles the schedules before the flow's own, oldest first.
func (f *Flow) Past() ([]Era, error) {
	past := f.Record.Past()
	out := make([]Era, len(past))
	until := f.Schedule.Begins(f.Record.Anchor())
	for i := len(out) - 1; i >= 0; i-- {
		s, err := schedule.Compile(past[i].Spec)
		if err != nil {
			return nil, fmt.Errorf("stored flow %s: earlier schedule: %w", f.Record.Flow, err)
		}
		out[i] = Era{Schedule: s, Anchor: past[i].Anchor, Until: until}
		until = s.Begins(out[i].Anchor)
	}
	return out, nil
}

// Left lists the slots after last that the schedules before the flow's own left
// behind, from the one on that was set at anchor; none when that is not remembered.
func (f *Flow) Left(anchor, last time.Time) (left []schedule.Skip, err error) {
	past, err := f.Past()
	found := false
	for _, e := range past {
		if found = found || e.Anchor.Equal(anchor); !found {
			continue
		}
		if run := e.Schedule.Left(last, e.Until, e.Anchor); run.Count > 0 {
			left, last = append(left, run), run.To
		}
	}
	return left, err
}
