package outbox

import "context"

// What follows lets one goroutine drive a Reader step by step on a clock of its
// own: the simulation of the protocol does, and no program.

// Scan hands out everything that is not in hand and returns the last id.
func (r *Reader) Scan(ctx context.Context) (cursor string, err error) { return r.scan(ctx) }

// Tail hands out what came behind a cursor and returns the new cursor.
func (r *Reader) Tail(ctx context.Context, cursor string) (string, error) {
	r.begin()
	entries, err := r.cfg.Ledger.Outbox(ctx, cursor, page)
	if err != nil || len(entries) == 0 {
		return cursor, err
	}
	r.handOut(entries)
	return entries[len(entries)-1].ID, nil
}

// Len returns how many entries wait to be taken.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list)
}
