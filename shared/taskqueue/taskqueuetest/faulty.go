package taskqueuetest

import (
	"context"
	"math/rand/v2"
	"sync"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Faults are probabilities between 0 and 1, looked at in this order; at most one
// strikes a message.
type Faults struct {
	Refuse    float64 // Publish returns ErrDisconnected
	Drop      float64 // not stored, and the receipt says ErrUnconfirmed
	Lie       float64 // stored, but the receipt says ErrUnconfirmed
	Unroute   float64 // not stored, and the receipt says ErrUnroutable
	Duplicate float64 // stored twice
	Delay     float64 // stored, the receipt resolves at Release or Close only
}

// Faulty wraps a publisher and fails by a seed: the same calls in the same order
// fail the same way.
type Faulty struct {
	inner  Publisher
	faults Faults

	mu      sync.Mutex
	random  *rand.Rand
	counts  Struck
	held    chan struct{} // closed by Release
	closed  chan struct{}
	waiting sync.WaitGroup
}

// Struck counts the faults that happened.
type Struck struct{ Refused, Dropped, Lied, Unrouted, Duplicated, Delayed int }

// NewFaulty wraps inner. Close it at the end.
func NewFaulty(inner Publisher, seed uint64, faults Faults) *Faulty {
	return &Faulty{
		inner:  inner,
		faults: faults,
		random: rand.New(rand.NewPCG(seed, seed)),
		held:   make(chan struct{}),
		closed: make(chan struct{}),
	}
}

// Publish publishes through the wrapped publisher, or fails to.
func (f *Faulty) Publish(ctx context.Context, queue, id string, body []byte) (*taskqueue.Receipt, error) {
	switch f.draw() {
	case refuse:
		return nil, taskqueue.ErrDisconnected
	case drop:
		return resolved(taskqueue.ErrUnconfirmed), nil
	case unroute:
		return resolved(taskqueue.ErrUnroutable), nil
	case lie:
		if _, err := f.inner.Publish(ctx, queue, id, body); err != nil {
			return nil, err
		}
		return resolved(taskqueue.ErrUnconfirmed), nil
	case duplicate:
		if _, err := f.inner.Publish(ctx, queue, id, body); err != nil {
			return nil, err
		}
	case delay:
		receipt, err := f.inner.Publish(ctx, queue, id, body)
		if err != nil {
			return nil, err
		}
		return f.hold(receipt), nil
	}
	return f.inner.Publish(ctx, queue, id, body)
}

// Release resolves the receipts that are delayed now, as soon as the wrapped
// publisher has resolved them.
func (f *Faulty) Release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.held)
	f.held = make(chan struct{})
}

// Struck tells what happened so far.
func (f *Faulty) Struck() Struck {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts
}

// Close resolves what is still delayed with ErrUnconfirmed, as the end of a
// connection does. Nothing may be published afterwards.
func (f *Faulty) Close() {
	close(f.closed)
	f.waiting.Wait()
}

func (f *Faulty) hold(inner *taskqueue.Receipt) *taskqueue.Receipt {
	f.mu.Lock()
	held := f.held
	f.mu.Unlock()
	outer := taskqueue.NewReceipt()
	f.waiting.Go(func() {
		for _, signal := range []<-chan struct{}{held, inner.Done()} {
			select {
			case <-signal:
			case <-f.closed:
				outer.Resolve(taskqueue.ErrUnconfirmed)
				return
			}
		}
		outer.Resolve(inner.Err())
	})
	return outer
}

func resolved(err error) *taskqueue.Receipt {
	r := taskqueue.NewReceipt()
	r.Resolve(err)
	return r
}

type fault int

const (
	none fault = iota
	refuse
	drop
	lie
	unroute
	duplicate
	delay
)

// draw decides what strikes the next message, and counts it.
func (f *Faulty) draw() fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.random.Float64()
	for _, c := range []struct {
		fault       fault
		probability float64
		count       *int
	}{
		{refuse, f.faults.Refuse, &f.counts.Refused},
		{drop, f.faults.Drop, &f.counts.Dropped},
		{lie, f.faults.Lie, &f.counts.Lied},
		{unroute, f.faults.Unroute, &f.counts.Unrouted},
		{duplicate, f.faults.Duplicate, &f.counts.Duplicated},
		{delay, f.faults.Delay, &f.counts.Delayed},
	} {
		if at -= c.probability; at < 0 {
			*c.count++
			return c.fault
		}
	}
	return none
}
