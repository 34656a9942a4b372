// Package ids holds the names that every part of Weather Station agrees on:
// flows, nodes, workers, cycles, attempts, epochs, and the UUIDs derived from
// them. It parses and formats; it reaches nothing.
package ids

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// Limits of ids, in bytes. Node ids are part of Redis keys and of queue
// messages; flow ids also stand in URLs.
const (
	MaxFlowID   = 128
	MaxNodeID   = 64
	MaxPool     = 64
	MaxWorkerID = 128
)

// FlowID names a flow: 1 to 128 bytes of [A-Za-z0-9_-].
type FlowID string

// NodeID names a node within its flow: 1 to 64 bytes of [A-Za-z0-9_-].
type NodeID string

// WorkerID names one worker process: 1 to 128 bytes of [A-Za-z0-9_.-].
type WorkerID string

// Epoch is the fencing number of one leadership. It only grows; zero means
// "no epoch" and is used by the guarded verbs that any replica may call.
type Epoch int64

// Error says why an id was refused. Its text never contains more than the
// first 32 bytes of the refused id.
type Error struct {
	Kind   string // "flow id", "node id", …
	Value  string // shortened
	Reason string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %q %s", e.Kind, e.Value, e.Reason)
}

// ParseFlowID checks a flow id. Errors are *Error.
func ParseFlowID(s string) (FlowID, error) {
	return FlowID(s), check("flow id", s, MaxFlowID, false)
}

// ParseNodeID checks a node id. Errors are *Error.
func ParseNodeID(s string) (NodeID, error) {
	return NodeID(s), check("node id", s, MaxNodeID, false)
}

// ParseWorkerID checks a worker id. Errors are *Error.
func ParseWorkerID(s string) (WorkerID, error) {
	return WorkerID(s), check("worker id", s, MaxWorkerID, true)
}

// CheckPool checks a pool's name, which follows the rules of a node id.
// Errors are *Error.
func CheckPool(s string) error { return check("pool", s, MaxPool, false) }

func check(kind, s string, limit int, dots bool) error {
	switch {
	case s == "":
		return &Error{Kind: kind, Reason: "is empty"}
	case len(s) > limit:
		return &Error{Kind: kind, Value: short(s), Reason: fmt.Sprintf("has %d bytes; at most %d are allowed", len(s), limit)}
	}
	allowed := "A-Z a-z 0-9 _ -"
	if dots {
		allowed += " ."
	}
	for _, r := range s {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || dots && r == '.'
		if !ok {
			return &Error{Kind: kind, Value: short(s), Reason: fmt.Sprintf("contains %q; allowed are %s", r, allowed)}
		}
	}
	return nil
}

func short(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= 32 {
		return s
	}
	cut := 32
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}

// Attempt identifies one try of one node in one cycle. Cycle is the number
// shown to people; UUID is the cycle's identity, which survives a rollback of
// Redis because it is derived, never counted.
type Attempt struct {
	Flow  FlowID
	Cycle int64
	UUID  uuid.UUID
	Node  NodeID
	N     int // 1, 2, …
}

func (a Attempt) String() string {
	return fmt.Sprintf("%s/%d/%s#%d", a.Flow, a.Cycle, a.Node, a.N)
}

var namespace = uuid.MustParse("6f1d5c1e-52a4-4c5b-9a55-1d3b8a2f0c77")

// Occasion is the identity of what asked for a cycle: the flow's incarnation
// (its uid) and either a slot or a trigger. It does not depend on the revision,
// so intents derived from it survive an edit of the flow.
func Occasion(flowUID uuid.UUID, slotOrTrigger string) uuid.UUID {
	return uuid.NewSHA1(namespace, []byte(flowUID.String()+"|"+slotOrTrigger))
}

// CycleUUID is the identity of the cycle that a revision of a flow runs for an
// occasion. A slot started again after Redis lost it gets the same UUID.
func CycleUUID(occasion uuid.UUID, revision int64) uuid.UUID {
	return uuid.NewSHA1(occasion, fmt.Appendf(nil, "revision|%d", revision))
}

// IntentID is the idempotency key of a node's effect on the outside world: the
// same for every attempt, redelivery and failover of that node for that
// occasion.
func IntentID(occasion uuid.UUID, node NodeID) uuid.UUID {
	return uuid.NewSHA1(occasion, []byte("intent|"+string(node)))
}
