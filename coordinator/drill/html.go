package drill

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

//go:embed page.html
var pageText string

// Size of a timeline's drawing, in its own units.
const (
	plotLeft  = 60
	plotWidth = 900
	plotTop   = 24
	barHeight = 4
)

// plot is the timeline of a round, ready to be drawn.
type plot struct {
	Width, Height, Bottom int
	Bars                  []plotBar
	Slots                 []plotBar // where the cycles were due
	Reigns                []plotBar // who led, by dispatches
	Gap                   *plotBar  // without a dispatch around the fault; Y is its height
	Lines, Ticks          []plotLine
}

type plotBar struct {
	X, Width float64
	Y        int
	Class    string
	Title    string
}

type plotLine struct {
	X     float64
	Class string
	Label string
}

// WriteHTML writes the report as one page that needs nothing from elsewhere.
func (r *Report) WriteHTML(w io.Writer) error {
	page, err := template.New("page").Funcs(template.FuncMap{
		"plot": func(x Round) plot { return x.plot() },
		"ms": func(ms *int64) string {
			if ms == nil {
				return "–"
			}
			return fmt.Sprintf("%d ms", *ms)
		},
	}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	if err := page.Execute(w, r); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// plot lays the round out: a row for each cycle, a line for the fault and for
// each step of the recovery.
func (r *Round) plot() plot {
	p := plot{Width: plotLeft + plotWidth + 40, Bottom: plotTop + (barHeight+1)*max(len(r.Timeline), 8)}
	p.Height = p.Bottom + 30
	var first, last time.Time
	for _, b := range r.Timeline {
		for _, t := range []api.Time{b.Slot, b.StartedAt, b.EndedAt} {
			first, last = widen(first, last, t.Time)
		}
	}
	for _, t := range []api.Time{r.InjectedAt, r.HealedAt} {
		first, last = widen(first, last, t.Time)
	}
	whole := max(last.Sub(first), time.Millisecond)
	x := func(t time.Time) float64 { return plotLeft + plotWidth*float64(t.Sub(first))/float64(whole) }
	for i, b := range r.Timeline {
		if b.StartedAt.IsZero() {
			continue
		}
		end := b.EndedAt.Time
		if end.IsZero() {
			end = last
		}
		class := b.Status
		switch {
		case b.Status != api.CycleCompleted:
		case b.Repeated > 0:
			class = "repeated"
		case b.Late:
			class = "late"
		}
		p.Bars = append(p.Bars, plotBar{X: x(b.StartedAt.Time), Width: max(x(end)-x(b.StartedAt.Time), 1), Y: plotTop + i*(barHeight+1), Class: class,
			Title: fmt.Sprintf("cycle %d: %s, %s to %s, %d repeated", b.Cycle, b.Status, b.StartedAt, b.EndedAt, b.Repeated)})
	}
	for i, b := range r.Timeline {
		if !b.Slot.IsZero() {
			p.Slots = append(p.Slots, plotBar{X: x(b.Slot.Time) - 1, Y: plotTop + i*(barHeight+1)})
		}
	}
	for i, l := range r.Leaders {
		from, to := max(x(l.From.Time), plotLeft), min(x(l.To.Time), plotLeft+plotWidth)
		p.Reigns = append(p.Reigns, plotBar{X: from, Width: max(to-from, 1), Y: i % 2,
			Title: fmt.Sprintf("epoch %d dispatched from %s to %s", l.Epoch, l.From, l.To)})
		if i > 0 && r.GapMS != nil && l.Epoch > r.Epoch && p.Gap == nil {
			last := x(r.Leaders[i-1].To.Time)
			p.Gap = &plotBar{X: last, Y: p.Bottom - 18, Width: max(x(l.From.Time)-last, 1), Title: fmt.Sprintf("%d ms without a dispatch", *r.GapMS)}
		}
	}
	step := niceStep(whole)
	for d := time.Duration(0); d <= whole; d += step {
		p.Ticks = append(p.Ticks, plotLine{X: x(first.Add(d)), Class: "tick", Label: d.String()})
	}
	if r.InjectedAt.IsZero() {
		return p
	}
	mark := func(ms *int64, class, label string) {
		if ms != nil {
			p.Lines = append(p.Lines, plotLine{X: x(r.InjectedAt.Add(time.Duration(*ms) * time.Millisecond)), Class: class, Label: label})
		}
	}
	p.Lines = append(p.Lines, plotLine{X: x(r.InjectedAt.Time), Class: "fault", Label: "fault"})
	mark(r.LeadershipMS, "leadership", "new leader")
	mark(r.RecoveryMS, "recovery", "recovered")
	if !r.HealedAt.IsZero() {
		p.Lines = append(p.Lines, plotLine{X: x(r.HealedAt.Time), Class: "healed", Label: "healed"})
	}
	return p
}

func widen(first, last, t time.Time) (from, to time.Time) {
	if t.IsZero() {
		return first, last
	}
	if first.IsZero() || t.Before(first) {
		first = t
	}
	if t.After(last) {
		last = t
	}
	return first, last
}

// niceStep returns the distance of the axis' marks: about ten of them.
func niceStep(whole time.Duration) time.Duration {
	for _, s := range []time.Duration{100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second} {
		if whole <= 12*s {
			return s
		}
	}
	return max(30*time.Second, (whole / 12).Round(30*time.Second))
}
