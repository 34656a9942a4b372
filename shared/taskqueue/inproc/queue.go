package inproc

import "slices"

// message is one message; holder is the delivery that may end it, nil while it
// waits in its queue.
type message struct {
	body        []byte
	redelivered bool
	holder      *delivery
}

// waiter is a slot that waits in Receive.
type waiter struct {
	slot  *slot
	given chan *delivery // holds one
	again chan struct{}  // closed when the slot must look again
}

// queue is guarded by its broker's lock.
type queue struct {
	ready   []*message
	unacked map[*message]bool
	waiting []*waiter // longest first
	slots   map[*slot]bool
}

// put appends m, or hands it to the slot that has waited longest.
func (q *queue) put(m *message) {
	if len(q.waiting) == 0 {
		q.ready = append(q.ready, m)
		return
	}
	w := q.waiting[0]
	q.waiting = slices.Delete(q.waiting, 0, 1)
	w.given <- q.hand(m, w.slot)
}

// putBack returns an unacked message to the head of the queue.
func (q *queue) putBack(m *message) {
	q.release(m)
	m.redelivered = true
	if len(q.waiting) > 0 {
		q.put(m)
		return
	}
	q.ready = slices.Insert(q.ready, 0, m)
}

// release ends m's delivery.
func (q *queue) release(m *message) {
	delete(q.unacked, m)
	close(m.holder.over)
	m.holder = nil
}

// take hands out the first message, or nil.
func (q *queue) take(s *slot) *delivery {
	if len(q.ready) == 0 {
		return nil
	}
	m := q.ready[0]
	q.ready[0] = nil
	q.ready = q.ready[1:]
	return q.hand(m, s)
}

func (q *queue) hand(m *message, s *slot) *delivery {
	d := &delivery{slot: s, queue: q, message: m, redelivered: m.redelivered, over: make(chan struct{})}
	m.holder = d
	q.unacked[m] = true
	s.held = d
	return d
}

// leave takes w out of the line; false when it has been given a message.
func (q *queue) leave(w *waiter) bool {
	i := slices.Index(q.waiting, w)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}
