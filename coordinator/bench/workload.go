package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/coordinator/bench/shape"
)

// Sizes are how large the workloads are.
type Sizes struct {
	Chain       int           // nodes in a row
	Fan         int           // nodes side by side
	Diamonds    int           // flows at the same time
	Cycles      int           // of each diamond
	Sleeps      int           // nodes
	Sleep       time.Duration // of each
	Concurrency int           // nodes that the cluster's workers run at once, in all
	Ticks       int           // flows
	Every       time.Duration // their interval
	TicksFor    time.Duration // how long they tick
	Big         int           // nodes of the large flow
	Small       int           // nodes of a small one
}

// Workload names, in the order in which they run.
const (
	Chain    = "chain"
	Fan      = "fan"
	Diamonds = "diamonds"
	Sleep    = "sleep"
	Ticks    = "ticks"
	Big      = "big"
)

// Workloads are the names of all workloads.
func Workloads() []string { return []string{Chain, Fan, Diamonds, Sleep, Ticks, Big} }

// workload is what is run for one name.
type workload struct {
	name string
	what string
	jobs []shape.Job
}

// bigWide is how many nodes of the large flow, and of the small ones, are ready at
// the same time.
const bigWide = 100

// workloads makes those that only names; all when it names none.
func (s Sizes) workloads(only []string) ([]workload, error) {
	diamond := shape.Shape{Next: [][]int{{1, 2}, {3}, {3}, {}}}
	rounds := 1
	if s.Every > 0 {
		rounds = max(1, int(s.TicksFor/s.Every))
	}
	length := max(1, s.Small)
	beside := max(1, min(bigWide, s.Big/length))
	all := []workload{
		{Chain, fmt.Sprintf("%d nodes in a row", s.Chain), []shape.Job{{Name: Chain, Shape: shape.Chain(s.Chain), Flows: 1, Cycles: 1}}},
		{Fan, fmt.Sprintf("1 → %d → 1 nodes", s.Fan), []shape.Job{{Name: Fan, Shape: shape.Fan(s.Fan), Flows: 1, Cycles: 1}}},
		{Diamonds, fmt.Sprintf("%d flows of 4 nodes, %d cycles each", s.Diamonds, s.Cycles), []shape.Job{{Name: Diamonds, Shape: diamond, Flows: s.Diamonds, Cycles: s.Cycles}}},
		{Sleep, fmt.Sprintf("%d nodes of %s, %d at once", s.Sleeps, s.Sleep, s.Concurrency), []shape.Job{{Name: Sleep, Shape: shape.Apart(s.Sleeps, s.Sleep), Flows: 1, Cycles: 1}}},
		{Ticks, fmt.Sprintf("%d flows every %s, %d times", s.Ticks, s.Every, rounds), []shape.Job{{Name: Ticks, Shape: shape.Chain(1), Flows: s.Ticks, Cycles: rounds, Every: s.Every}}},
		{Big, fmt.Sprintf("one flow of %d nodes; flows of %d", s.Big, s.Small), []shape.Job{
			{Name: Big, Shape: shape.Chains(s.Big, max(1, s.Big/beside)), Flows: 1, Cycles: 1},
			{Name: "small", Shape: shape.Chain(length), Flows: beside, Cycles: max(1, s.Big/length/beside)},
			{Name: "wide", Shape: shape.Fan(max(1, s.Big-2)), Flows: 1, Cycles: 1, Beside: &shape.Job{Name: "beside", Shape: shape.Chain(10), Flows: 1, Cycles: 1}},
		}},
	}
	if len(only) == 0 {
		return all, nil
	}
	var out []workload
	for _, name := range only {
		i := slices.IndexFunc(all, func(w workload) bool { return w.name == name })
		if i < 0 {
			return nil, fmt.Errorf("workload %q: want some of %s", name, strings.Join(Workloads(), ", "))
		}
		if !slices.ContainsFunc(out, func(w workload) bool { return w.name == name }) {
			out = append(out, all[i])
		}
	}
	return out, nil
}

// faults tells everything that is wrong with the sizes.
func (s Sizes) faults() []string {
	var out []string
	check := func(flag string, n, least, most int) {
		if n < least || n > most {
			out = append(out, fmt.Sprintf("--%s is %d: %d to %d are possible", flag, n, least, most))
		}
	}
	check("chain", s.Chain, 2, 10_000)
	check("fan", s.Fan, 1, 9_998)
	check("diamonds", s.Diamonds, 1, 10_000)
	check("cycles", s.Cycles, 1, 1000)
	check("sleeps", s.Sleeps, 1, 10_000)
	check("concurrency", s.Concurrency, 1, 100_000)
	check("ticks", s.Ticks, 1, 100_000)
	check("big", s.Big, 1, 10_000)
	check("small", s.Small, 1, max(1, s.Big))
	if s.Sleep < time.Millisecond || s.Sleep > 10*time.Second {
		out = append(out, fmt.Sprintf("--sleep is %s: 1ms to 10s are possible", s.Sleep))
	}
	if s.Every < 100*time.Millisecond {
		out = append(out, fmt.Sprintf("--every is %s: at least 100ms is possible", s.Every))
	}
	return out
}

// figure is one number that a workload is judged by.
type figure struct {
	name, unit string
	higher     bool // is better
	of         func(r round) float64
}

// round is what one side did in one run of a workload: a sample and the CPU time
// for each of its jobs.
type round struct {
	samples []shape.Sample
	cpu     []time.Duration // 0 = not known
}

func rate(s shape.Sample) float64 {
	if s.Took <= 0 {
		return 0
	}
	return float64(s.Nodes) / s.Took.Seconds()
}

// quantile is a figure of a job's durations, in milliseconds.
func quantile(of func(shape.Sample) []time.Duration, percent float64) func(round) float64 {
	return func(r round) float64 {
		all := of(r.samples[0])
		if len(all) == 0 {
			return math.NaN()
		}
		return ms(percentile(slices.Sorted(slices.Values(all)), percent))
	}
}

// beside50 and besideMax are the hops of the flow beside the last job: how long
// others wait while one flow offers all its nodes at once.
func beside50(r round) float64 { return besides(r, 50) }

func besideMax(r round) float64 { return besides(r, 100) }

func besides(r round, percent float64) float64 {
	all := r.samples[len(r.samples)-1].Beside
	if len(all) == 0 {
		return math.NaN()
	}
	return ms(percentile(slices.Sorted(slices.Values(all)), percent))
}

func hops(s shape.Sample) []time.Duration   { return s.Hops }
func cycles(s shape.Sample) []time.Duration { return s.Cycles }
func late(s shape.Sample) []time.Duration   { return s.Late }

// figures are those of a workload.
func (w workload) figures(s Sizes) []figure {
	throughput := figure{"throughput", "nodes/s", true, func(r round) float64 { return rate(r.samples[0]) }}
	var out []figure
	switch w.name {
	case Chain:
		out = []figure{{"hop", "ms", false, func(r round) float64 { return ms(r.samples[0].Took) / float64(r.samples[0].Nodes) }},
			{"hop p50", "ms", false, quantile(hops, 50)}, {"hop p99", "ms", false, quantile(hops, 99)}}
	case Fan:
		out = []figure{throughput}
	case Diamonds:
		out = []figure{throughput, {"cycle p50", "ms", false, quantile(cycles, 50)}, {"cycle p99", "ms", false, quantile(cycles, 99)}}
	case Sleep:
		ideal := float64(s.Sleeps) * s.Sleep.Seconds() / float64(min(s.Concurrency, s.Sleeps))
		out = []figure{{"of ideal", "", true, func(r round) float64 { return ideal / r.samples[0].Took.Seconds() }}}
	case Ticks:
		out = []figure{{"late p50", "ms", false, quantile(late, 50)}, {"late p99", "ms", false, quantile(late, 99)},
			{"slots met", "", true, func(r round) float64 {
				return float64(len(r.samples[0].Late)) / float64(w.jobs[0].Flows*w.jobs[0].Cycles)
			}}}
	case Big:
		out = []figure{throughput, {"throughput, small", "nodes/s", true, func(r round) float64 { return rate(r.samples[1]) }},
			{"node, big to small", "x", false, func(r round) float64 { return rate(r.samples[1]) / max(rate(r.samples[0]), 1e-9) }},
			{"hop beside fan-out, p50", "ms", false, beside50}, {"hop beside fan-out, max", "ms", false, besideMax}}
	}
	return append(out, figure{"CPU", "µs/node", false, func(r round) float64 {
		if r.samples[0].Nodes == 0 || r.cpu[0] == 0 {
			return math.NaN()
		}
		return float64(r.cpu[0].Microseconds()) / float64(r.samples[0].Nodes)
	}})
}

// durations are what a workload's picture shows, and how it is called.
func (w workload) durations() (name string, of func(shape.Sample) []time.Duration) {
	switch w.name {
	case Chain:
		return "hop", hops
	case Ticks:
		return "lateness", late
	case Diamonds:
		return "cycle", cycles
	default:
		return "node", hops
	}
}
