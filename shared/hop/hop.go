package hop

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Step is a moment in the life of an attempt.
type Step uint8

// Steps, in the order in which an attempt passes them. Where the broker is faster
// with a delivery than with a confirm, Confirmed and Dispatched come later than
// they stand here.
const (
	Read       Step = iota // the leader has read the outbox entry
	Offered                // it begins to publish the offer
	Published              // the offer is handed to the connection
	Confirmed              // the leader has the broker's confirm in hand
	Dispatched             // the ledger has answered that the entry is gone
	Received               // a worker has the message, decoded
	Claiming               // it asks for the claim
	Claimed                // the ledger has granted it
	Started                // the handler's input is about to be made
	Handled                // the handler's result is there; its report begins
	Completed              // the ledger has taken the result
	Acked                  // the message's ack is handed to the connection
	steps
)

var names = [steps]string{"read", "offered", "published", "confirmed", "dispatched", "received", "claiming", "claimed", "started", "handled", "completed", "acked"}

func (s Step) String() string {
	if s < steps {
		return names[s]
	}
	return fmt.Sprintf("step %d", uint8(s))
}

// MarshalText names the step.
func (s Step) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a step's name.
func (s *Step) UnmarshalText(text []byte) error {
	for i, name := range names {
		if name == string(text) {
			*s = Step(i)
			return nil
		}
	}
	return fmt.Errorf("there is no step %q of a hop", text)
}

// Mark is one passed step.
type Mark struct {
	Step    Step       `json:"step"`
	At      int64      `json:"at"` // nanoseconds since 1970 on the host's clock
	Flow    ids.FlowID `json:"flow"`
	Cycle   int64      `json:"cycle"`
	Node    ids.NodeID `json:"node"`
	Attempt int        `json:"attempt"`
}

// Limits of a recording.
const (
	DefaultMarks = 100_000
	MaxMarks     = 1_000_000
)

// recording is what is noted; it is full at the end of its marks' capacity.
type recording struct {
	mu    sync.Mutex
	marks []Mark
	lost  int
}

var active atomic.Pointer[recording]

// Pass notes that an attempt has come to a step, if a recording lasts.
func Pass(s Step, a ids.Attempt) {
	if r := active.Load(); r != nil {
		r.note(s, a)
	}
}

//go:noinline
func (r *recording) note(s Step, a ids.Attempt) {
	now := time.Now().UnixNano()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.marks) == cap(r.marks) {
		r.lost++
		return
	}
	r.marks = append(r.marks, Mark{Step: s, At: now, Flow: a.Flow, Cycle: a.Cycle, Node: a.Node, Attempt: a.N})
}

// begin starts a recording of at most so many marks in place of the last.
func begin(limit int) { active.Store(&recording{marks: make([]Mark, 0, limit)}) }

// end ends the recording and returns it; false when there is none. What passes at
// this instant may be left out.
func end() (marks []Mark, lost int, ok bool) {
	r := active.Swap(nil)
	if r == nil {
		return nil, 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	marks, r.marks = r.marks, nil
	return marks, r.lost, true
}
