package outbox

import "context"

// What follows lets one goroutine drive a Reader step by step on a clock of its
// own, as the simulation of the protocol does.

// Scan hands out everything that is not in hand and returns the last id.
func (r *Reader) Scan(ctx context.Context) (cursor string, err error) {
	for {
		entries, err := r.page(ctx, cursor)
		if len(entries) > 0 {
			cursor = entries[len(entries)-1].ID
		}
		if err != nil || len(entries) < page {
			return cursor, err
		}
	}
}

// Tail hands out what came behind a cursor and returns the new cursor.
func (r *Reader) Tail(ctx context.Context, cursor string) (string, error) {
	entries, err := r.page(ctx, cursor)
	if err != nil || len(entries) == 0 {
		return cursor, err
	}
	return entries[len(entries)-1].ID, nil
}

// Len returns how many entries wait to be taken.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list)
}
