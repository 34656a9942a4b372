package sim

import "time"

// Outcome is what one schedule came to.
type Outcome struct {
	Seed       uint64
	Violations []Violation
	Steps      int
	Took       time.Duration // of the schedule's own clock
	Cycles     int
	Lossy      bool
	Faults     map[string]int
	Verbs      map[string]int
	Repairs    map[string]int
}

// Run runs the schedule of a seed. trace, if not nil, hears of every step.
func Run(seed uint64, trace func(string)) Outcome {
	w := begin(seed, trace)
	w.play()
	out := Outcome{Seed: seed, Violations: w.check.found, Steps: w.steps, Took: w.now.Sub(w.anchor), Cycles: len(w.check.cycles), Lossy: w.lossy,
		Faults: map[string]int{}, Verbs: w.verbs, Repairs: w.repairs}
	for f, n := range w.struck {
		if n > 0 {
			out.Faults[fault(f).String()] = n
		}
	}
	return out
}

// play runs a schedule: first with faults, as long as slots are due, then healed
// until everything has ended.
func (w *world) play() {
	defer w.end()
	until := w.anchor.Add(time.Duration(w.slots)*interval + 3*lease)
	for w.now.Before(until) {
		if !w.turn() {
			break
		}
		w.adversary()
		if len(w.check.found) > 0 {
			return
		}
	}
	w.heal()
	began, next := w.now, w.now
	for {
		if !w.turn() {
			break
		}
		if len(w.check.found) > 0 {
			return
		}
		if w.now.Before(next) {
			continue
		}
		next = w.now.Add(500 * time.Millisecond)
		rest := w.rest()
		if rest == "" {
			w.finish()
			return
		}
		if w.now.Sub(began) > patience || w.steps > maxSteps {
			w.check.breaks(Progress, "after %s and %d steps: %s", w.now.Sub(began), w.steps, rest)
			return
		}
	}
	w.check.breaks(Progress, "nothing can go on any more: %s", w.rest())
}
