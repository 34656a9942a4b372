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
//
// # When it is long
//
// Of one flow ten thousand entries may stand there, and offers may stand for long: the
// dispatcher holds back what a pool's workers can't take yet. So that nothing waits for the
// rest to be read, a pass goes on by a page, and between two pages what is new is read; and
// a pass that takes long is made less often, up to a bound. The bound is what a repair is
// late by at most: of what was given back, and of what appeared below the cursor. Of each
// receiver's entries a hundred thousand are handed out, some dozens of megabytes. What
// comes beyond is left where it stands until a pass meets it when there is room again.
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

// mostInHand is how many entries of one receiver are handed out, unless Config says.
const mostInHand = 100_000

// A pass is made again after this many times as long as it took, but after at most so many
// times Rescan.
const (
	rest    = 10
	longest = 4
)

// Config of a Reader.
type Config struct {
	Ledger Ledger
	Log    hclog.Logger
	Rescan time.Duration // between passes from the beginning; a second when 0
	Most   int           // entries that are handed out to one receiver; 100,000 when 0
}

// Reader hands entries out. One goroutine runs Run; Done may come from any.
type Reader struct {
	cfg    Config
	queues map[ledger.Kind]*Queue

	mu   sync.Mutex
	hand map[string]*Queue   // entries handed out, and to whom; nil: to nobody
	back map[string]struct{} // given back since the last read began: it may still show them
}

// New makes a reader.
func New(cfg Config) *Reader {
	if cfg.Rescan <= 0 {
		cfg.Rescan = time.Second
	}
	if cfg.Most <= 0 {
		cfg.Most = mostInHand
	}
	return &Reader{cfg: cfg, queues: map[ledger.Kind]*Queue{}, hand: map[string]*Queue{}, back: map[string]struct{}{}}
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
		if q := r.hand[id]; q != nil {
			q.hand--
		}
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
	var p pass
	for ctx.Err() == nil {
		err := r.step(ctx, &p, &cursor)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if !lost {
				r.cfg.Log.Warn("outbox can't be read", "error", err)
			}
			lost, p = true, pass{}
			pause(ctx, 50*time.Millisecond)
		} else if lost {
			lost = false
			r.cfg.Log.Info("outbox is read again")
		}
	}
	return nil
}

// pass is where a pass over everything is, and when the next one begins. The zero value
// begins one at once.
type pass struct {
	last string        // what was read
	took time.Duration // so far
	on   bool
	next time.Time
}

// step reads a page of the pass, if one is due, and what is new.
func (r *Reader) step(ctx context.Context, p *pass, cursor *string) error {
	if p.on = p.on || !time.Now().Before(p.next); p.on {
		began := time.Now()
		entries, err := r.page(ctx, p.last)
		if err != nil {
			return err
		}
		p.took += time.Since(began)
		if n := len(entries); n > 0 {
			p.last = entries[n-1].ID
		}
		if len(entries) == page {
			if *cursor == "" { // nothing was read before: what is new comes with the pass
				return nil
			}
			*cursor, err = r.Tail(ctx, *cursor)
			return err
		}
		*cursor = p.last // it may be lower than before
		*p = pass{next: time.Now().Add(max(r.cfg.Rescan, min(rest*p.took, longest*r.cfg.Rescan)))}
	}
	r.begin()
	entries, err := r.cfg.Ledger.WaitOutbox(ctx, *cursor, page, max(time.Until(p.next), time.Millisecond))
	if n := len(entries); n > 0 {
		*cursor = entries[n-1].ID
		r.handOut(entries)
	}
	return err
}

// page hands out what a read after an entry shows, and returns it.
func (r *Reader) page(ctx context.Context, after string) ([]ledger.Entry, error) {
	r.begin()
	entries, err := r.cfg.Ledger.Outbox(ctx, after, page)
	if err == nil {
		r.handOut(entries)
	}
	return entries, err
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
			r.hand[e.ID] = nil
			continue
		}
		if q.hand >= r.cfg.Most { // a later pass shows it
			continue
		}
		r.hand[e.ID] = q
		q.hand++
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

// Queue is one receiver's entries in order. It grows as the outbox does, up to what may be
// in hand, so that a receiver that waits never holds up another.
type Queue struct {
	hand int // entries that are handed out, of the Reader
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
