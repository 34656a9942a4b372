// Package hands keeps goroutines for work that is short and comes often. A new goroutine
// has a small stack, and what tasks do grows it, copy by copy: a fifth of a short task's
// time. One that has done its work waits for the next with the stack it has.
//
// The work may end its goroutine (runtime.Goexit): then another one is made. It may hang:
// then it is not counted on any more, and its goroutine ends with it.
package hands

import "sync"

// Pool is goroutines that wait for work, as many as ever worked at the same time. The zero
// Pool is ready.
type Pool struct {
	mu     sync.Mutex
	idle   []chan func() // the last one to come is the next to go
	closed bool
}

// Go runs f in a goroutine of the pool; after Close in one of its own.
func (p *Pool) Go(f func()) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		work := p.idle[n-1]
		p.idle = p.idle[:n-1]
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
	return true
}

// Close ends the goroutines that wait; those that work end with their work.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, work := range p.idle {
		close(work)
	}
	p.idle = nil
}
