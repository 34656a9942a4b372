package catalog

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ids"
)

// Sizes, in bytes.
const (
	// MaxDocument is the largest document that Put accepts.
	MaxDocument = 16 << 20
	// gzipAbove is the record size from which compression pays.
	gzipAbove = 1 << 10
	// maxValue is the largest value written to one key; etcd's request limit
	// is 1.5 MiB.
	maxValue = 1 << 20
	// maxRecord bounds what is unpacked, against a value made to explode.
	maxRecord = MaxDocument + 64<<10
)

// Record is one flow's current definition. Its Document is shared: do not
// change it.
type Record struct {
	Flow         ids.FlowID      // id of the flow
	UID          uuid.UUID       // incarnation: new when the flow is created
	Revision     int64           // 1, 2, … within an incarnation
	Document     json.RawMessage // canonical JSON
	AllowUnknown bool            // accept node types that no worker has announced
	Anchor       time.Time       // when the schedule was set; milliseconds
	Past         []Era           // schedules before it, oldest first
	CreatedAt    time.Time       // milliseconds
	UpdatedAt    time.Time       // milliseconds
}

// MaxPast is how many earlier schedules a record remembers. They are needed until the
// ledger has accounted for their slots, mostly a moment.
const MaxPast = 16

// Era is a schedule that was replaced by the one after it.
type Era struct {
	Spec   schedule.Spec
	Anchor time.Time // milliseconds
}

// same reports whether storing b over a would change nothing. The anchor does
// not count: it follows from the document.
func (r Record) same(b Record) bool {
	return bytes.Equal(r.Document, b.Document) && r.AllowUnknown == b.AllowUnknown
}

// stored is a record as JSON. Exactly one of Document and Chunks is set.
type stored struct {
	Flow         ids.FlowID      `json:"flow"`
	UID          uuid.UUID       `json:"uid"`
	Revision     int64           `json:"revision"`
	Document     json.RawMessage `json:"document,omitempty"`
	AllowUnknown bool            `json:"allow_unknown,omitempty"`
	Anchor       int64           `json:"anchor"`
	Past         []storedEra     `json:"past,omitempty"`
	CreatedAt    int64           `json:"created_at"`
	UpdatedAt    int64           `json:"updated_at"`
	Chunks       *chunkSet       `json:"chunks,omitempty"`
}

// storedEra is an Era as JSON.
type storedEra struct {
	Kind     schedule.Kind `json:"schedule_type"`
	Interval int64         `json:"interval_ms,omitempty"`
	Cron     string        `json:"cron,omitempty"`
	Timezone string        `json:"timezone,omitempty"`
	Anchor   int64         `json:"anchor"`
}

func storedEras(eras []Era) (out []storedEra) {
	for _, e := range eras {
		out = append(out, storedEra{Kind: e.Spec.Kind, Interval: e.Spec.Interval.Milliseconds(), Cron: e.Spec.Cron, Timezone: e.Spec.Timezone, Anchor: e.Anchor.UnixMilli()})
	}
	return out
}

func eras(stored []storedEra) (out []Era) {
	for _, e := range stored {
		spec := schedule.Spec{Kind: e.Kind, Interval: time.Duration(e.Interval) * time.Millisecond, Cron: e.Cron, Timezone: e.Timezone}
		out = append(out, Era{Spec: spec, Anchor: time.UnixMilli(e.Anchor)})
	}
	return out
}

// chunkSet names the keys that together hold the packed record.
type chunkSet struct {
	Set   uuid.UUID `json:"set"`
	Count int       `json:"count"`
	Size  int       `json:"size"` // of all chunks together
}

func (r Record) stored() stored {
	return stored{
		Flow: r.Flow, UID: r.UID, Revision: r.Revision, Document: r.Document, AllowUnknown: r.AllowUnknown,
		Anchor: r.Anchor.UnixMilli(), Past: storedEras(r.Past), CreatedAt: r.CreatedAt.UnixMilli(), UpdatedAt: r.UpdatedAt.UnixMilli(),
	}
}

func (s stored) record() Record {
	return Record{
		Flow: s.Flow, UID: s.UID, Revision: s.Revision, Document: s.Document, AllowUnknown: s.AllowUnknown,
		Anchor: time.UnixMilli(s.Anchor), Past: eras(s.Past), CreatedAt: time.UnixMilli(s.CreatedAt), UpdatedAt: time.UnixMilli(s.UpdatedAt),
	}
}

// encode makes the record's value and, for one that does not fit, its chunks.
// Together the chunks are the packed record; the value is then a head without
// the document.
func encode(r Record, newSet func() uuid.UUID) (val []byte, set *chunkSet, chunks [][]byte, err error) {
	s := r.stored()
	s.Document = nil
	head, err := json.Marshal(s)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("encode record: %w", err)
	}
	// Marshal would escape signs such as < in the document, and the same
	// document would no longer compare as equal.
	raw := slices.Concat(head[:len(head)-1], []byte(`,"document":`), r.Document, []byte("}"))
	packed, err := pack(raw)
	if err != nil || len(packed) <= maxValue {
		return packed, nil, nil, err
	}
	s.Chunks = &chunkSet{Set: newSet(), Size: len(packed)}
	chunks = slices.Collect(slices.Chunk(packed, maxValue))
	s.Chunks.Count = len(chunks)
	if val, err = json.Marshal(s); err != nil {
		return nil, nil, nil, fmt.Errorf("encode record: %w", err)
	}
	return val, s.Chunks, chunks, nil
}

// decode reads a record's value. A record with chunks has no document yet.
func decode(flow ids.FlowID, val []byte) (stored, error) {
	raw, err := unpack(val)
	if err != nil {
		return stored{}, err
	}
	s, ok := split(raw)
	if !ok {
		if err := json.Unmarshal(raw, &s); err != nil {
			return stored{}, fmt.Errorf("decode record: %w", err)
		}
	}
	var faults []error
	if s.Flow != flow {
		faults = append(faults, fmt.Errorf("names flow %.40q", s.Flow))
	}
	if s.UID == uuid.Nil {
		faults = append(faults, errors.New("has no uid"))
	}
	if s.Revision < 1 {
		faults = append(faults, fmt.Errorf("has revision %d", s.Revision))
	}
	if (len(s.Document) > 0) == (s.Chunks != nil) {
		faults = append(faults, errors.New("needs either a document or chunks"))
	}
	if c := s.Chunks; c != nil && (c.Count < 1 || c.Count > MaxDocument/maxValue+1 || c.Size < 1) {
		faults = append(faults, fmt.Errorf("names %d chunks of %d bytes", c.Count, c.Size))
	}
	if len(faults) > 0 {
		return stored{}, fmt.Errorf("decode record: %w", errors.Join(faults...))
	}
	return s, nil
}

// split decodes a record as encode writes it, with the document last: it is looked
// through once and not three times, which tells when very many are loaded. It reports
// false for any other value.
func split(raw []byte) (s stored, ok bool) {
	const name = `,"document":`
	at := bytes.Index(raw, []byte(name)) // no string before it holds a quote
	if at < 0 || raw[len(raw)-1] != '}' {
		return stored{}, false
	}
	head := append(slices.Clip(raw[:at]), '}')
	doc := raw[at+len(name) : len(raw)-1]
	if json.Unmarshal(head, &s) != nil || s.Document != nil || s.Chunks != nil || !json.Valid(doc) {
		return stored{}, false
	}
	s.Document = doc
	return s, true
}

func pack(raw []byte) ([]byte, error) {
	if len(raw) <= gzipAbove {
		return raw, nil
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.DefaultCompression)
	if err != nil {
		return nil, fmt.Errorf("compress record: %w", err)
	}
	if _, err := w.Write(raw); err != nil {
		return nil, fmt.Errorf("compress record: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress record: %w", err)
	}
	return b.Bytes(), nil
}

// unpack undoes pack: gzip begins with 0x1f 0x8b, which JSON never does.
func unpack(val []byte) ([]byte, error) {
	if !bytes.HasPrefix(val, []byte{0x1f, 0x8b}) {
		return val, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(val))
	if err != nil {
		return nil, fmt.Errorf("unpack record: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxRecord+1))
	if err != nil {
		return nil, fmt.Errorf("unpack record: %w", err)
	}
	if len(raw) > maxRecord {
		return nil, fmt.Errorf("unpack record: more than %d bytes", maxRecord)
	}
	return raw, nil
}
