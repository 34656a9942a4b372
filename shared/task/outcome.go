package task

import (
	"encoding/json"
	"time"
)

// Limits of what an attempt may report, in bytes.
const (
	MaxOutputBytes      = 256 << 10 // all outputs of one node
	MaxCycleOutputBytes = 8 << 20   // all outputs of one cycle
	MaxErrorBytes       = 4 << 10
)

// Status is the state of a node in a cycle. The last six are final; each
// node of a cycle reaches exactly one of them, and that one is counted.
type Status string

const (
	Waiting    Status = "waiting"    // inputs not decided yet (no record in the ledger)
	Ready      Status = "ready"      // to be offered
	Dispatched Status = "dispatched" // a task is queued
	Running    Status = "running"    // claimed
	Retrying   Status = "retrying"   // failed, waits for its retry timer
	Succeeded  Status = "succeeded"
	Failed     Status = "failed"
	Skipped    Status = "skipped"   // its join rule can't be met
	Stopped    Status = "stopped"   // asked its component to stop, or was stopped so
	Cancelled  Status = "cancelled" // its cycle was cancelled or timed out
	Unknown    Status = "unknown"   // at_most_once: started, its end was never heard
)

// Final reports whether a node in this status is counted and done.
func (s Status) Final() bool {
	switch s {
	case Succeeded, Failed, Skipped, Stopped, Cancelled, Unknown:
		return true
	default:
		return false
	}
}

// Class says what an error means for the retry policy.
type Class string

const (
	Retryable Class = "retryable" // may work the next time
	Permanent Class = "permanent" // will fail again: no retry
	Timeout   Class = "timeout"   // the attempt ran out of time: retryable
	Panic     Class = "panic"     // the handler panicked: retryable
	Abandoned Class = "cancelled" // ended because it was told to end
)

// Outcome is what an attempt ended with.
type Outcome struct {
	Status     Status                     // Succeeded, Stopped or Failed
	Outputs    map[string]json.RawMessage // by handle
	Class      Class                      // of a failure
	Error      string                     // of a failure; the reason of a stop
	RetryAfter time.Duration              // asked for by the handler; 0 = by policy
}
