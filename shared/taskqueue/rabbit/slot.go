package rabbit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// slotCloseTimeout is how long Close waits for the broker's answer.
const slotCloseTimeout = 2 * time.Second

// slot is a taskqueue.Slot. The last fields are guarded by the feed's lock.
type slot struct {
	feed  *feed
	gone  chan struct{}  // closed by Close
	given chan *delivery // a message for a slot in line

	closed  bool
	counted bool      // a message is wanted for it, or it holds one
	waits   bool      // in Receive
	held    *delivery // not ended, and not stale
}

// Receive waits for the next message; see taskqueue.Slot. A message that arrives
// as ctx ends is returned, or stays for the next Receive.
func (s *slot) Receive(ctx context.Context) (taskqueue.Delivery, error) {
	for {
		d, err := s.join()
		if d == nil && err == nil {
			d, err = s.wait(ctx)
		}
		if err != nil {
			return nil, err
		}
		if !d.from.stream.lost.Load() {
			return d, nil
		}
	}
}

// join takes a message that is there, or a place in line.
func (s *slot) join() (*delivery, error) {
	f := s.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.consumer.done:
		return nil, ErrClosed
	default:
	}
	if s.closed {
		return nil, ErrClosed
	}
	f.count(s, true)
	if s.held == nil {
		if d := f.take(s); d != nil {
			return d, nil
		}
		f.line = append(f.line, s)
	}
	s.waits = true
	return nil, nil
}

func (s *slot) wait(ctx context.Context) (d *delivery, err error) {
	f := s.feed
	select {
	case d = <-s.given:
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.gone:
		err = ErrClosed
	case <-f.consumer.done:
		err = ErrClosed
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s.leaveLine()
	if err != nil {
		select {
		case d = <-s.given:
			err = nil
		default:
		}
	}
	return d, err
}

func (s *slot) leaveLine() {
	s.waits = false
	if i := slices.Index(s.feed.line, s); i >= 0 {
		s.feed.line = slices.Delete(s.feed.line, i, i+1)
	}
}

// AckEarly leaves consumption and acks; see taskqueue.Slot. It does not wait until that
// is done.
func (s *slot) AckEarly(_ context.Context, d taskqueue.Delivery) error {
	mine, ok := d.(*delivery)
	if !ok {
		return fmt.Errorf("ack early: delivery of type %T is not from this slot", d)
	}
	return mine.end(ackedEarly)
}

// Close gives the slot up and waits until the broker has its message back, and has all
// acks. The error tells that the broker did not answer in time; it takes the message
// back when the connection ends.
func (s *slot) Close() error {
	gone := s.leave()
	if gone == nil {
		return nil
	}
	timer := time.NewTimer(slotCloseTimeout)
	defer timer.Stop()
	select {
	case <-gone:
		return nil
	case <-timer.C:
		return fmt.Errorf("close slot of queue %s: no answer within %s", s.feed.queue, slotCloseTimeout)
	}
}

// leave takes the slot out of the feed. It returns what to wait for.
func (s *slot) leave() (gone chan struct{}) {
	f := s.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.gone)
	delete(f.slots, s)
	s.leaveLine()
	f.count(s, false)
	if d := s.held; d != nil {
		f.release(s)
		d.void = true
		f.backs = append(f.backs, d)
	}
	if f.serving {
		gone = make(chan struct{})
		f.leaving = append(f.leaving, gone)
	}
	f.poke()
	return gone
}
