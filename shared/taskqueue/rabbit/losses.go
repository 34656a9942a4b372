package rabbit

import (
	"maps"
	"sync"
	"time"
)

// losses tells which queues have lost what was in them, and when that was found.
type losses struct {
	mu      sync.Mutex
	at      map[string]time.Time
	changed chan struct{}
}

func newLosses() *losses {
	return &losses{at: map[string]time.Time{}, changed: make(chan struct{})}
}

// note says that what was in a queue before now is lost.
func (l *losses) note(queue string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at[queue] = time.Now()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *losses) read() (map[string]time.Time, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.at), l.changed
}
