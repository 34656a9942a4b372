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
// Calls of one verb that a script takes several of (claim, complete) go as one call of
// that script: what they share is sent, read and written once. It does what is plain and
// leaves the rest alone, as doc.go says; those, and all if it fails, are made by themselves
// then, so that a refusal or an error is its own call's only.
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

	// Bounds of a script for several calls. While it runs, Redis does nothing else.
	mostTogether = 32
	mostArgs     = 2048

	alike = 5 // arguments in front that the calls of such a script share: they go together if they do
)

// request is a call in line.
type request struct {
	text    *redis.Script
	several *redis.Script // does the same for several calls at once; nil = there is none
	keys    []string
	args    []any
	done    chan struct{}

	reply []any
	err   error
}

// run runs a script with a prefix as its key.
func (k *link) run(ctx context.Context, r *request) ([]any, error) {
	if _, bounded := ctx.Deadline(); bounded {
		return r.text.Run(ctx, k.alone, r.keys, r.args...).Slice()
	}
	k.mu.Lock()
	if k.out < roundTrips {
		k.out++
		k.mu.Unlock()
		defer k.next()
		return r.text.Run(ctx, k.hop, r.keys, r.args...).Slice()
	}
	r.done = make(chan struct{})
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
	return r.reply, r.err
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

// exchange makes one round trip, a second one for scripts that Redis did not know, and
// another for calls that have to be made by themselves.
func (k *link) exchange(part []*request) {
	unknown, again := k.try(together(part), nil)
	if unknown != nil {
		whole := map[*redis.Script]bool{} // one brings the text; those behind it find it there
		unknown, more := k.try(unknown, whole)
		fail(unknown) // they were thrown out between the two: an error like others
		again = append(again, more...)
	}
	if again == nil {
		return
	}
	unknown, _ = k.try(singly(again), nil)
	if unknown != nil {
		unknown, _ = k.try(unknown, map[*redis.Script]bool{})
		fail(unknown)
	}
}

// sending is a script with the calls it is run for.
type sending struct {
	calls []*request
	args  int
	cmd   *redis.Cmd
}

// together puts calls into as few scripts as they fit. Those of one verb stay in their order.
func together(part []*request) []*sending {
	all := make([]*sending, 0, len(part))
	for _, r := range part {
		var with *sending
		for i := len(all) - 1; r.several != nil && i >= 0; i-- {
			s := all[i]
			if f := s.calls[0]; f.several != r.several || f.keys[0] != r.keys[0] {
				continue
			} else if slices.Equal(f.args[:alike], r.args[:alike]) && len(s.calls) < mostTogether && s.args+len(r.args) <= mostArgs {
				with = s
			}
			break
		}
		if with == nil {
			with = &sending{}
			all = append(all, with)
		}
		with.calls = append(with.calls, r)
		with.args += len(r.args)
	}
	return all
}

func singly(calls []*request) []*sending {
	all := make([]*sending, len(calls))
	for i, r := range calls {
		all[i] = &sending{calls: []*request{r}}
	}
	return all
}

// script returns what is to be run. The first arguments are the same in all calls.
func (s *sending) script() (text *redis.Script, keys []string, args []any) {
	r := s.calls[0]
	if len(s.calls) == 1 {
		return r.text, r.keys, r.args
	}
	args = append(make([]any, 0, s.args), r.args[:alike]...)
	for _, r := range s.calls {
		args = append(args, r.args[alike:]...)
	}
	return r.several, r.keys, args
}

// try sends scripts and answers the calls of those that Redis knew. With whole, the
// first of each brings its text along. again are calls that have to be made by themselves.
func (k *link) try(part []*sending, whole map[*redis.Script]bool) (unknown []*sending, again []*request) {
	ctx := context.Background() // of none of the callers: the bounds of the client end it
	pipe := k.hop.Pipeline()
	for _, s := range part {
		text, keys, args := s.script()
		if whole != nil && !whole[text] {
			whole[text] = true
			s.cmd = text.Eval(ctx, pipe, keys, args...)
		} else {
			s.cmd = pipe.EvalSha(ctx, text.Hash(), keys, args...)
		}
	}
	_, err := pipe.Exec(ctx)
	for _, s := range part {
		switch {
		case redis.HasErrorPrefix(s.cmd.Err(), "NOSCRIPT"):
			unknown = append(unknown, s)
			continue
		case err != nil && s.cmd.Err() == nil && s.cmd.Val() == nil: // never take what did not come for an answer
			s.cmd.SetErr(err)
		}
		again = append(again, s.settle()...)
	}
	return unknown, again
}

// settle gives the calls their answers, and returns those that have none yet.
func (s *sending) settle() (again []*request) {
	v, err := s.cmd.Slice()
	switch {
	case len(s.calls) == 1:
		s.calls[0].settle(v, err)
	case err != nil && refused(err): // and nothing was written
		return s.calls
	case err == nil && len(v) != len(s.calls):
		return s.calls
	default:
		for i, r := range s.calls {
			if err != nil {
				r.settle(nil, err)
			} else if answer, ok := v[i].([]any); ok {
				r.settle(answer, nil)
			} else {
				again = append(again, r)
			}
		}
	}
	return again
}

func (r *request) settle(reply []any, err error) {
	r.reply, r.err = reply, err
	close(r.done)
}

// fail gives the calls of scripts the scripts' errors.
func fail(all []*sending) {
	for _, s := range all {
		for _, r := range s.calls {
			r.settle(nil, s.cmd.Err())
		}
	}
}
