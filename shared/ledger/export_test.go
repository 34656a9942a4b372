package ledger

import (
	"context"
	"runtime"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Node is the server that holds the ledger's keys, to look and spoil behind the
// ledger's back.
func (l *Ledger) Node(ctx context.Context) (redis.Cmdable, error) { return l.node(ctx) }

// Together makes calls that wait in line at the same time, in their order: each is one
// script. They go to the server in one round trip.
func (l *Ledger) Together(calls ...func()) {
	k := l.link
	k.mu.Lock()
	k.out += roundTrips // nobody else finds a place
	before := len(k.line)
	k.mu.Unlock()
	var wg sync.WaitGroup
	for i, call := range calls {
		wg.Go(call)
		for standing := before; standing < before+i+1; runtime.Gosched() {
			k.mu.Lock()
			standing = len(k.line)
			k.mu.Unlock()
		}
	}
	k.mu.Lock()
	k.out -= roundTrips - 1
	k.wait.Go(k.send)
	k.mu.Unlock()
	wg.Wait()
}
