package sim

import (
	"github.com/tradingflow/weather-station/shared/ids"
)

// message offers one attempt. What travels in the product is its encoding.
type message struct {
	ids.Attempt
	redelivered bool
}

// broker is a queue that keeps the contract of package taskqueue and no more: it
// delivers in any order, sometimes twice, loses what it says it may lose, and
// delivers again what was not acked by a connection that is gone.
type broker struct {
	waiting []message
	history []message // for copies that turn up late
}

// delivery is a message in a worker's slot. Once stale it can't be acked: the
// connection is gone and the message is in the queue again.
type delivery struct {
	message
	held, stale bool
}

func (b *broker) put(m message) {
	b.waiting = append(b.waiting, m)
	b.history = append(b.history, m)
}

// take removes one message; i picks which.
func (b *broker) take(i int) *delivery {
	m := b.waiting[i]
	b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
	return &delivery{message: m, held: true}
}

// back puts a message that was not acked into the queue again.
func (b *broker) back(d *delivery) {
	if !d.held {
		return
	}
	d.held, d.stale = false, true
	m := d.message
	m.redelivered = true
	b.waiting = append(b.waiting, m)
}

// ack ends a delivery, unless its connection is gone.
func (b *broker) ack(d *delivery) { d.held = false }

// etcd elects and keeps the once-keys. It never goes back.
type etcd struct {
	leader *process
	rev    int64
	once   map[string]string // intent → token
	paused bool              // the flow is to be held
}
