package intake

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a task waits here for a place. Other workers may be idle by then.
const patience = time.Second

// crew is the places at which tasks run, as many as a worker runs nodes at once, and as many reports
// that may be under way. A message of several tasks takes a place for each of them, one
// such message after the other.
type crew struct {
	places, reports chan struct{}
	turn            chan struct{} // of the message whose further tasks take places
	waiting         atomic.Int32  // further tasks of messages, which have no place yet

	brisk chan<- struct{} // told when a round was; nil = nobody asks
	mu    sync.Mutex
	pace  pace
}

func newCrew(n int) *crew {
	return &crew{places: make(chan struct{}, n), reports: make(chan struct{}, n), turn: make(chan struct{}, 1), pace: pace{places: n}}
}

// try takes a place if one is free.
func (c *crew) try() bool {
	select {
	case c.places <- struct{}{}:
		c.entered()
		return true
	default:
		return false
	}
}

// enter takes a place, at once or before one of these comes.
func (c *crew) enter(over <-chan time.Time, stop <-chan struct{}) bool {
	return c.try() || c.enterOr(nil, over, stop)
}

// enterOr takes a place, unless one of these comes before: one that was passed on, or an end of the wait.
func (c *crew) enterOr(passed <-chan struct{}, over <-chan time.Time, stop <-chan struct{}) bool {
	select {
	case c.places <- struct{}{}:
		c.entered()
		return true
	case <-passed:
	case <-over:
	case <-stop:
	}
	return false
}

// enterAll takes up to n places for the further tasks of one message, each of which then starts, before one of
// these comes. It returns how many. Messages come in the order in which they ask.
func (c *crew) enterAll(n int, start func(i int), over <-chan time.Time, stop <-chan struct{}) (started int) {
	c.waiting.Add(int32(n))
	defer func() { c.waiting.Add(int32(started - n)) }()
	select {
	case c.turn <- struct{}{}:
	case <-over:
		return 0
	case <-stop:
		return 0
	}
	defer func() { <-c.turn }()
	for started < n && c.enter(over, stop) {
		start(started)
		started++
		c.waiting.Add(-1)
	}
	return started
}

// deep tells whether more tasks wait here than there are places.
func (c *crew) deep() bool { return int(c.waiting.Load()) > cap(c.places) }

func (c *crew) entered() {
	if c.brisk == nil || c.idle() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pace.filled(time.Now())
}

// leave gives up a place, to who waits longest in a line if anybody does.
func (c *crew) leave(l *line) (passed bool) {
	full := !c.idle()
	if passed = l.pass(); !passed {
		<-c.places
	}
	if c.brisk == nil {
		return passed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pace.leave(full, time.Now()) {
		signal(c.brisk)
	}
	return passed
}

// idle tells whether a place is free besides those that are taken.
func (c *crew) idle() bool { return len(c.places) < cap(c.places) }

// report gives up the place of a task whose handler has returned, as soon as its report
// may be under way. The function it returns says that it was answered. When stop is
// closed nothing is reported any more, and there is nothing to wait for.
func (c *crew) report(stop <-chan struct{}, l *line) (answered func()) {
	defer func() {
		if !c.leave(l) && len(c.places) == cap(c.places) { // another task has it: its claim goes out first
			runtime.Gosched()
		}
	}()
	select {
	case c.reports <- struct{}{}:
		return func() { <-c.reports }
	default:
	}
	select {
	case c.reports <- struct{}{}:
		return func() { <-c.reports }
	case <-stop:
		return func() {}
	}
}

// enterWithin takes a place for the slot's message.
func (s *server) enterWithin(d time.Duration) bool {
	if s.crew.try() {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	if s.crew.enter(t.C, s.taking.Done()) {
		return true
	}
	s.lookout.waited()
	return false
}

// leave gives up the slot's own place, if no task has it.
func (s *server) leave() {
	if s.placed {
		s.placed = false
		s.crew.leave(nil)
	}
}
