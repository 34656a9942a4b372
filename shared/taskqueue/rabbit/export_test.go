package rabbit

import "time"

// Alike tells whether the queue has the type and arguments that p would give it.
func (p *Publisher) Alike(queue string) bool {
	l := p.lanes.Load()
	if l == nil {
		return false
	}
	f, err := p.link.cfg.declareOn(l.conn.Connection, queue)
	return err == nil && !f.other
}

// Refuse lets queue's lane see the refusal of a message that was never sent. Nothing may be
// on its way.
func (p *Publisher) Refuse(queue string, at time.Time) { p.lanes.Load().get(queue).refusal(at) }

// Channel tells of the channel that messages to queue go through by now; nil while there
// is none.
func (p *Publisher) Channel(queue string) any {
	l := p.lanes.Load().get(queue)
	l.send.Lock()
	defer l.send.Unlock()
	if l.state != laneOpen {
		return nil
	}
	return l.channel
}
