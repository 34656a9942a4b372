package intake

import (
	"context"
	"sync"
	"time"
)

// early acks a message early when its work takes long. A timer without a goroutine waits:
// most work ends long before.
type early struct {
	timer *time.Timer // nil before the first attempt runs

	mu    sync.Mutex // held while it is acked
	over  bool       // its work is
	acked bool
}

// ackLate acks the message early if its work takes longer than EarlyAck.
func (s *server) ackLate(m *message) {
	m.early.timer = time.AfterFunc(s.EarlyAck, func() {
		e := &m.early
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.acked = !e.over && s.reports.Err() == nil; e.acked {
			s.end(s.slot.AckEarly(context.WithoutCancel(s.reports), m.Delivery))
		}
	})
}

// end ends the wait and says whether the message was acked.
func (e *early) end() (acked bool) {
	if e.timer == nil || e.timer.Stop() {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	return e.acked
}
