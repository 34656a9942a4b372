// Package task is what travels between coordinator and worker: the task, a
// doorbell that names one attempt of one node, and the outcome an attempt ends
// with. A task carries names, never inputs: losing or doubling one must not
// matter.
package task

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/partition"
)

// Version is the version of the encoding below. A decoder refuses others.
const Version = 1

// MaxBytes bounds an encoded task.
const MaxBytes = 2048

// ErrMalformed is wrapped by every error of Decode: the message can never
// become a task, so it belongs into the parking queue.
var ErrMalformed = errors.New("malformed task")

// Task offers one attempt of one node to a pool.
type Task struct {
	ids.Attempt
	Type string
	Pool string
	// Partitions is how many there are, so that a worker finds the ledger of the
	// flow's own (package partition); 0 is 1.
	Partitions int
}

type wire struct {
	V       int    `json:"v"`
	Flow    string `json:"flow"`
	Cycle   int64  `json:"cycle"`
	UUID    string `json:"uuid"`
	Node    string `json:"node"`
	Attempt int    `json:"attempt"`
	Type    string `json:"type"`
	Pool    string `json:"pool"`
	Parts   int    `json:"partitions,omitempty"`
}

// Encode returns the task as JSON.
func (t Task) Encode() []byte {
	w := wire{Version, string(t.Flow), t.Cycle, t.UUID.String(), string(t.Node), t.N, t.Type, t.Pool, t.Partitions}
	if w.Parts == 1 { // as before there were partitions
		w.Parts = 0
	}
	b, err := json.Marshal(w)
	if err != nil { // strings and numbers only: cannot fail
		panic(err)
	}
	return b
}

// Decode reads a task. Every error wraps ErrMalformed.
func Decode(b []byte) (Task, error) {
	bad := func(format string, args ...any) (Task, error) {
		return Task{}, fmt.Errorf("%w: %w", ErrMalformed, fmt.Errorf(format, args...))
	}
	if len(b) > MaxBytes {
		return bad("%d bytes, at most %d are allowed", len(b), MaxBytes)
	}
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return bad("not JSON: %w", err)
	}
	if w.V != Version {
		return bad("version %d, this build reads version %d", w.V, Version)
	}
	flow, err := ids.ParseFlowID(w.Flow)
	if err != nil {
		return bad("%w", err)
	}
	node, err := ids.ParseNodeID(w.Node)
	if err != nil {
		return bad("%w", err)
	}
	u, err := uuid.Parse(w.UUID)
	if err != nil {
		return bad("uuid: %w", err)
	}
	if err := ids.CheckPool(w.Pool); err != nil {
		return bad("%w", err)
	}
	switch {
	case w.Cycle < 1:
		return bad("cycle %d, must be at least 1", w.Cycle)
	case w.Attempt < 1:
		return bad("attempt %d, must be at least 1", w.Attempt)
	case w.Type == "":
		return bad("type is empty")
	case w.Parts < 0 || w.Parts > partition.Max:
		return bad("partitions %d, 1 to %d are allowed", w.Parts, partition.Max)
	}
	return Task{Attempt: ids.Attempt{Flow: flow, Cycle: w.Cycle, UUID: u, Node: node, N: w.Attempt}, Type: w.Type, Pool: w.Pool, Partitions: w.Parts}, nil
}
