package rabbit

// Alike tells whether the queue has the type and arguments that p would give it.
func (p *Publisher) Alike(queue string) bool {
	l := p.lanes.Load()
	if l == nil {
		return false
	}
	f, err := p.link.cfg.declareOn(l.conn.Connection, queue)
	return err == nil && !f.other
}
