package sim

import (
	"iter"
	"math/rand/v2"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// process is what crashes and freezes as one: its actors do so together.
type process struct {
	name   string
	dead   bool
	frozen time.Time // until then none of its actors goes on
	cut    time.Time // until then it can't reach the ledger
	grabs  int       // times it was frozen or cut
	actors []*actor
}

// actor is one thread of a process: straight-line code that gives the turn away
// before each call of a store, and goes on when it is picked again.
type actor struct {
	name  string
	proc  *process
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	wake  time.Time   // not before
	cond  func() bool // or as soon as this holds; nil = never
	done  bool
	epoch ids.Epoch // of a leader's part
}

// killed unwinds an actor whose process crashed, or whose reign is over.
type killed struct{}

// scheduler picks which actor goes on. Nothing runs beside it: one goroutine's
// worth of steps, in an order that the seed decides.
type scheduler struct {
	rng    *rand.Rand
	now    time.Time
	actors []*actor
	steps  int
}

// spawn makes an actor. Its body ends by returning, or is unwound by kill.
func (s *scheduler) spawn(p *process, name string, body func(*actor)) *actor {
	a := &actor{name: name, proc: p}
	a.next, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			a.done = true
			if r := recover(); r != nil {
				if _, ok := r.(killed); !ok {
					panic(r)
				}
			}
		}()
		a.yield = yield
		body(a)
	})
	s.actors = append(s.actors, a)
	p.actors = append(p.actors, a)
	return a
}

// step gives the turn away.
func (a *actor) step() {
	if !a.yield(struct{}{}) {
		panic(killed{})
	}
}

// sleep gives the turn away for at least d.
func (a *actor) sleep(s *scheduler, d time.Duration) {
	a.wake = s.now.Add(d)
	a.step()
}

// await gives the turn away until cond holds, at most for d.
func (a *actor) await(s *scheduler, d time.Duration, cond func() bool) {
	if cond() {
		a.step()
		return
	}
	a.wake, a.cond = s.now.Add(d), cond
	a.step()
	a.wake, a.cond = time.Time{}, nil
}

// kill unwinds actors where they stand.
func (s *scheduler) kill(actors ...*actor) {
	for _, a := range actors {
		if !a.done {
			a.done = true
			a.stop()
		}
	}
}

// ready reports whether an actor can go on now.
func (s *scheduler) ready(a *actor) bool {
	if a.done || a.proc.dead || s.now.Before(a.proc.frozen) {
		return false
	}
	return !s.now.Before(a.wake) || a.cond != nil && a.cond()
}

// turn lets one actor go on; when none can, it moves the clock to where one can.
// It reports false when nothing ever will.
func (s *scheduler) turn() bool {
	for {
		var picked *actor
		met := 0
		live := s.actors[:0]
		for _, a := range s.actors {
			if a.done {
				continue
			}
			live = append(live, a)
			if s.ready(a) {
				if met++; s.rng.IntN(met) == 0 {
					picked = a
				}
			}
		}
		s.actors = live
		if picked != nil {
			s.steps++
			s.now = s.now.Add(time.Duration(s.rng.IntN(3)) * time.Millisecond)
			picked.next()
			return true
		}
		next := time.Time{}
		for _, a := range s.actors {
			if a.proc.dead {
				continue
			}
			at := a.wake
			if at.Before(a.proc.frozen) {
				at = a.proc.frozen
			}
			if next.IsZero() || at.Before(next) {
				next = at
			}
		}
		if next.IsZero() {
			return false
		}
		if !next.After(s.now) { // it waits for a condition with its time over: it is ready
			next = s.now.Add(time.Millisecond)
		}
		s.now = next
	}
}

// end unwinds everything.
func (s *scheduler) end() {
	for _, a := range s.actors {
		s.kill(a)
	}
}
