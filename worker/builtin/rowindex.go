package builtin

import (
	"bufio"
	"bytes"
	"container/list"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tradingflow/weather-station/worker/node"
)

const (
	maxIndexedFiles = 64
	maxIndexedRows  = 16 << 20 // over all files; 8 bytes each
	maxLine         = 1 << 20  // bytes of one jsonl line
	ctxCheckRows    = 4096
)

// rowIndex knows where each row of one version of a file begins, so that a
// window costs one read however long the file is. Every row has been checked
// when the index was built.
type rowIndex struct {
	path   string
	format string
	header []string // csv only
	starts []int64  // of each row, and the end of the last one
}

func (x *rowIndex) rows() int { return len(x.starts) - 1 }

// read returns the rows [from, to).
func (x *rowIndex) read(f io.ReaderAt, from, to int) ([]map[string]json.RawMessage, error) {
	buf := make([]byte, x.starts[to]-x.starts[from])
	if _, err := f.ReadAt(buf, x.starts[from]); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", x.path, err)
	}
	rows := make([]map[string]json.RawMessage, 0, to-from)
	next := x.nextCSV(buf)
	if x.format == formatJSONL {
		next = nextJSON(buf)
	}
	for range to - from {
		row, err := next()
		if err != nil {
			return nil, fmt.Errorf("%s changed while it was read: %w", x.path, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (x *rowIndex) nextCSV(buf []byte) func() (map[string]json.RawMessage, error) {
	r := csv.NewReader(bytes.NewReader(buf))
	r.FieldsPerRecord = len(x.header)
	r.ReuseRecord = true
	return func() (map[string]json.RawMessage, error) {
		cells, err := r.Read()
		if err != nil {
			return nil, err
		}
		row := make(map[string]json.RawMessage, len(cells))
		for i, c := range cells {
			row[x.header[i]] = cell(c)
		}
		return row, nil
	}
}

func nextJSON(buf []byte) func() (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(buf))
	return func() (row map[string]json.RawMessage, err error) {
		return row, d.Decode(&row)
	}
}

// cell is a CSV cell as JSON: the text of a JSON number as it stands, anything
// else as a string. A number too large for a double stays a string.
func cell(text string) json.RawMessage {
	if text != "" && (text[0] == '-' || text[0] >= '0' && text[0] <= '9') && json.Valid([]byte(text)) {
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			return json.RawMessage(text)
		}
	}
	raw, _ := json.Marshal(text) // a string always encodes
	return raw
}

// rowIndexes keeps the indexes used last. A file that changed in size, time or
// identity is indexed again.
type rowIndexes struct {
	building chan struct{} // holds one token: indexes are built one at a time

	mu    sync.Mutex
	order *list.List // of *keptIndex, the one used last in front
	kept  map[indexKey]*list.Element
	rows  int
}

type indexKey struct {
	path, format string
}

type keptIndex struct {
	key      indexKey
	size     int64
	modified time.Time
	file     os.FileInfo
	index    *rowIndex
}

func newRowIndexes() *rowIndexes {
	return &rowIndexes{building: make(chan struct{}, 1), order: list.New(), kept: map[indexKey]*list.Element{}}
}

// of returns the index of the open file f.
func (c *rowIndexes) of(ctx context.Context, f *os.File, path, format string) (*rowIndex, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	key := indexKey{path, format}
	if x := c.lookup(key, info); x != nil {
		return x, nil
	}
	select {
	case c.building <- struct{}{}:
		defer func() { <-c.building }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if x := c.lookup(key, info); x != nil {
		return x, nil
	}
	x, err := buildIndex(ctx, io.NewSectionReader(f, 0, info.Size()), path, format)
	if err != nil {
		return nil, err
	}
	c.keep(&keptIndex{key, info.Size(), info.ModTime(), info, x})
	return x, nil
}

func (c *rowIndexes) lookup(key indexKey, info os.FileInfo) *rowIndex {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.kept[key]
	if !ok {
		return nil
	}
	k := e.Value.(*keptIndex)
	if k.size != info.Size() || !k.modified.Equal(info.ModTime()) || !os.SameFile(k.file, info) {
		return nil
	}
	c.order.MoveToFront(e)
	return k.index
}

func (c *rowIndexes) keep(k *keptIndex) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.kept[k.key]; ok {
		c.drop(e)
	}
	c.kept[k.key] = c.order.PushFront(k)
	c.rows += k.index.rows()
	for c.order.Len() > maxIndexedFiles || c.rows > maxIndexedRows && c.order.Len() > 1 {
		c.drop(c.order.Back())
	}
}

func (c *rowIndexes) drop(e *list.Element) {
	k := c.order.Remove(e).(*keptIndex)
	delete(c.kept, k.key)
	c.rows -= k.index.rows()
}

func buildIndex(ctx context.Context, r io.ReadSeeker, path, format string) (*rowIndex, error) {
	x := &rowIndex{path: path, format: format}
	var bom [3]byte
	base := int64(0)
	if n, _ := io.ReadFull(r, bom[:]); n == 3 && string(bom[:]) == "\ufeff" {
		base = 3
	}
	if _, err := r.Seek(base, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if format == formatJSONL {
		return x, x.scanJSON(ctx, r, base)
	}
	return x, x.scanCSV(ctx, r, base)
}

func (x *rowIndex) scanCSV(ctx context.Context, in io.Reader, base int64) error {
	r := csv.NewReader(bufio.NewReaderSize(in, 1<<16))
	header, err := r.Read() // sets FieldsPerRecord
	switch {
	case errors.Is(err, io.EOF):
		return permanentf("%s is empty: it needs a header line", x.path)
	case err != nil:
		return x.csvError(err)
	}
	seen := map[string]bool{}
	for i, name := range header {
		name = strings.TrimSpace(name)
		if name == "" || seen[name] {
			return permanentf("%s: line 1: column %d is named %q: names must be given and differ", x.path, i+1, name)
		}
		seen[name] = true
		x.header = append(x.header, name)
	}
	r.ReuseRecord = true
	for n := 0; ; n++ {
		if n%ctxCheckRows == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		x.starts = append(x.starts, base+r.InputOffset())
		_, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return x.csvError(err)
		}
	}
}

func (x *rowIndex) csvError(err error) error {
	var pe *csv.ParseError
	switch {
	case !errors.As(err, &pe):
		return fmt.Errorf("read %s: %w", x.path, err)
	case errors.Is(err, csv.ErrFieldCount):
		return permanentf("%s: line %d: the row's width differs from the header's %d columns", x.path, pe.Line, len(x.header))
	}
	return permanentf("%s: line %d, column %d: %w", x.path, pe.Line, pe.Column, pe.Err)
}

func (x *rowIndex) scanJSON(ctx context.Context, in io.Reader, base int64) error {
	r := bufio.NewReaderSize(in, maxLine)
	offset := base
	for line := 1; ; line++ {
		if line%ctxCheckRows == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		raw, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			if errors.Is(err, bufio.ErrBufferFull) {
				return permanentf("%s: line %d is longer than %d bytes", x.path, line, maxLine)
			}
			return fmt.Errorf("read %s: %w", x.path, err)
		}
		if text := bytes.TrimSpace(raw); len(text) > 0 {
			if text[0] != '{' || !json.Valid(text) {
				return permanentf("%s: line %d is not a JSON object", x.path, line)
			}
			x.starts = append(x.starts, offset)
		}
		offset += int64(len(raw))
		if err != nil {
			x.starts = append(x.starts, offset)
			return nil
		}
	}
}

var _ node.Handler = (*datasetInput)(nil)
