package progress_test

import (
	"fmt"
	"testing"

	"github.com/tradingflow/weather-station/coordinator/internal/progress"
	"github.com/tradingflow/weather-station/shared/plan"
)

// TestDecide compares every rule with its sentence in the documentation, over
// every mix of results of up to four edges.
func TestDecide(t *testing.T) {
	runs := map[string]func(j progress.Join) bool{
		plan.AllSuccess: func(j progress.Join) bool { return j.Dead == 0 && j.Failed == 0 },
		plan.AllDone:    func(progress.Join) bool { return true },
		plan.OneSuccess: func(j progress.Join) bool { return j.Live >= 1 },
		plan.NoneFailed: func(j progress.Join) bool { return j.Failed == 0 && j.Live >= 1 },
	}
	mixes := 0
	for degree := 1; degree <= 4; degree++ {
		for live := 0; live <= degree; live++ {
			for dead := 0; live+dead <= degree; dead++ {
				j := progress.Join{Live: live, Dead: dead, Failed: degree - live - dead, Degree: degree}
				mixes++
				for rule, run := range runs {
					want := progress.Verdict{Run: true}
					switch {
					case run(j):
					case j.Failed > 0:
						want = progress.Verdict{Reason: progress.UpstreamFailed, Passes: progress.Failed}
					default:
						want = progress.Verdict{Reason: progress.NotTaken, Passes: progress.Dead}
					}
					if got := progress.Decide(rule, j); got != want {
						t.Errorf("%s of %+v: %+v, want %+v", rule, j, got, want)
					}
				}
			}
		}
	}
	if mixes != 3+6+10+15 {
		t.Errorf("%d mixes were looked at", mixes)
	}
}

// TestDecideTable names the cases that people ask about.
func TestDecideTable(t *testing.T) {
	const l, d, f = progress.Live, progress.Dead, progress.Failed
	for _, c := range []struct {
		edges  []progress.Result
		run    string // rules that run, by first letters: all_success, all_done, one_success, none_failed
		passes progress.Result
	}{
		{[]progress.Result{l}, "S D O N", 0},
		{[]progress.Result{d}, "D", d},
		{[]progress.Result{f}, "D", f},
		{[]progress.Result{l, d}, "D O N", d},
		{[]progress.Result{l, f}, "D O", f},
		{[]progress.Result{d, f}, "D", f},
		{[]progress.Result{d, d}, "D", d},
		{[]progress.Result{l, l, d, f}, "D O", f},
	} {
		j := progress.Join{Degree: len(c.edges)}
		for _, e := range c.edges {
			switch e {
			case l:
				j.Live++
			case d:
				j.Dead++
			default:
				j.Failed++
			}
		}
		got, sep := "", ""
		for _, r := range []struct{ letter, rule string }{{"S", plan.AllSuccess}, {"D", plan.AllDone}, {"O", plan.OneSuccess}, {"N", plan.NoneFailed}} {
			v := progress.Decide(r.rule, j)
			if v.Run {
				got, sep = got+sep+r.letter, " "
			} else if v.Passes != c.passes {
				t.Errorf("%s of %v passes %v on, want %v", r.rule, c.edges, v.Passes, c.passes)
			}
		}
		if got != c.run {
			t.Errorf("%v: %q run, want %q", c.edges, got, c.run)
		}
	}
}

func TestDecided(t *testing.T) {
	for open := range 5 {
		for live := 0; live <= 4-open; live++ {
			j := progress.Join{Live: live, Dead: 4 - open - live, Degree: 4}
			if got := j.Decided(); got != (open == 0) {
				t.Errorf("%+v decided: %v", j, got)
			}
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	b.ReportAllocs()
	j := progress.Join{Live: 2, Dead: 1, Degree: 3}
	for b.Loop() {
		if !progress.Decide(plan.NoneFailed, j).Run {
			b.Fatal("does not run")
		}
	}
}

func BenchmarkAudit(b *testing.B) {
	for _, nodes := range []int{100, 10_000} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			b.ReportAllocs()
			s := fan(nodes)
			p, snap := s.plan, s.snapshot()
			for b.Loop() {
				if f := progress.Audit(p, snap); !f.Empty() {
					b.Fatalf("%+v", f)
				}
			}
		})
	}
}
