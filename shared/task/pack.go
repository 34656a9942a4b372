package task

import (
	"encoding/json"
	"errors"
	"fmt"
)

// PackVersion is the version of a message of several tasks. A decoder of one task
// refuses it by that.
const PackVersion = 2

// Limits of a message of several tasks.
const (
	MaxPack      = 16
	MaxPackBytes = MaxPack * MaxBytes
)

// pack is a message of several tasks of one pool; what they have in common stands in it
// once.
type pack struct {
	V     int    `json:"v"`
	Pool  string `json:"pool"`
	Parts int    `json:"partitions,omitempty"`
	Tasks []wire `json:"tasks"`
}

// EncodePack returns tasks, at most MaxPack and all of one pool, as one message. A
// single one is encoded as ever.
func EncodePack(tasks []Task) []byte {
	if len(tasks) == 1 {
		return tasks[0].Encode()
	}
	p := pack{V: PackVersion, Tasks: make([]wire, len(tasks))}
	for i, t := range tasks {
		w := t.wire()
		p.Pool, p.Parts = w.Pool, w.Parts
		w.Pool, w.Parts = "", 0
		p.Tasks[i] = w
	}
	b, err := json.Marshal(p)
	if err != nil { // strings and numbers only: cannot fail
		panic(err)
	}
	return b
}

// DecodePack reads a message of one task or several. Every error wraps ErrMalformed; it
// tells of all tasks that can't be read, and those that can are returned beside it.
func DecodePack(b []byte) ([]Task, error) {
	if len(b) > MaxPackBytes {
		return nil, malformed("%d bytes, at most %d are allowed", len(b), MaxPackBytes)
	}
	var p struct {
		wire
		Tasks []wire `json:"tasks"`
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, malformed("not JSON: %w", err)
	}
	switch {
	case p.V == Version && len(b) > MaxBytes:
		return nil, malformed("%d bytes, at most %d are allowed", len(b), MaxBytes)
	case p.V == Version:
		t, err := p.task()
		if err != nil {
			return nil, err
		}
		return []Task{t}, nil
	case p.V != PackVersion:
		return nil, malformed("version %d, this build reads versions %d and %d", p.V, Version, PackVersion)
	case len(p.Tasks) == 0 || len(p.Tasks) > MaxPack:
		return nil, malformed("%d tasks, 1 to %d are allowed", len(p.Tasks), MaxPack)
	}
	tasks := make([]Task, 0, len(p.Tasks))
	var faults []error
	for i, w := range p.Tasks {
		w.Pool, w.Parts = p.Pool, p.Parts
		t, err := w.task()
		if err != nil {
			faults = append(faults, fmt.Errorf("task %d: %w", i+1, err))
			continue
		}
		tasks = append(tasks, t)
	}
	return tasks, errors.Join(faults...)
}
