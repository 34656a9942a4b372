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
	V       int    `json:"v,omitempty"`
	Flow    string `json:"flow"`
	Cycle   int64  `json:"cycle"`
	UUID    string `json:"uuid"`
	Node    string `json:"node"`
	Attempt int    `json:"attempt"`
	Type    string `json:"type"`
	Pool    string `json:"pool,omitempty"`
	Parts   int    `json:"partitions,omitempty"`
}

// Encode returns the task as JSON.
func (t Task) Encode() []byte {
	w := t.wire()
	w.V = Version
	b, err := json.Marshal(w)
	if err != nil { // strings and numbers only: cannot fail
		panic(err)
	}
	return b
}

func (t Task) wire() wire {
	w := wire{Flow: string(t.Flow), Cycle: t.Cycle, UUID: t.UUID.String(), Node: string(t.Node), Attempt: t.N, Type: t.Type, Pool: t.Pool, Parts: t.Partitions}
	if w.Parts == 1 { // as before there were partitions
		w.Parts = 0
	}
	return w
}

// Decode reads one task. Every error wraps ErrMalformed.
func Decode(b []byte) (Task, error) {
	if len(b) > MaxBytes {
		return Task{}, malformed("%d bytes, at most %d are allowed", len(b), MaxBytes)
	}
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return Task{}, malformed("not JSON: %w", err)
	}
	if w.V != Version {
		return Task{}, malformed("version %d, this build reads version %d", w.V, Version)
	}
	return w.task()
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMalformed, fmt.Errorf(format, args...))
}

func (w wire) task() (Task, error) {
	flow, err := ids.ParseFlowID(w.Flow)
	if err != nil {
		return Task{}, malformed("%w", err)
	}
	node, err := ids.ParseNodeID(w.Node)
	if err != nil {
		return Task{}, malformed("%w", err)
	}
	u, err := uuid.Parse(w.UUID)
	if err != nil {
		return Task{}, malformed("uuid: %w", err)
	}
	if err := ids.CheckPool(w.Pool); err != nil {
		return Task{}, malformed("%w", err)
	}
	switch {
	case w.Cycle < 1:
		return Task{}, malformed("cycle %d, must be at least 1", w.Cycle)
	case w.Attempt < 1:
		return Task{}, malformed("attempt %d, must be at least 1", w.Attempt)
	case w.Type == "":
		return Task{}, malformed("type is empty")
	case w.Parts < 0 || w.Parts > partition.Max:
		return Task{}, malformed("partitions %d, 1 to %d are allowed", w.Parts, partition.Max)
	}
	return Task{Attempt: ids.Attempt{Flow: flow, Cycle: w.Cycle, UUID: u, Node: node, N: w.Attempt}, Type: w.Type, Pool: w.Pool, Partitions: w.Parts}, nil
}
