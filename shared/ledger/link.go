package ledger

import (
	"context"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// link is how scripts get to Redis. A call that finds a free place is sent at once
// by its own goroutine, as if there were no link. A call that finds none waits in
// line, and what stands in line when a round trip ends goes out together in the
// next one: one write, one read, one pass of the server through its event loop. So
// nobody waits for others to come, and the more calls there are, the cheaper each is.
//
// A call with a deadline goes alone and on another connection: it must end at its
// time, whatever the others do, and those that have one (heartbeats, the API) are rare.
//
// What a caller may rely on is the same either way. A call that is out when its
// context ends is let finish, since its effect would not be known otherwise; one that
// still stands in line leaves it. Every call gets its own answer or error; an error of
// the connection is everyone's who was on it. A round trip that broke is made again by
// the client library as a whole, so a script may run twice, as every script may.
type link struct {
	hop   redis.UniversalClient // for calls in line
	alone redis.UniversalClient // for those with a deadline

	mu   sync.Mutex
	out  int // round trips under way
	line []*request
	wait sync.WaitGroup // for the goroutines that send the line
}

// Bounds of a round trip. Two at once keep Redis busy while the answers of the other
// are read; a third only makes the parts smaller.
const (
	roundTrips = 2
	mostCalls  = 64
	mostBytes  = 1 << 20 // of arguments: larger parts would be held in memory twice
)

// request is a call in line.
type request struct {
	text *redis.Script
	keys []string
	args []any
	cmd  *redis.Cmd
	done chan struct{}
}

// run runs a script with a prefix as its key.
func (k *link) run(ctx context.Context, text *redis.Script, keys []string, args []any) ([]any, error) {
	if _, bounded := ctx.Deadline(); bounded {
		return text.Run(ctx, k.alone, keys, args...).Slice()
	}
	k.mu.Lock()
	if k.out < roundTrips {
		k.out++
		k.mu.Unlock()
		defer k.next()
		return text.Run(ctx, k.hop, keys, args...).Slice()
	}
	r := &request{text: text, keys: keys, args: args, done: make(chan struct{})}
	k.line = append(k.line, r)
	k.mu.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
		if k.leave(r) {
			return nil, ctx.Err()
		}
		<-r.done
	}
	return r.cmd.Slice()
}

// leave takes a call out of the line; false when it is on its way.
func (k *link) leave(r *request) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.Index(k.line, r)
	if i < 0 {
		return false
	}
	k.line = slices.Delete(k.line, i, i+1)
	return true
}

// next gives the place of a call that was sent alone to the line, if there is one.
func (k *link) next() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.line) == 0 {
		k.out--
		return
	}
	k.wait.Go(k.send)
}

// send sends the line, part by part, until nobody stands in it.
func (k *link) send() {
	for {
		part := k.take()
		if part == nil {
			return
		}
		k.exchange(part)
	}
}

// take returns the next part of the line; nil gives the place up.
func (k *link) take() []*request {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, bytes := 0, 0
	for n < min(len(k.line), mostCalls) && (n == 0 || bytes < mostBytes) {
		for _, a := range k.line[n].args {
			switch v := a.(type) {
			case string:
				bytes += len(v)
			case []byte:
				bytes += len(v)
			}
		}
		n++
	}
	if n == 0 {
		k.out--
		return nil
	}
	part := slices.Clone(k.line[:n])
	k.line = slices.Delete(k.line, 0, n)
	return part
}

// exchange makes one round trip, and a second one for scripts that Redis did not know.
func (k *link) exchange(part []*request) {
	unknown := k.try(part, nil)
	if unknown == nil {
		return
	}
	whole := map[*redis.Script]bool{} // one brings the text; those behind it find it there
	for _, r := range k.try(unknown, whole) {
		close(r.done) // it was thrown out between the two: an error like others
	}
}

// try sends calls and answers those that Redis knew the script of. With whole, the
// first call of each script brings its text along.
func (k *link) try(part []*request, whole map[*redis.Script]bool) (unknown []*request) {
	ctx := context.Background() // of none of the callers: the bounds of the client end it
	pipe := k.hop.Pipeline()
	for _, r := range part {
		if whole != nil && !whole[r.text] {
			whole[r.text] = true
			r.cmd = r.text.Eval(ctx, pipe, r.keys, r.args...)
		} else {
			r.cmd = pipe.EvalSha(ctx, r.text.Hash(), r.keys, r.args...)
		}
	}
	_, err := pipe.Exec(ctx)
	for _, r := range part {
		switch {
		case redis.HasErrorPrefix(r.cmd.Err(), "NOSCRIPT"):
			unknown = append(unknown, r)
			continue
		case err != nil && r.cmd.Err() == nil && r.cmd.Val() == nil: // never take what did not come for an answer
			r.cmd.SetErr(err)
		}
		close(r.done)
	}
	return unknown
}
