package process

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// checkTimeout bounds one look at all dependencies.
const checkTimeout = 2 * time.Second

// Health knows the loops and dependencies of a process. Its methods may be
// called from any goroutine.
type Health struct {
	now func() time.Time

	mu       sync.Mutex
	loops    map[*Loop]struct{}
	deps     map[string]func(context.Context) error
	draining string
}

// NewHealth makes an empty registry. A nil now means time.Now.
func NewHealth(now func() time.Time) *Health {
	if now == nil {
		now = time.Now
	}
	return &Health{now: now, loops: make(map[*Loop]struct{}), deps: make(map[string]func(context.Context) error)}
}

// Loop is one loop that must make progress.
type Loop struct {
	h     *Health
	name  string
	bound time.Duration
	last  time.Time
}

// Loop registers a loop: from now on it must call Progress at least once per
// bound, also when it has nothing to do, until it calls Done.
func (h *Health) Loop(name string, bound time.Duration) *Loop {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &Loop{h: h, name: name, bound: bound, last: h.now()}
	h.loops[l] = struct{}{}
	return l
}

// Progress notes that the loop is alive.
func (l *Loop) Progress() {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.last = l.h.now()
}

// Done takes the loop out of the registry.
func (l *Loop) Done() {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	delete(l.h.loops, l)
}

// Depend registers a dependency with a check that answers quickly; one that
// takes longer than two seconds counts as failed. A second check of the same
// name replaces the first.
func (h *Health) Depend(name string, check func(ctx context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deps[name] = check
}

// Drain makes the process not ready, for the reason given, for good.
func (h *Health) Drain(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = reason
}

// Check is one line of a Report.
type Check struct {
	Name         string     `json:"name"`
	OK           bool       `json:"ok"`
	Error        string     `json:"error,omitempty"`
	LastProgress *time.Time `json:"last_progress,omitempty"` // of a loop
}

// Report is what /livez and /readyz answer.
type Report struct {
	Status string  `json:"status"` // "ok" or "failing"
	Checks []Check `json:"checks"`
}

// OK reports whether every check passed.
func (r Report) OK() bool { return r.Status == "ok" }

func report(checks []Check) Report {
	slices.SortFunc(checks, func(a, b Check) int { return strings.Compare(a.Name, b.Name) })
	r := Report{Status: "ok", Checks: checks}
	for _, c := range checks {
		if !c.OK {
			r.Status = "failing"
		}
	}
	return r
}

// Live looks at the loops.
func (h *Health) Live() Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	checks := []Check{}
	now := h.now()
	for l := range h.loops {
		last := l.last
		c := Check{Name: l.name, OK: true, LastProgress: &last}
		if idle := now.Sub(l.last); idle > l.bound {
			c.OK = false
			c.Error = fmt.Sprintf("no progress for %v; the bound is %v", idle.Round(time.Millisecond), l.bound)
		}
		checks = append(checks, c)
	}
	return report(checks)
}

// Ready asks all dependencies at once. A check that outlives the time limit is
// not waited for; its answer is lost.
func (h *Health) Ready(ctx context.Context) Report {
	h.mu.Lock()
	deps := make(map[string]func(context.Context) error, len(h.deps))
	for name, check := range h.deps {
		deps[name] = check
	}
	draining := h.draining
	h.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	answers := make(chan Check, len(deps))
	for name, check := range deps {
		go func() {
			c := Check{Name: name, OK: true}
			if err := check(ctx); err != nil {
				c.OK, c.Error = false, Redact(err.Error())
			}
			answers <- c
		}()
	}
	checks := []Check{}
	if draining != "" {
		checks = append(checks, Check{Name: "process", Error: draining})
	}
	for len(deps) > 0 {
		select {
		case c := <-answers:
			delete(deps, c.Name)
			checks = append(checks, c)
		case <-ctx.Done():
			for name := range deps {
				checks = append(checks, Check{Name: name, Error: "no answer in time"})
			}
			clear(deps)
		}
	}
	return report(checks)
}
