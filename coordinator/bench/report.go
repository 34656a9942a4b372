package bench

import (
	"math"
	"slices"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/bench/shape"
)

// Report is what a benchmark found.
type Report struct {
	Began     api.Time `json:"began"`
	TookMS    int64    `json:"took_ms"`
	Runs      int      `json:"runs"`
	Queue     string   `json:"queue,omitempty"` // of the floor
	Machine   Machine  `json:"machine"`
	Workloads []Result `json:"workloads"`
}

// Machine is where the benchmark ran.
type Machine struct {
	CPUs  int     `json:"cpus"`
	Load1 float64 `json:"load1"` // before it began: what else ran
}

// Result is what one workload gave.
type Result struct {
	Name     string    `json:"name"`
	What     string    `json:"what"`
	Measures []Measure `json:"measures"`
	// CPUByPart is microseconds a node, the median of the runs, where it is known.
	CPUByPart      map[string]float64 `json:"cpu_by_part,omitempty"`
	FloorCPUByPart map[string]float64 `json:"floor_cpu_by_part,omitempty"`
	Latency        *Latency           `json:"latency,omitempty"`
}

// Measure is a figure of a workload, beside the floor's.
type Measure struct {
	Name   string   `json:"name"`
	Unit   string   `json:"unit,omitempty"`
	Better string   `json:"better"` // lower | higher
	Ours   *Stat    `json:"ours"`
	Floor  *Stat    `json:"floor,omitempty"`
	Ratio  *float64 `json:"ratio,omitempty"` // ours to floor: the median of the ratios of each run
}

// Latency is a distribution: the value at each hundredth, in milliseconds, of all
// runs together.
type Latency struct {
	Name  string    `json:"name"` // hop, cycle, lateness, node
	Ours  []float64 `json:"ours"`
	Floor []float64 `json:"floor,omitempty"`
}

// sum makes the result of a workload.
func (w workload) sum(s Sizes, ours, floor []round) Result {
	out := Result{Name: w.name, What: w.what}
	for _, f := range w.figures(s) {
		m := Measure{Name: f.name, Unit: f.unit, Better: "lower"}
		if f.higher {
			m.Better = "higher"
		}
		mine, least := values(ours, f), values(floor, f)
		if m.Ours, m.Floor = statOf(mine), statOf(least); m.Ours == nil {
			continue
		}
		if all := ratios(mine, least); len(all) > 0 {
			r := median(all)
			m.Ratio = &r
		}
		out.Measures = append(out.Measures, m)
	}
	name, of := w.durations()
	if q := hundredths(ours, of); q != nil {
		out.Latency = &Latency{Name: name, Ours: q, Floor: hundredths(floor, of)}
	}
	return out
}

// values are a figure's of each round; none when a round lacks it.
func values(rounds []round, f figure) []float64 {
	out := make([]float64, len(rounds))
	for i, r := range rounds {
		if out[i] = f.of(r); math.IsNaN(out[i]) || math.IsInf(out[i], 0) {
			return nil
		}
	}
	return out
}

// hundredths is the value at each hundredth from 0 to 100; nil of nothing.
func hundredths(rounds []round, of func(shape.Sample) []time.Duration) []float64 {
	var all []time.Duration
	for _, r := range rounds {
		all = append(all, of(r.samples[0])...)
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	out := make([]float64, 101)
	for i := range out {
		out[i] = ms(percentile(all, float64(i)))
	}
	return out
}
