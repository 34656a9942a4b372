package taskqueuetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// tally counts acks by message body.
type tally struct {
	mu   sync.Mutex
	acks map[string]int
	want int
	all  chan struct{} // closed when each of want messages was acked
}

func newTally(want int) *tally {
	return &tally{acks: map[string]int{}, want: want, all: make(chan struct{})}
}

func (t *tally) acked(body string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acks[body]++
	if t.acks[body] == 1 && len(t.acks) == t.want {
		close(t.all)
	}
}

func (t *tally) await(e *env) {
	e.Helper()
	select {
	case <-t.all:
	case <-time.After(2 * patience):
		t.mu.Lock()
		defer t.mu.Unlock()
		e.Errorf("%d of %d messages acked", len(t.acks), t.want)
	}
}

// contextRace ends Receive's context at random moments while messages arrive.
func contextRace(e *env) {
	const n = 300
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := range n {
			if err := e.offer(strconv.Itoa(i)); err != nil {
				e.Errorf("publish: %v", err)
				return
			}
		}
	})
	defer publishing.Wait()
	s := e.slot()
	got := map[string]bool{}
	for end := time.Now().Add(2 * patience); len(got) < n; {
		ctx, cancel := context.WithTimeout(e.ctx, rand.N(2*time.Millisecond))
		d, err := s.Receive(ctx)
		cancel()
		switch {
		case err == nil:
			if got[string(d.Body())] {
				e.Fatalf("%s delivered twice", d.Body())
			}
			got[string(d.Body())] = true
			e.ok("ack", d.Ack())
		case !errors.Is(err, context.DeadlineExceeded):
			e.Fatalf("receive: %v", err)
		case time.Now().After(end):
			e.Fatalf("%d of %d messages received", len(got), n)
		}
	}
	e.close(s)
	e.depth(e.queue, taskqueue.Depth{})
}

// stress: without faults, each message is delivered and acked exactly once.
func stress(e *env) {
	const publishers, each, slots = 5, 1000, 8
	counts := newTally(publishers * each)
	ctx, cancel := context.WithCancel(e.ctx)
	var working sync.WaitGroup
	for range slots {
		s := e.slot()
		working.Go(func() { e.work(ctx, s, counts) })
	}
	for p := range publishers {
		working.Go(func() {
			receipts := make([]*taskqueue.Receipt, each)
			for i := range receipts {
				body := strconv.Itoa(p*each + i)
				r, err := e.Publisher.Publish(ctx, e.queue, body, []byte(body))
				if err != nil {
					e.Errorf("publish: %v", err)
					return
				}
				receipts[i] = r
			}
			for _, r := range receipts {
				select {
				case <-r.Done():
					if r.Err() != nil {
						e.Errorf("receipt: %v", r.Err())
					}
				case <-e.ctx.Done():
					e.Errorf("a receipt never resolves")
					return
				}
			}
		})
	}
	counts.await(e)
	cancel()
	working.Wait()
	e.depth(e.queue, taskqueue.Depth{})
	for body, n := range counts.acks {
		if n != 1 {
			e.Errorf("message %s acked %d times", body, n)
		}
	}
}

// stressDisconnect: with faults, each message is acked at least once.
func stressDisconnect(e *env) {
	const n, slots, cuts = 1500, 6, 4
	counts := newTally(n)
	ctx, cancel := context.WithCancel(e.ctx)
	var working sync.WaitGroup
	for range slots {
		s := e.slot()
		working.Go(func() { e.work(ctx, s, counts) })
	}
	step := make(chan struct{}) // one for each cut
	working.Go(func() {
		for i := range n {
			body := strconv.Itoa(i)
			for attempt := 0; e.offer(body) != nil; attempt++ {
				if ctx.Err() != nil {
					return
				}
				e.pause(ctx)
			}
			if i%(n/(cuts+1)) == 0 && i > 0 && i/(n/(cuts+1)) <= cuts {
				step <- struct{}{}
			}
		}
	})
	for range cuts {
		select {
		case <-step:
			e.Disconnect()
		case <-e.ctx.Done():
			e.Error("publishing stands still")
		}
	}
	counts.await(e)
	cancel()
	working.Wait()
	// Acks that a cut swallowed leave their messages in the queue.
	ctx, cancel = context.WithCancel(e.ctx)
	last := e.slot()
	working.Go(func() { e.work(ctx, last, counts) })
	e.depth(e.queue, taskqueue.Depth{Consumers: 1})
	cancel()
	working.Wait()
	e.depth(e.queue, taskqueue.Depth{})
}

// work receives and acks until ctx ends, then closes the slot.
func (e *env) work(ctx context.Context, s taskqueue.Slot, counts *tally) {
	for {
		d, err := s.Receive(ctx)
		if err != nil {
			if ctx.Err() == nil {
				e.Errorf("receive: %v", err)
			}
			break
		}
		switch err := d.Ack(); {
		case err == nil:
			counts.acked(string(d.Body()))
		case !errors.Is(err, taskqueue.ErrStale):
			e.Errorf("ack: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		e.Errorf("close slot: %v", err)
	}
}

// pause is the wait between two attempts to publish.
func (e *env) pause(ctx context.Context) {
	timer := time.NewTimer(2 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
