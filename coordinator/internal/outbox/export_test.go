package outbox

// InHand returns how many entries are handed out.
func (r *Reader) InHand() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.hand)
}
