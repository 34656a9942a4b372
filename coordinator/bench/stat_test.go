package bench

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(tc.values); got != tc.want {
			t.Errorf("median of %v is %v; want %v", tc.values, got, tc.want)
		}
	}
	values := []float64{3, 1, 2}
	if diff := cmp.Diff(&Stat{Median: 2, Min: 1, Max: 3, Runs: []float64{3, 1, 2}}, statOf(values)); diff != "" {
		t.Errorf("sum (-want +got):\n%s", diff)
	}
	if statOf(nil) != nil {
		t.Error("nothing has a sum")
	}
}

func TestPercentile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, tc := range []struct {
		of      []time.Duration
		percent float64
		want    time.Duration
	}{{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100}, {hundred, 0, 1}, {hundred[:1], 50, 1}, {hundred[:3], 50, 2}, {nil, 50, 0}} {
		if got := percentile(tc.of, tc.percent); got != tc.want {
			t.Errorf("%v of %d values is %d; want %d", tc.percent, len(tc.of), got, tc.want)
		}
	}
}

func TestRatiosAreOfTheSameTurn(t *testing.T) {
	got := ratios([]float64{2, 9, 0, 8}, []float64{1, 3, 5, 2, 7})
	if diff := cmp.Diff([]float64{2, 3, 4}, got); diff != "" {
		t.Errorf("ratios (-want +got):\n%s", diff)
	}
}
