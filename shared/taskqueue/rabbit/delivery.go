package rabbit

import (
	"errors"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// errEnded is returned by the second Ack, Park or Requeue of a delivery.
var errEnded = errors.New("delivery has ended already")

// ending is what became of a message.
type ending int

const (
	open ending = iota
	acked
	ackedEarly
	parked
	requeued
)

// delivery is a taskqueue.Delivery. The last fields are guarded by the feed's lock.
type delivery struct {
	from        *consumption
	tag         uint64
	body        []byte
	redelivered bool

	slot *slot // that it was given to
	how  ending
	void bool // its slot is closed
}

func (d *delivery) Body() []byte      { return d.body }
func (d *delivery) Redelivered() bool { return d.redelivered }

// Ack puts the message among those that are acked together, at once.
func (d *delivery) Ack() error     { return d.end(acked) }
func (d *delivery) Park() error    { return d.end(parked) }
func (d *delivery) Requeue() error { return d.end(requeued) }

func (d *delivery) end(how ending) error {
	f := d.from.stream.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if d.how != open {
		return errEnded
	}
	d.how = how
	s := d.slot
	mine := s.held == d // it is neither stale nor void
	if mine {
		f.release(s)
	}
	if mine && (how == ackedEarly || how == requeued) {
		f.count(s, false)
	}
	if !mine || d.from.stream.channel.IsClosed() {
		return taskqueue.ErrStale
	}
	if how == requeued {
		f.backs = append(f.backs, d)
	} else {
		f.ends = append(f.ends, d)
	}
	if s.waits {
		f.count(s, true)
		f.line = append(f.line, s)
		if next := f.take(s); next != nil {
			f.line = f.line[:len(f.line)-1]
			s.given <- next
		}
	}
	f.poke()
	return nil
}
