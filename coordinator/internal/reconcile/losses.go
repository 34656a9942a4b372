package reconcile

import (
	"maps"
	"sync"
	"time"
)

// settling is how long an audit that a lost queue asks for waits: what a worker had in
// its hands when the queue was lost is claimed by then.
const settling = 50 * time.Millisecond

// losses are the queues that lost what was in them, and when that was found, until a
// pass has looked at every cycle.
type losses struct {
	mu   sync.Mutex
	at   map[string]time.Time
	bell chan struct{}
}

// QueueLost says that what was offered in a queue before that time is in it no more:
// the broker was restarted, or the queue was made anew.
func (a *Audit) QueueLost(queue string, at time.Time) {
	a.losses.add(map[string]time.Time{queue: at})
	ring(a.losses.bell)
}

func (l *losses) add(at map[string]time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil {
		l.at = map[string]time.Time{}
	}
	for queue, t := range at {
		if t.After(l.at[queue]) {
			l.at[queue] = t
		}
	}
}

// take returns all losses and forgets them.
func (l *losses) take() map[string]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.at
	l.at = nil
	return at
}

// lost returns when each queue lost its messages, by the ledger's clock, which showed
// now a moment ago: so a little early, and no offer that was made since is meant.
func lost(at map[string]time.Time, now time.Time) map[string]time.Time {
	at = maps.Clone(at)
	for queue, t := range at {
		at[queue] = now.Add(-time.Since(t))
	}
	return at
}
