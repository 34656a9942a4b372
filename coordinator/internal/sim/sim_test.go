package sim_test

import (
	"flag"
	"testing"

	"github.com/tradingflow/weather-station/coordinator/internal/sim"
	"github.com/tradingflow/weather-station/shared/ledger/memory/mutant"
)

var (
	count = flag.Uint64("sim.n", 500, "schedules to run")
	first = flag.Uint64("sim.seed", 1, "seed of the first")
	trace = flag.Bool("sim.trace", false, "show every step of the first")
)

func TestSchedules(t *testing.T) {
	if mutant.Active != mutant.None {
		t.Skip("this build is broken on purpose")
	}
	if *trace {
		o := sim.Run(*first, func(line string) { t.Log(line) })
		t.Logf("%+v", o)
		if len(o.Violations) > 0 {
			t.Fail()
		}
		return
	}
	s := sim.Sweep(t.Context(), *first, *count, 10, func(s sim.Summary) {
		t.Logf("%d of %d schedules, %s", s.Schedules, *count, s.Rate())
	})
	t.Log("\n" + s.String())
	for _, o := range s.Failed {
		t.Errorf("seed %d: %s: %s\n\tsee it: go test ./coordinator/internal/sim -v -run TestSchedules -sim.trace -sim.seed %d",
			o.Seed, o.Violations[0].Rule, o.Violations[0].Text, o.Seed)
	}
	if s.Schedules != *count && len(s.Failed) == 0 {
		t.Errorf("%d of %d schedules were run", s.Schedules, *count)
	}
}

// A build with a mutant breaks a promise in some schedule; scripts/check mutants
// makes one of each.
func TestTheMutantIsFound(t *testing.T) {
	if mutant.Active == mutant.None {
		t.Skip("this build has no mutant")
	}
	s := sim.Sweep(t.Context(), *first, max(*count, 20_000), 1, nil)
	if len(s.Failed) == 0 {
		t.Fatalf("NOT FOUND in %d schedules", s.Schedules)
	}
	o := s.Failed[0]
	t.Logf("FOUND by %q at seed %d, schedule %d, after %s", o.Violations[0].Rule, o.Seed, s.Schedules, s.Took.Round(1e6))
}

// The same seed is the same schedule, to the last step.
func TestASeedIsASchedule(t *testing.T) {
	for seed := range uint64(40) {
		var one, two []string
		sim.Run(seed, func(line string) { one = append(one, line) })
		sim.Run(seed, func(line string) { two = append(two, line) })
		for i := range one {
			if i >= len(two) || one[i] != two[i] {
				t.Fatalf("seed %d, line %d:\n%s\n%s", seed, i, one[i], two[min(i, len(two)-1)])
			}
		}
	}
}
