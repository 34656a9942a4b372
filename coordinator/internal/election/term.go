package election

import (
	"sync"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Term is one leadership. It is handed to the leading function and may be
// copied. The zero Term is never trusted.
type Term struct {
	Epoch ids.Epoch
	Since time.Time // when it began, by the clock of this process

	window *window
}

// Trusted reports whether nobody else can have been elected by the passing of
// time. It is a hint: what must hold is checked by the ledger against the epoch.
func (t Term) Trusted() bool {
	return t.window != nil && t.window.trusted()
}

// Deadline is the instant up to which the term is trusted unless its lease is
// renewed before; it is zero once the term is over. Compare it by the monotonic
// clock only.
func (t Term) Deadline() time.Time {
	if t.window == nil {
		return time.Time{}
	}
	return t.window.deadline()
}

// window is the trust window of a lease: it ends with the last renewal's sending
// + TTL − margin, or at once when it is shut.
type window struct {
	now  func() time.Time
	span time.Duration // TTL − margin

	mu    sync.Mutex
	until time.Time
	shut  bool
}

func (w *window) trusted() bool {
	until := w.deadline()
	return !until.IsZero() && w.now().Before(until)
}

func (w *window) deadline() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut {
		return time.Time{}
	}
	return w.until
}

// extend counts a renewal that was sent at the given time.
func (w *window) extend(sent time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = sent.Add(w.span)
}

// close ends trust for good.
func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = true
}
