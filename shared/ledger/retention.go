package ledger

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
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

// ArchiveCycle replaces an ended cycle's records by an Archive. Errors: ErrGone,
// ErrBusy when the cycle has not ended.
func (l *Ledger) ArchiveCycle(ctx context.Context, epoch ids.Epoch, c CycleState, nodes []ids.NodeID) error {
	return l.ArchiveCycles(ctx, epoch, []CycleState{c}, [][]ids.NodeID{nodes})
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

// DeleteCycle removes every record of a cycle: an ended one, or any one of a
// flow that is being deleted. It may be repeated. ErrBusy when the cycle has not
// ended.
func (l *Ledger) DeleteCycle(ctx context.Context, epoch ids.Epoch, f ids.FlowID, n int64, nodes []ids.NodeID) error {
	return inParts(nodes, func(part []ids.NodeID, last int) error {
		args := []any{string(f), n, last}
		for _, node := range part {
			args = append(args, string(node))
		}
		r, err := l.call(ctx, "delete_cycle", epoch, args...)
		if err == nil && r.code() == -1 {
			return nil // it was gone; what was left of it went now
		}
		return removed("delete", f, n, r, err)
	})
}

func removed(verb string, f ids.FlowID, n int64, r reply, err error) error {
	switch {
	case err != nil:
		return err
	case r.code() == -1:
		return fmt.Errorf("%s %s/%d: %w", verb, f, n, ErrGone)
	case r.code() == -2:
		return fmt.Errorf("%s %s/%d: %w", verb, f, n, ErrBusy)
	}
	return nil
}

func inParts(nodes []ids.NodeID, do func(part []ids.NodeID, last int) error) error {
	if len(nodes) == 0 {
		return do(nil, 1)
	}
	left := len(nodes)
	for part := range slices.Chunk(nodes, Chunk) {
		left -= len(part)
		last := 0
		if left == 0 {
			last = 1
		}
		if err := do(part, last); err != nil {
			return err
		}
	}
	return nil
}

// packers are compressors to be used again: a new one takes 800 KB, more than what it
// packs.
var packers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

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
