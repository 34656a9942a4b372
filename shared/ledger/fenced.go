package ledger

import (
	"maps"
	"sync"
)

// refusals counts the calls that were refused by their epoch.
type refusals struct {
	mu     sync.Mutex
	byVerb map[string]int64
}

func (r *refusals) add(verb string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byVerb == nil {
		r.byVerb = map[string]int64{}
	}
	r.byVerb[verb]++
}

// Refused returns how many calls of each verb were refused by their epoch since
// Open. The journal has each of them.
func (l *Ledger) Refused() map[string]int64 {
	l.fenced.mu.Lock()
	defer l.fenced.mu.Unlock()
	return maps.Clone(l.fenced.byVerb)
}
