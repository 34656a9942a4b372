// Package outbox reads the ledger's outbox for the leader and hands each entry
// to the part that acts on it.
//
// # How nothing is missed
//
// An entry stays in the stream until the script that acted on it removes it, so
// the leader works on all entries minus those in its hands, never on "the
// entries after my cursor" alone: after Redis fell back to an older state,
// entries can appear below any cursor. A blocking read behind a cursor is only
// what wakes the reader; once a second, after every error and at the start the
// stream is read from its beginning, and whatever is not in hand is handed out
// again. Whoever fails to act gives the entry back with Done and meets it again
// at the next such pass. What is given back while a read is under way is not
// taken from that read: it may show an entry that is gone by then, and to act
// twice on the end of a cycle or the removal of a flow would be heard.
package outbox

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/hop"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Ledger is what the reader reads.
type Ledger interface {
	Outbox(ctx context.Context, after string, count int64) ([]ledger.Entry, error)
	WaitOutbox(ctx context.Context, after string, count int64, block time.Duration) ([]ledger.Entry, error)
}

// page is how many entries one read takes.
const page = 1000

// Config of a Reader.
type Config struct {
	Ledger Ledger
	Log    hclog.Logger
	Rescan time.Duration // between passes from the beginning; a second when 0
}

// Reader hands entries out. One goroutine runs Run; Done may come from any.
type Reader struct {
	cfg    Config
	queues map[ledger.Kind]*Queue

	mu   sync.Mutex
	hand map[string]struct{} // entries handed out
	back map[string]struct{} // given back since the last read began: it may still show them
}

// New makes a reader.
func New(cfg Config) *Reader {
	if cfg.Rescan <= 0 {
		cfg.Rescan = time.Second
	}
	return &Reader{cfg: cfg, queues: map[ledger.Kind]*Queue{}, hand: map[string]struct{}{}, back: map[string]struct{}{}}
}

// Route makes one queue the receiver of these kinds. Call it before Run.
func (r *Reader) Route(kinds ...ledger.Kind) *Queue {
	q := &Queue{wake: make(chan struct{}, 1)}
	for _, k := range kinds {
		r.queues[k] = q
	}
	return q
}

// Done gives entries back: those that were acted on are gone from the stream;
// the others are handed out again at the next pass.
func (r *Reader) Done(entryIDs ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range entryIDs {
		delete(r.hand, id)
		r.back[id] = struct{}{}
	}
}

// begin starts a read: what was given back before it, it shows as it is now.
func (r *Reader) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.back)
}

// Run reads until ctx ends.
func (r *Reader) Run(ctx context.Context) error {
	cursor, lost := "", false
	var scanned time.Time
	for ctx.Err() == nil {
		var err error
		if time.Since(scanned) >= r.cfg.Rescan {
			if cursor, err = r.scan(ctx); err == nil {
				scanned = time.Now()
			}
		}
		if err == nil {
			wait := max(r.cfg.Rescan-time.Since(scanned), time.Millisecond)
			var entries []ledger.Entry
			r.begin()
			entries, err = r.cfg.Ledger.WaitOutbox(ctx, cursor, page, wait)
			if len(entries) > 0 {
				cursor = entries[len(entries)-1].ID
				r.handOut(entries)
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if !lost {
				r.cfg.Log.Warn("outbox can't be read", "error", err)
			}
			lost, scanned = true, time.Time{}
			pause(ctx, 50*time.Millisecond)
		} else if lost {
			lost = false
			r.cfg.Log.Info("outbox is read again")
		}
	}
	return nil
}

// scan hands out everything that is not in hand and returns the last id.
func (r *Reader) scan(ctx context.Context) (string, error) {
	last := ""
	for {
		r.begin()
		entries, err := r.cfg.Ledger.Outbox(ctx, last, page)
		if err != nil {
			return last, err
		}
		r.handOut(entries)
		if len(entries) > 0 {
			last = entries[len(entries)-1].ID
		}
		if len(entries) < page {
			return last, nil
		}
	}
}

// handOut gives entries to their queues, those in a row together, so that a receiver sees
// how many there are.
func (r *Reader) handOut(entries []ledger.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var to *Queue
	var run []ledger.Entry
	for _, e := range entries {
		if _, held := r.hand[e.ID]; held {
			continue
		}
		if _, old := r.back[e.ID]; old { // acted on since, most likely; if not, the next pass shows it
			continue
		}
		q := r.queues[e.Kind]
		if q == nil { // written by a newer version; it is not ours to remove
			r.cfg.Log.Warn("outbox entry of an unknown kind", "entry", e.ID, "kind", e.Kind)
			r.hand[e.ID] = struct{}{}
			continue
		}
		r.hand[e.ID] = struct{}{}
		if e.Kind == ledger.KindReady {
			hop.Pass(hop.Read, e.Attempt)
		}
		if q != to {
			to.put(run)
			to, run = q, nil
		}
		run = append(run, e)
	}
	to.put(run)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Queue is one receiver's entries in order. It grows as the outbox does, so that
// a receiver that waits never holds up another.
type Queue struct {
	wake chan struct{}
	mu   sync.Mutex
	list []ledger.Entry
}

func (q *Queue) put(entries []ledger.Entry) {
	if len(entries) == 0 {
		return
	}
	q.mu.Lock()
	q.list = append(q.list, entries...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Take waits for entries and returns up to limit of them; none when ctx ended.
func (q *Queue) Take(ctx context.Context, limit int) []ledger.Entry {
	for {
		q.mu.Lock()
		if n := min(limit, len(q.list)); n > 0 {
			out := q.list[:n:n]
			q.list = q.list[n:]
			if len(q.list) == 0 {
				q.list = nil
			} else {
				select { // somebody else may take the rest
				case q.wake <- struct{}{}:
				default:
				}
			}
			q.mu.Unlock()
			return out
		}
		q.mu.Unlock()
		select {
		case <-q.wake:
		case <-ctx.Done():
			return nil
		}
	}
}
