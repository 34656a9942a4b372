package bench

import (
	"slices"
	"time"
)

// Stat is a figure over several runs.
type Stat struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Runs   []float64 `json:"runs"` // in the order of the runs
}

// statOf sums up; nil without values.
func statOf(values []float64) *Stat {
	if len(values) == 0 {
		return nil
	}
	return &Stat{Median: median(values), Min: slices.Min(values), Max: slices.Max(values), Runs: values}
}

// median is the middle value, or the mean of the two in the middle; 0 of nothing.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// percentile returns the smallest value that at least percent of a hundred do not
// exceed. The values are sorted; 0 of nothing.
func percentile(sorted []time.Duration, percent float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(percent/100*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// ratios divides run by run, so that what disturbed both cancels out. A run in
// which either has no figure gives none.
func ratios(ours, floor []float64) []float64 {
	var out []float64
	for i := range min(len(ours), len(floor)) {
		if ours[i] > 0 && floor[i] > 0 {
			out = append(out, ours[i]/floor[i])
		}
	}
	return out
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
