package memory

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Ledger is safe for concurrent use. Make one with New.
type Ledger struct {
	clock func() time.Time

	mu sync.Mutex
	store
	now    int64            // ms of the ledger's clock, of the call under way
	raw    int64            // and of the clock that is corrected to that
	fenced map[string]int64 // refusals by verb
	posted chan struct{}    // closed by the next entry; nil while nobody waits
}

// New makes an empty ledger. clock is what Redis TIME is to the scripts, which
// SetClock corrects; nil = time.Now.
func New(clock func() time.Time) *Ledger {
	if clock == nil {
		clock = time.Now
	}
	return &Ledger{clock: clock, store: newStore(), fenced: map[string]int64{}}
}

const prefix = "station"

// Prefix returns the prefix of every key.
func (l *Ledger) Prefix() string { return prefix }

// Writes returns the number of writes made and not taken back so far.
func (l *Ledger) Writes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.undo)
}

// Tears returns the numbers of writes at which the last call that wrote can tear:
// between two of its commands.
func (l *Ledger) Tears() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.undo)
	for i := len(l.marks) - 1; i >= 0 && last == len(l.undo); i-- {
		last = l.marks[i]
	}
	var out []int
	for n := last + 1; n < len(l.undo); n++ {
		if !l.undo[n].more {
			out = append(out, n)
		}
	}
	return out
}

// Calls returns the numbers of writes at which calls began: where a server that
// loses whole calls can go back to.
func (l *Ledger) Calls() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int(nil), l.marks...)
}

// Rewind takes back every write behind the first n.
func (l *Ledger) Rewind(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rewind(n)
}

// begin locks the ledger for one call and reads the clock.
func (l *Ledger) begin() func() {
	l.mu.Lock()
	l.raw, l.now = l.read()
	l.mark()
	return l.mu.Unlock
}

// fence refuses a lower epoch and stores a higher one. 0 is a verb that any
// replica may call.
func (l *Ledger) fence(verb string, epoch ids.Epoch) error {
	if epoch == 0 {
		return nil
	}
	stored := l.epoch()
	if stored > epoch {
		l.refused(verb, epoch, stored, verb)
		return &ledger.FencedError{Verb: verb, Own: epoch, Higher: stored}
	}
	if epoch > stored {
		l.setText(prefix+":epoch", itoa(int64(epoch)))
	}
	return nil
}

// refused notes a refusal by epoch.
func (l *Ledger) refused(verb string, own, higher ids.Epoch, what string) {
	l.fenced[verb]++
	l.jot("fenced", ids.Attempt{}, own, "", "", itoa(int64(higher))+" "+what)
}

// Refused returns how many calls of each verb were refused by their epoch. It is
// not taken back by Rewind.
func (l *Ledger) Refused() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.fenced)
}

// CheckEpoch returns a *ledger.FencedError when a higher epoch has written.
func (l *Ledger) CheckEpoch(_ context.Context, epoch ids.Epoch, publishes int) error {
	defer l.begin()()
	if stored := l.epoch(); stored > epoch {
		l.refused("check_epoch", epoch, stored, fmt.Sprintf("publish %d", publishes))
		return &ledger.FencedError{Verb: "check_epoch", Own: epoch, Higher: stored}
	}
	return l.fence("check_epoch", epoch)
}

func (l *Ledger) epoch() ids.Epoch { return ids.Epoch(number(l.text[prefix+":epoch"])) }

// Takeover makes epoch the one that may write.
func (l *Ledger) Takeover(_ context.Context, epoch ids.Epoch) (time.Time, error) {
	defer l.begin()()
	if err := l.fence("takeover", epoch); err != nil {
		return time.Time{}, err
	}
	if l.text[prefix+":schema"] == "" {
		l.setText(prefix+":schema", ledger.Schema)
	}
	l.jot("takeover", ids.Attempt{}, epoch, "", "", "")
	return fromMilli(l.now), nil
}

func (l *Ledger) jot(op string, a ids.Attempt, epoch ids.Epoch, token, worker, detail string) {
	l.addRecord(l.raw, ledger.Record{At: time.UnixMilli(l.raw).UTC(), Op: op, Attempt: a, Epoch: epoch, Token: token, Worker: worker, Detail: detail})
}

func (l *Ledger) post(k ledger.Kind, a ids.Attempt, n int) {
	a.N = n
	l.addEntry(l.raw, ledger.Entry{Kind: k, Attempt: a})
	if l.posted != nil {
		close(l.posted)
		l.posted = nil
	}
}

// Outbox returns up to count entries with ids after the given one.
func (l *Ledger) Outbox(_ context.Context, after string, count int64) ([]ledger.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries(after, count), nil
}

func (l *Ledger) entries(after string, count int64) []ledger.Entry {
	part := l.outbox.from(parseID(after), count)
	out := make([]ledger.Entry, len(part))
	for i, e := range part {
		out[i] = e.value
	}
	return out
}

// WaitOutbox waits up to block for entries after the given id.
func (l *Ledger) WaitOutbox(ctx context.Context, after string, count int64, block time.Duration) ([]ledger.Entry, error) {
	over := time.NewTimer(block)
	defer over.Stop()
	for {
		l.mu.Lock()
		out := l.entries(after, count)
		if l.posted == nil {
			l.posted = make(chan struct{})
		}
		posted := l.posted
		l.mu.Unlock()
		if len(out) > 0 {
			return out, nil
		}
		select {
		case <-posted:
		case <-over.C:
			return nil, nil
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// Journal returns up to count records with ids after the given one.
func (l *Ledger) Journal(_ context.Context, after string, count int64) ([]ledger.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := l.journal.from(parseID(after), count)
	out := make([]ledger.Record, len(part))
	for i, r := range part {
		out[i] = r.value
	}
	return out, nil
}

func parseID(text string) id {
	if text == "" {
		return id{-1, 0}
	}
	text, _, _ = strings.Cut(text, ".") // an entry has one record here
	ms, seq, _ := strings.Cut(text, "-")
	return id{number(ms), number(seq)}
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func flowKey(f ids.FlowID, what string) string { return prefix + ":flow:" + string(f) + ":" + what }

func planKey(f ids.FlowID, revision string) string { return flowKey(f, "plan:"+revision) }

func cycleKey(f ids.FlowID, n int64) string { return flowKey(f, "cycle:"+itoa(n)) }

func nodeKey(base string, n ids.NodeID) string { return base + ":node:" + string(n) + ":state" }

const (
	activeKey     = prefix + ":active"
	closingKey    = prefix + ":closing"
	deletedKey    = prefix + ":deleted"
	repairsKey    = prefix + ":repairs"
	recoveriesKey = prefix + ":recoveries"
	leasesKey     = prefix + ":leases"
	timersKey     = prefix + ":timers"
	holdsKey      = prefix + ":holds"
	flowsKey      = prefix + ":flows"
)

func heldKey(waitsFor string) string { return prefix + ":held:" + waitsFor }

func cycleMember(f ids.FlowID, n int64, id string) string {
	return string(f) + "|" + itoa(n) + "|" + id
}

func leaseMember(a ids.Attempt) string {
	return cycleMember(a.Flow, a.Cycle, a.UUID.String()) + "|" + string(a.Node)
}

func heldMember(a ids.Attempt) string { return leaseMember(a) + "|" + itoa(int64(a.N)) }

func timerMember(kind string, a ids.Attempt) string { return kind + "|" + heldMember(a) }

// parseMember reads flow|cycle|uuid, with |node and |attempt where given.
func parseMember(member string) (ids.Attempt, error) {
	p := strings.Split(member, "|")
	if len(p) < 3 {
		return ids.Attempt{}, fmt.Errorf("member %q has %d parts", member, len(p))
	}
	a := ids.Attempt{Flow: ids.FlowID(p[0]), Cycle: number(p[1])}
	var err error
	a.UUID, err = uuid.Parse(p[2])
	if len(p) > 3 {
		a.Node = ids.NodeID(p[3])
	}
	if len(p) > 4 {
		a.N = int(number(p[4]))
	}
	return a, err
}
