package intake

import "time"

// patience is how long a task waits here for a place. Other workers may be idle by then.
const patience = time.Second

// crew is the places at which tasks run, as many as there are slots. A slot's message
// takes one, but a message of several tasks takes one for each of them.
type crew struct{ places chan struct{} }

func newCrew(n int) *crew { return &crew{make(chan struct{}, n)} }

// try takes a place if one is free.
func (c *crew) try() bool {
	select {
	case c.places <- struct{}{}:
		return true
	default:
		return false
	}
}

// enter takes a place, at once or before one of these comes.
func (c *crew) enter(over <-chan time.Time, stop <-chan struct{}) bool {
	if c.try() {
		return true
	}
	select {
	case c.places <- struct{}{}:
		return true
	case <-over:
		return false
	case <-stop:
		return false
	}
}

func (c *crew) leave() { <-c.places }

// enterWithin takes a place for the slot's message.
func (s *server) enterWithin(d time.Duration) bool {
	if s.crew.try() {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	return s.crew.enter(t.C, s.taking.Done())
}

// leave gives up the slot's own place.
func (s *server) leave() {
	if s.placed {
		s.placed = false
		s.crew.leave()
	}
}
