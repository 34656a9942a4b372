package ledger

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/tradingflow/weather-station/shared/ids"
)

// maxArchivedOutputs bounds the outputs an archived cycle keeps, in bytes.
const maxArchivedOutputs = 64 << 10

// Archive is the compact record of an ended cycle.
type Archive struct {
	Nodes          []NodeState                `json:"nodes"`
	Outputs        map[string]json.RawMessage `json:"outputs,omitempty"` // node:handle → value
	OutputsDropped bool                       `json:"outputs_dropped,omitempty"`
}

// ReadArchive returns an archived cycle's record. ErrGone when there is none.
func (l *Ledger) ReadArchive(ctx context.Context, f ids.FlowID, n int64) (Archive, error) {
	var a Archive
	blob, err := l.rdb.Get(ctx, l.cycleKey(f, n, "archive")).Bytes()
	if isNil(err) {
		return a, fmt.Errorf("archive of %s/%d: %w", f, n, ErrGone)
	}
	if err != nil {
		return a, fmt.Errorf("read archive of %s/%d: %w", f, n, classify(err))
	}
	if err := unpack(blob, &a); err != nil {
		return a, fmt.Errorf("archive of %s/%d: %w", f, n, err)
	}
	return a, nil
}

// DeleteArchived removes of these cycles of a flow those that have no records but their archive, and
// what is left of those that are gone. It returns the others, which have to be deleted with
// their nodes. It may be repeated. The numbers differ.
func (l *Ledger) DeleteArchived(ctx context.Context, epoch ids.Epoch, f ids.FlowID, numbers []int64) (others []int64, err error) {
	for part := range slices.Chunk(numbers, mostCycles) {
		codes, err := l.remove(ctx, epoch, f, part, nil, 1, 1)
		if err != nil {
			return nil, err
		}
		for i, code := range codes {
			if code == -3 {
				others = append(others, part[i])
			}
		}
	}
	return others, nil
}

// DeleteCycles removes every record of cycles of a flow, given with their nodes: ended ones, or any
// of a flow that is being deleted. Those that are small are removed together. It may be
// repeated. ErrBusy when one has not ended, which does not keep others from being removed; any other error leaves the rest. The numbers differ.
func (l *Ledger) DeleteCycles(ctx context.Context, epoch ids.Epoch, f ids.FlowID, numbers []int64, nodes [][]ids.NodeID) error {
	var faults []error
	for from, to := 0, 0; from < len(numbers); from = to {
		to = sameNodes(nodes, from)
		codes, err := inParts(nodes[from], func(part []ids.NodeID, last int) ([]int64, error) {
			return l.remove(ctx, epoch, f, numbers[from:to], part, 0, last)
		})
		if err != nil {
			return errors.Join(append(faults, err)...)
		}
		for i, code := range codes {
			if code != -1 { // it was gone; what was left of it went now
				faults = append(faults, refusal("delete", f, numbers[from+i], code))
			}
		}
	}
	return errors.Join(faults...)
}

// remove calls delete_cycles for cycles that have the same nodes, and returns its answers.
func (l *Ledger) remove(ctx context.Context, epoch ids.Epoch, f ids.FlowID, numbers []int64, nodes []ids.NodeID, archived, last int) ([]int64, error) {
	args := append(make([]any, 0, 4+len(nodes)+len(numbers)), string(f), archived, last, len(nodes))
	for _, n := range nodes {
		args = append(args, string(n))
	}
	for _, n := range numbers {
		args = append(args, n)
	}
	return l.forEach(ctx, "delete_cycles", epoch, len(numbers), args)
}

// forEach calls a verb that has an answer for each of n cycles.
func (l *Ledger) forEach(ctx context.Context, verb string, epoch ids.Epoch, n int, args []any) ([]int64, error) {
	r, err := l.call(ctx, verb, epoch, args...)
	if err != nil {
		return nil, err
	}
	if r.code() != 1 || len(r) != n+1 {
		return nil, unexpected(verb, r)
	}
	codes := make([]int64, n)
	for i := range codes {
		codes[i] = r.int(i + 1)
	}
	return codes, nil
}

func refusal(verb string, f ids.FlowID, n, code int64) error {
	switch code {
	case -1:
		return fmt.Errorf("%s %s/%d: %w", verb, f, n, ErrGone)
	case -2:
		return fmt.Errorf("%s %s/%d: %w", verb, f, n, ErrBusy)
	}
	return nil
}

// mostCycles is how many cycles one script archives or removes at most.
const mostCycles = 16

// sameNodes returns where the cycles end that go with the first one, at from, into one script: they
// have the same nodes, and no more in all than a script may touch.
func sameNodes(nodes [][]ids.NodeID, from int) int {
	most := max(min(mostCycles, Chunk/max(len(nodes[from]), 1)), 1)
	to := from + 1
	for to < len(nodes) && to-from < most && slices.Equal(nodes[to], nodes[from]) {
		to++
	}
	return to
}

// inParts calls a script for the nodes of some cycles: as a rule once, for a cycle that is too large for that
// part by part, until it is refused. It returns the last answers.
func inParts(nodes []ids.NodeID, do func(part []ids.NodeID, last int) ([]int64, error)) ([]int64, error) {
	for len(nodes) > Chunk {
		codes, err := do(nodes[:Chunk], 0)
		if err != nil || codes[0] == -2 {
			return codes, err
		}
		nodes = nodes[Chunk:]
	}
	return do(nodes, 1)
}

// packers are compressors to be used again: a new one takes far more than what it packs. The usual level
// takes two to three times as long, and makes an archive of four nodes a twentieth smaller, one of a hundred an eighth.
var packers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that there is
	return z
}}

func pack(v any) ([]byte, error) {
	var b bytes.Buffer
	z := packers.Get().(*gzip.Writer) //nolint:errcheck // nothing else is in it
	defer packers.Put(z)
	z.Reset(&b)
	if err := json.NewEncoder(z).Encode(v); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpack(blob []byte, v any) error {
	z, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		return err
	}
	return json.NewDecoder(io.LimitReader(z, 256<<20)).Decode(v)
}
