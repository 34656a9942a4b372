package sim

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// Summary is what many schedules came to.
type Summary struct {
	Schedules uint64
	Steps     int
	Cycles    int
	Lossy     int // schedules in which the ledger lost writes
	Clean     int // and those in which nothing went wrong
	Took      time.Duration
	Failed    []Outcome // by seed
	Faults    map[string]int
	Verbs     map[string]int
	Repairs   map[string]int
}

// Sweep runs count schedules from a seed on, on every processor, until ctx ends or
// enough have failed. told hears every few seconds how far it is; it may be nil.
func Sweep(ctx context.Context, first, count uint64, enough int, told func(Summary)) Summary {
	s := Summary{Faults: map[string]int{}, Verbs: map[string]int{}, Repairs: map[string]int{}}
	var mu sync.Mutex
	began, spoke := time.Now(), time.Now()
	next := first
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next >= first+count || len(s.Failed) >= enough || ctx.Err() != nil {
			return 0, false
		}
		next++
		return next - 1, true
	}
	add := func(o Outcome) {
		mu.Lock()
		defer mu.Unlock()
		s.add(o)
		s.Took = time.Since(began)
		if told != nil && time.Since(spoke) > 5*time.Second {
			spoke = time.Now()
			told(s)
		}
	}
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed, ok := take()
				if !ok {
					return
				}
				add(Run(seed, nil))
			}
		})
	}
	wg.Wait()
	slices.SortFunc(s.Failed, func(a, b Outcome) int { return int(a.Seed) - int(b.Seed) })
	return s
}

func (s *Summary) add(o Outcome) {
	s.Schedules++
	s.Steps += o.Steps
	s.Cycles += o.Cycles
	if o.Lossy {
		s.Lossy++
	}
	if len(o.Faults) == 0 {
		s.Clean++
	}
	for _, m := range []struct{ to, from map[string]int }{{s.Faults, o.Faults}, {s.Verbs, o.Verbs}, {s.Repairs, o.Repairs}} {
		for k, n := range m.from {
			m.to[k] += n
		}
	}
	if len(o.Violations) > 0 {
		s.Failed = append(s.Failed, o)
	}
}

// Rate says how fast the schedules were run.
func (s Summary) Rate() string {
	return fmt.Sprintf("%.0f a second", float64(s.Schedules)/max(s.Took.Seconds(), 0.001))
}

// String is the report for people.
func (s Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d schedules in %s (%s): %d steps, %d cycles, %d without a fault, %d in which the ledger lost writes\n",
		s.Schedules, s.Took.Round(10*time.Millisecond), s.Rate(), s.Steps, s.Cycles, s.Clean, s.Lossy)
	for _, part := range []struct {
		name  string
		count map[string]int
	}{{"faults", s.Faults}, {"calls", s.Verbs}, {"repairs", s.Repairs}} {
		var words []string
		for _, k := range slices.Sorted(maps.Keys(part.count)) {
			words = append(words, fmt.Sprintf("%s %d", k, part.count[k]))
		}
		fmt.Fprintf(&b, "%s: %s\n", part.name, strings.Join(words, ", "))
	}
	verdict := "no violation"
	if n := len(s.Failed); n > 0 {
		verdict = fmt.Sprintf("%d schedules broke a promise", n)
	}
	fmt.Fprintf(&b, "verdict: %s\n", verdict)
	return b.String()
}
