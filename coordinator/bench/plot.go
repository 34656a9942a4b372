package bench

import (
	_ "embed"
	"fmt"
	"io"
	"math"
	"strings"
	"text/template"
)

//go:embed plot.svg.tmpl
var plotText string

// Size of one distribution's drawing.
const (
	plotLeft   = 56
	plotWidth  = 360
	plotHeight = 200
	plotTop    = 34
	panelWidth = plotLeft + plotWidth + 30
	panelTall  = plotTop + plotHeight + 46
)

// panel is the distribution of one workload, ready to be drawn: the share of what
// ended within a time, over the time on a logarithmic axis.
type panel struct {
	X, Y        int
	Title       string
	Ours, Floor string // points of a line
	Marks       []mark
}

type mark struct {
	X     float64
	Label string
}

// WriteSVG draws the distributions of latency, one panel a workload.
func (r *Report) WriteSVG(w io.Writer) error {
	page, err := template.New("plot").Parse(plotText)
	if err != nil {
		return fmt.Errorf("read picture: %w", err)
	}
	var panels []panel
	for _, x := range r.Workloads {
		if x.Latency != nil {
			n := len(panels)
			panels = append(panels, x.Latency.panel(x.Name, (n%2)*panelWidth, n/2*panelTall))
		}
	}
	rows := max((len(panels)+1)/2, 1)
	err = page.Execute(w, map[string]any{"Panels": panels, "Width": 2 * panelWidth, "Height": rows*panelTall + 24,
		"PlotLeft": plotLeft, "PlotTop": plotTop, "PlotWidth": plotWidth, "PlotHeight": plotHeight})
	if err != nil {
		return fmt.Errorf("draw picture: %w", err)
	}
	return nil
}

// panel lays a distribution out.
func (l *Latency) panel(name string, x, y int) panel {
	// Below a tenth of a millisecond nothing is told apart.
	const least = 0.1
	low, high := math.Inf(1), least*10
	for _, line := range [][]float64{l.Ours, l.Floor} {
		for _, v := range line {
			low, high = min(low, max(v, least)), max(high, v)
		}
	}
	from, to := math.Floor(math.Log10(min(low, high))), math.Ceil(math.Log10(high))
	at := func(v float64) float64 { return plotLeft + plotWidth*(math.Log10(max(v, least))-from)/max(to-from, 1) }
	points := func(line []float64) string {
		var b strings.Builder
		for i, v := range line {
			fmt.Fprintf(&b, "%.1f,%.1f ", at(v), plotTop+plotHeight*(1-float64(i)/100))
		}
		return strings.TrimSpace(b.String())
	}
	p := panel{X: x, Y: y, Title: name + ": " + l.Name, Ours: points(l.Ours), Floor: points(l.Floor)}
	for e := from; e <= to; e++ {
		p.Marks = append(p.Marks, mark{at(math.Pow(10, e)), fmt.Sprintf("%g ms", math.Pow(10, e))})
	}
	return p
}
