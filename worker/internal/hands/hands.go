// Package hands keeps goroutines for work that is short and comes often. A new goroutine
// has a small stack, and what tasks do grows it, copy by copy: a fifth of a short task's
// time. One that has done its work waits for the next with the stack it has, and ends when it
// was not needed for a while: after a rush a process gives back what that took.
//
// The work may end its goroutine (runtime.Goexit): then another one is made. It may hang:
// then it is not counted on any more, and its goroutine ends with it.
package hands

import (
	"sync"
	"time"
)

// keep is how long goroutines wait that nobody needs: twice that at most.
const keep = 10 * time.Second

// Pool is goroutines that wait for work, as many as worked at the same time of late. The zero
// Pool is ready.
type Pool struct {
	mu     sync.Mutex
	idle   []chan func() // the last one to come is the next to go
	least  int           // how many waited all the time since the last look
	looks  *time.Timer   // nil while none waits
	closed bool
}

// Go runs f in a goroutine of the pool; after Close in one of its own.
func (p *Pool) Go(f func()) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		work := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.least = min(p.least, n-1)
		p.mu.Unlock()
		work <- f
		return
	}
	p.mu.Unlock()
	go func() {
		work := make(chan func(), 1)
		for ok := true; ok; f, ok = <-work {
			f()
			f = nil // it may hold much
			if !p.rest(work) {
				return
			}
		}
	}()
}

// rest puts a goroutine among those that wait.
func (p *Pool) rest(work chan func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.idle = append(p.idle, work)
	if p.looks == nil {
		p.looks, p.least = time.AfterFunc(keep, p.look), 0
	}
	return true
}

// look ends the goroutines that were not needed since the last look.
func (p *Pool) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, work := range p.idle[:p.least] {
		close(work)
	}
	p.idle = append([]chan func(){}, p.idle[p.least:]...)
	if p.least = len(p.idle); p.closed || p.least == 0 {
		p.looks = nil
		return
	}
	p.looks.Reset(keep)
}

// Close ends the goroutines that wait; those that work end with their work.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.least = true, 0
	if p.looks != nil {
		p.looks.Stop()
	}
	for _, work := range p.idle {
		close(work)
	}
	p.idle = nil
}
