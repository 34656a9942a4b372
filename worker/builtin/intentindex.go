package builtin

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/worker/node"
)

const maxIntentIndexes = 64 // files

// intentIndex counts the records of each execution in one file, as far as the
// file has been read. It costs about 40 bytes an execution. Its fields may be
// used only with both mu and the file's lock held.
type intentIndex struct {
	format string

	mu     sync.Mutex
	file   os.FileInfo // identity: a replaced file is read again
	offset int64       // read so far; always the end of a record
	header []string    // csv
	lines  map[uuid.UUID]int
}

// intentIndexes keeps the indexes of the files written last.
type intentIndexes struct {
	mu    sync.Mutex
	kept  map[indexKey]*intentIndex
	order []indexKey // the one used last at the end
}

func newIntentIndexes() *intentIndexes { return &intentIndexes{kept: map[indexKey]*intentIndex{}} }

func (c *intentIndexes) of(path, format string) *intentIndex {
	key := indexKey{path, format}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.order, key); i >= 0 {
		c.order = slices.Delete(c.order, i, i+1)
	}
	c.order = append(c.order, key)
	if c.kept[key] == nil {
		c.kept[key] = &intentIndex{format: format}
	}
	if len(c.order) > maxIntentIndexes {
		delete(c.kept, c.order[0])
		c.order = c.order[1:]
	}
	return c.kept[key]
}

// catchUp reads what was appended since the last call, by whomever, and
// repairs the end of the file. It returns the number of bytes it removed.
func (x *intentIndex) catchUp(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if x.file == nil || !os.SameFile(x.file, info) || info.Size() < x.offset {
		x.offset, x.header, x.lines = 0, nil, map[uuid.UUID]int{}
	}
	x.file = info
	r := bufio.NewReaderSize(io.NewSectionReader(f, x.offset, info.Size()-x.offset), 1<<16)
	for {
		rec, err := readRecord(r, x.format == formatCSV)
		if errors.Is(err, io.EOF) {
			return x.repair(f, rec)
		}
		if err != nil {
			return 0, err
		}
		if err := x.note(rec); err != nil {
			return 0, err
		}
		x.offset += int64(len(rec))
	}
}

// repair deals with a last record that lacks its line break: a whole one gets
// it, a torn one is removed.
func (x *intentIndex) repair(f *os.File, tail []byte) (int64, error) {
	if len(tail) == 0 {
		return 0, nil
	}
	if x.whole(tail) {
		if err := x.note(tail); err != nil {
			return 0, err
		}
		x.offset += int64(len(tail))
		if err := appendSynced(f, []byte("\n")); err != nil {
			return 0, err
		}
		x.offset++
		return 0, nil
	}
	if err := f.Truncate(x.offset); err != nil {
		return 0, err
	}
	return int64(len(tail)), f.Sync()
}

func (x *intentIndex) whole(tail []byte) bool {
	if x.format == formatJSONL {
		return json.Valid(tail)
	}
	cells, err := csv.NewReader(bytes.NewReader(tail)).Read()
	if err != nil || len(cells) == 0 {
		return false
	}
	end := cells[len(cells)-1]
	if x.header == nil {
		return end == intentColumn
	}
	_, err = uuid.Parse(end)
	return err == nil && len(end) == 36 && len(cells) == len(x.header)
}

// note counts a whole record. A line that this product did not write is left
// alone.
func (x *intentIndex) note(rec []byte) error {
	if len(bytes.TrimSpace(rec)) == 0 {
		return nil
	}
	if x.format == formatJSONL {
		var line struct {
			IntentID string `json:"intent_id"`
		}
		if json.Unmarshal(rec, &line) == nil {
			x.count(line.IntentID)
		}
		return nil
	}
	r := csv.NewReader(bytes.NewReader(rec))
	cells, err := r.Read()
	if err != nil {
		return permanentf("the record at byte %d is no CSV: %w", x.offset, err)
	}
	if x.header == nil {
		cells[0] = string(bytes.TrimPrefix([]byte(cells[0]), []byte("\ufeff")))
		x.header = cells
		return nil
	}
	x.count(cells[len(cells)-1])
	return nil
}

func (x *intentIndex) count(id string) {
	if u, err := uuid.Parse(id); err == nil {
		x.lines[u]++
	}
}

// append writes text at the end of the file and reads it back into the index.
func (x *intentIndex) append(f *os.File, text []byte) error {
	if err := appendSynced(f, text); err != nil {
		return err
	}
	_, err := x.catchUp(f)
	return err
}

// appendSynced makes text durable by one write and one fsync. After an error
// the bytes may or may not be there, whole or in part; the next catchUp finds
// out.
func appendSynced(f *os.File, text []byte) error {
	if _, err := f.Write(text); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	return nil
}

// readRecord reads up to the line break that ends a record; in CSV a quoted
// cell may hold others. At the end of the file it returns what is left and
// io.EOF.
func readRecord(r *bufio.Reader, quotes bool) ([]byte, error) {
	var rec []byte
	for {
		part, err := r.ReadSlice('\n')
		rec = append(rec, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return rec, err
		case !quotes || bytes.Count(rec, []byte(`"`))%2 == 0:
			return rec, nil
		}
		if len(rec) > 2*maxRecord {
			return nil, permanentf("a record is longer than %d bytes", 2*maxRecord)
		}
	}
}

var _ node.Handler = (*datasetOutput)(nil)
