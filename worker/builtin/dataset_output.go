package builtin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/worker/node"
)

const maxRecord = 1 << 20 // bytes of one line

// The columns that every record carries besides its own. intent_id is always
// the last one of a CSV file: a last line that ends in one is whole.
const intentColumn = "intent_id"

var ownColumns = []string{"flow", "cycle", "slot"}

// datasetOutput writes the value of the input data (or default): an object, or
// a list of objects. A record gets flow, cycle and slot where it has none of
// that name, and the intent_id of this node's execution.
//
// Parameters: path; format csv or jsonl (default: by extension); mode append
// (default) or write, which replaces the file at once and whole; columns (what
// to write, and in which order; intent_id is always added last).
//
// Appending is idempotent by intent_id, over all attempts and all processes of
// one host: the file is locked, the ids in it are counted, and only the records
// that this execution has not written yet are appended, by one write and one
// fsync. A last line that a crash tore is removed first.
//
// Outputs: written (the records this execution has in the file) and path.
type datasetOutput struct {
	dataDir string
	log     hclog.Logger
	written *intentIndexes
}

func newDatasetOutput(dataDir string, log hclog.Logger) *datasetOutput {
	return &datasetOutput{dataDir: dataDir, log: log, written: newIntentIndexes()}
}

type datasetOutputParameters struct {
	common
	Path    string   `json:"path"`
	Format  string   `json:"format"`
	Mode    string   `json:"mode"`
	Columns []string `json:"columns"`
}

func (p *datasetOutputParameters) check() (string, error) {
	var faults []error
	var format string
	if err := checkPath(p.Path); err != nil {
		faults = append(faults, err)
	} else if format, err = datasetFormat(p.Format, p.Path); err != nil {
		faults = append(faults, err)
	}
	if !slices.Contains([]string{"", "append", "write"}, p.Mode) {
		faults = append(faults, fmt.Errorf("mode is %q; it must be append or write", p.Mode))
	}
	for i, c := range p.Columns {
		if c == "" || slices.Contains(p.Columns[:i], c) {
			faults = append(faults, fmt.Errorf("columns: %q at place %d is empty or named twice", c, i+1))
		}
	}
	p.Columns = slices.DeleteFunc(p.Columns, func(c string) bool { return c == intentColumn })
	return format, errors.Join(faults...)
}

func (d *datasetOutput) Run(ctx context.Context, in *node.Input) (node.Result, error) {
	var p datasetOutputParameters
	if err := bind(in, &p); err != nil {
		return node.Result{}, err
	}
	format, err := p.check()
	var recs []record
	if err == nil {
		recs, err = records(in)
	}
	if err != nil {
		return node.Result{}, node.Permanent(fmt.Errorf("dataset_output: %w", err))
	}
	if err := d.write(ctx, &p, format, recs, in.IntentID); err != nil {
		return node.Result{}, fmt.Errorf("dataset_output: %w", err)
	}
	return node.Outputs(map[string]any{"written": len(recs), "path": p.Path}), nil
}

func (d *datasetOutput) write(ctx context.Context, p *datasetOutputParameters, format string, recs []record, intent uuid.UUID) error {
	if d.dataDir != "" {
		if err := os.MkdirAll(d.dataDir, 0o755); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	root, err := openDataDir(d.dataDir)
	if err != nil {
		return err
	}
	defer root.Close()
	if dir := path.Dir(path.Clean(p.Path)); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return outsideIsPermanent(root, dir, err)
		}
	}
	if p.Mode == "write" {
		return replaceFile(root, p.Path, format, p.Columns, recs, intent)
	}
	f, err := lockFile(ctx, root, p.Path)
	if err != nil {
		return err
	}
	defer f.Close() // gives the lock back
	index := d.written.of(p.Path, format)
	index.mu.Lock()
	defer index.mu.Unlock()
	repaired, err := index.catchUp(f)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Path, err)
	}
	if repaired > 0 {
		d.log.Warn("torn last line removed", "path", p.Path, "bytes", repaired)
	}
	done := index.lines[intent]
	if done >= len(recs) {
		return nil
	}
	header := index.header
	text, header, err := encode(format, header, p.Columns, recs[done:], intent)
	if err != nil {
		return node.Permanent(fmt.Errorf("%s: %w", p.Path, err))
	}
	fresh := index.offset == 0
	if fresh && format == formatCSV {
		text = append(csvLine(header), text...)
	}
	if err := index.append(f, text); err != nil || !fresh {
		return err
	}
	return syncFolder(root, p.Path)
}

// outsideIsPermanent marks err permanent if the folder is not merely out of
// reach but outside the data directory or not a folder.
func outsideIsPermanent(root *os.Root, dir string, err error) error {
	if info, statErr := root.Stat(dir); statErr != nil && !os.IsNotExist(statErr) && !os.IsPermission(statErr) || statErr == nil && !info.IsDir() {
		return node.Permanent(err)
	}
	return err
}

// record is one line to write: its own fields and what the execution adds.
type record struct {
	fields map[string]json.RawMessage
	added  map[string]json.RawMessage // flow, cycle, slot
}

func (r record) get(column string) (json.RawMessage, bool) {
	if v, ok := r.fields[column]; ok {
		return v, true
	}
	v, ok := r.added[column]
	return v, ok
}

// records reads the input data, else default. All errors are permanent.
func records(in *node.Input) ([]record, error) {
	handle := "data"
	raw, ok := in.Values[handle]
	if !ok {
		handle = "default"
		raw, ok = in.Values[handle]
	}
	if !ok {
		return nil, errors.New(`input "data" is missing: connect an edge to it`)
	}
	var list []map[string]json.RawMessage
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '{' {
		list = make([]map[string]json.RawMessage, 1)
		if err := json.Unmarshal(raw, &list[0]); err != nil {
			return nil, fmt.Errorf("input %q: %w", handle, err)
		}
	} else if json.Unmarshal(raw, &list) != nil || list == nil {
		return nil, fmt.Errorf("input %q must be an object or a list of objects", handle)
	}
	added := map[string]json.RawMessage{}
	for name, v := range map[string]any{"flow": in.Flow, "cycle": in.Cycle, "slot": in.Slot.UTC()} {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		added[name] = text
	}
	out := make([]record, len(list))
	own, _ := json.Marshal(in.IntentID) // a UUID always encodes
	for i, fields := range list {
		if fields == nil {
			return nil, fmt.Errorf("input %q: item %d is not an object", handle, i)
		}
		if id, ok := fields[intentColumn]; ok && !bytes.Equal(id, own) {
			return nil, fmt.Errorf("input %q: item %d has an %q of its own: give that field another name", handle, i, intentColumn)
		}
		out[i] = record{fields, added}
	}
	return out, nil
}
