package rabbit

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// feed is what all slots of one queue share: the messages that have arrived, the slots
// that wait for one, and what is to be told to the broker. attend, one goroutine in each
// generation, is the only one that tells it.
type feed struct {
	consumer *Consumer
	queue    string
	log      hclog.Logger
	wake     chan struct{} // there is something for attend to do; holds one

	mu      sync.Mutex
	slots   map[*slot]bool // open ones
	counted int            // how many of them hold a message of this generation, or could
	spare   int            // so many fewer messages are wanted than slots are counted
	holding int            // how many do
	line    []*slot        // those that wait; the last one came last and is served first
	ready   []*delivery    // messages that no slot has asked for yet
	ends    []*delivery    // messages whose users have ended them
	backs   []*delivery    // messages that were handed back, or whose slots were closed
	serving bool           // a session looks after what follows
	leaving []chan struct{}
}

func newFeed(c *Consumer, queue string) *feed {
	return &feed{consumer: c, queue: queue, log: c.link.log.With("queue", queue), wake: make(chan struct{}, 1), slots: map[*slot]bool{}}
}

func (f *feed) slot() *slot {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &slot{feed: f, gone: make(chan struct{}), given: make(chan *delivery, 1)}
	f.slots[s] = true
	f.poke()
	return s
}

func (f *feed) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// attend keeps a channel open for the feed, while it has slots, until the generation's
// ctx ends. One goroutine declares the queue for all slots, for RabbitMQ 3.10 tells a
// second declarer that a quorum queue exists before its process runs, and ends the whole
// connection of whoever consumes it then. Two processes can still meet like that on the
// first day of a queue; the one that is too early connects anew.
func (f *feed) attend(ctx context.Context, conn *connection) {
	pause := newPause()
	was := false
	for ctx.Err() == nil {
		if !f.anySlot() {
			select {
			case <-f.wake:
			case <-ctx.Done():
			}
			continue
		}
		began := time.Now()
		err := f.serve(ctx, conn, &was)
		if err == nil { // the last slot is closed, or ctx ended
			continue
		}
		if ctx.Err() == nil {
			f.log.Warn("queue's channel is lost, opening another", "error", err)
		}
		if time.Since(began) > steady {
			pause.Reset()
		}
		wait(ctx, pause.NextBackOff())
	}
}

func (f *feed) anySlot() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.slots) > 0
}

// arrive hands a message to a slot that waits, or keeps it for the next one.
func (f *feed) arrive(d *delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := d.from
	if c.stream.lost.Load() {
		return
	}
	c.unacked++
	c.stream.tags.arrive(d.tag)
	f.ready = append(f.ready, d)
	if n := len(f.line); n > 0 {
		s := f.line[n-1]
		f.line = f.line[:n-1]
		s.given <- f.take(s)
	}
	if f.surplus() > 0 {
		f.poke()
	}
}

// take gives s the message that has waited longest, or nil.
func (f *feed) take(s *slot) *delivery {
	if len(f.ready) == 0 {
		return nil
	}
	d := f.ready[0]
	if f.ready = f.ready[1:]; len(f.ready) == 0 {
		f.ready = nil
	}
	d.slot, s.held = s, d
	f.holding++
	return d
}

// surplus is how many messages have arrived for which there is no slot.
func (f *feed) surplus() int { return len(f.ready) - (f.wanted() - f.holding) }

// wanted is how many messages of this generation may be here; the caller holds mu.
func (f *feed) wanted() int { return max(0, f.counted-f.spare) }

// count takes s among the slots that messages are wanted for, or out.
func (f *feed) count(s *slot, in bool) {
	if s.counted == in {
		return
	}
	if s.counted = in; in {
		f.counted++
	} else {
		f.counted--
	}
	f.poke()
}

// release ends s's hold of its message.
func (f *feed) release(s *slot) {
	s.held = nil
	f.holding--
}

// lose makes everything that came by st stale. A slot that holds such a message is busy
// with it, and no other is wanted for it before it asks again.
func (f *feed) lose(st *stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st.lost.Store(true)
	for s := range f.slots {
		if s.held != nil && s.held.from.stream == st {
			f.release(s)
			if !s.waits {
				f.count(s, false)
				continue
			}
			select { // it has not seen it
			case <-s.given:
			default:
			}
			f.line = append(f.line, s)
		}
	}
	kept := f.ready[:0]
	for _, d := range f.ready {
		if d.from.stream != st {
			kept = append(kept, d)
		}
	}
	f.ready = kept
	f.poke()
}
