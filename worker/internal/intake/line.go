package intake

import (
	"sync"
	"time"

	"github.com/tradingflow/weather-station/shared/hop"
	"github.com/tradingflow/weather-station/worker/internal/settle"
)

// line is the claims that came with one report, and with those of their heirs. Those that
// found no place get one that another of the line leaves. A nil line has nobody.
type line struct {
	mu      sync.Mutex
	waiting []chan struct{} // who waits longest is first; a place is passed by closing
}

// waits tells how many wait.
func (l *line) waits() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// join begins to wait.
func (l *line) join() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan struct{})
	l.waiting = append(l.waiting, c)
	return c
}

// pass gives a place to who waits longest; false when nobody does.
func (l *line) pass() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return false
	}
	close(l.waiting[0])
	l.waiting = l.waiting[1:]
	return true
}

// quit ends the wait of c; false when a place was passed to it already.
func (l *line) quit(c <-chan struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.waiting {
		if w == c {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// heirs makes of the claims that came with the report of g what is to be run. The first has the
// place of g, if that was kept; the others are kept alive from now on, and have a place or stand in line for one.
func (s *server) heirs(g *granted, got settle.Next, kept bool) []*granted {
	if len(got.Claims) == 0 {
		return nil
	}
	next, l := make([]*granted, len(got.Claims)), g.line
	for i := range got.Claims {
		c := got.Claims[i]
		x := &granted{Claim: c, handler: s.Registry.Lookup(c.Node.Type), sent: got.Sent, direct: true, since: g.since}
		next[i] = x
		hop.Pass(hop.Claimed, x.Attempt)
		if i == 0 && kept {
			continue
		}
		x.held, x.drop = s.Claims.Hold(s.work, x.Attempt, x.Token, x.sent)
		if s.crew.try() {
			continue
		}
		if l == nil {
			l = &line{}
		}
		x.passed = l.join()
	}
	for _, x := range next {
		x.line = l
	}
	return next
}

// beside sees a claim through that came with others, once it has a place. Where none comes
// soon, it is handed back: others may have one.
func (s *server) beside(m *message, g *granted) ending {
	if g.passed == nil || s.awaits(g) {
		return s.run(m, g)
	}
	defer g.drop()
	s.lookout.waited()
	err := s.Settler.Release(s.reports, &g.Claim, false)
	if err != nil && s.reports.Err() != nil {
		return requeue
	}
	if err != nil {
		s.about(g.Attempt).Error("claim can't be handed back; its lease will run out", "error", err)
	}
	return ack
}

// awaits waits for a place, its own or one that is passed on.
func (s *server) awaits(g *granted) bool {
	t := time.NewTimer(haste)
	defer t.Stop()
	if s.crew.enterOr(g.passed, t.C, s.work.Done()) {
		if !g.line.quit(g.passed) { // it has two now
			s.crew.leave(g.line)
		}
		return true
	}
	return !g.line.quit(g.passed)
}
