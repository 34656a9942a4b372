package catalog

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/s2"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Kept is a record as memory keeps it: the document is packed, since most flows of
// many are not looked at for long. It is never changed.
type Kept struct {
	Flow     ids.FlowID
	UID      uuid.UUID
	Revision int64

	anchor, created, updated int64 // Unix milliseconds
	packed                   string
	past                     *[]Era // nil: none
	allowUnknown             bool
}

// Keep packs a record.
func Keep(r Record) *Kept {
	k := &Kept{Flow: r.Flow, UID: r.UID, Revision: r.Revision, anchor: r.Anchor.UnixMilli(), created: r.CreatedAt.UnixMilli(),
		updated: r.UpdatedAt.UnixMilli(), allowUnknown: r.AllowUnknown, packed: squeeze(r.Document)}
	if len(r.Past) > 0 {
		past := r.Past // the record itself would be kept with it
		k.past = &past
	}
	return k
}

// Anchor is the instant at which the schedule was set.
func (k *Kept) Anchor() time.Time { return time.UnixMilli(k.anchor) }

// Past lists earlier schedules, oldest first.
func (k *Kept) Past() []Era {
	if k.past == nil {
		return nil
	}
	return *k.past
}

// Document unpacks the document. It is the caller's.
func (k *Kept) Document() json.RawMessage {
	doc, err := vocabulary().Decode(nil, []byte(k.packed))
	if err != nil { // it was packed here, in memory
		panic(fmt.Sprintf("unpack flow %s: %v", k.Flow, err))
	}
	return doc
}

// Record is the record that was kept.
func (k *Kept) Record() Record {
	return Record{Flow: k.Flow, UID: k.UID, Revision: k.Revision, Document: k.Document(), AllowUnknown: k.allowUnknown,
		Anchor: k.Anchor(), Past: k.Past(), CreatedAt: time.UnixMilli(k.created), UpdatedAt: time.UnixMilli(k.updated)}
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

func squeeze(doc []byte) string {
	b := buffers.Get().(*[]byte) //nolint:forcetypeassert // only these are put
	defer buffers.Put(b)
	if n := s2.MaxEncodedLen(len(doc)); cap(*b) < n {
		*b = make([]byte, n)
	}
	return string(vocabulary().Encode((*b)[:cap(*b)], doc))
}

// vocabulary is what documents have in common: a small one packs to a third or a
// sixth of its size with it, and to two thirds without.
var vocabulary = sync.OnceValue(func() *s2.Dict {
	const words = `{"flow_id":"flow","name":"flow","schedule_type":"manual","schedule_type":"cron","cron":"*/5 * * * *","timezone":"UTC",` +
		`"schedule_type":"periodic","interval_seconds":60,"overlap":"allow","overlap":"skip","catchup":"none","catchup":"latest","catchup_window":"10m",` +
		`"cycle_timeout":"2m","on_failure":"continue","on_failure":"fail_cycle","nodes":[` +
		`{"id":"a","type":"http","parameters":{"method":"GET","url":"http://127.0.0.1/"},"timeout":"5s","retry":{"enabled":true,"max_retries":3,"backoff":"1s","max_backoff":"30s","jitter":true}},` +
		`{"id":"b","type":"exec","parameters":{"command":["/bin/sh","-c"]},"pool":"default","delivery":"at_most_once","join":"none_failed","join":"one_success","join":"all_done","aggregate":"merge"},` +
		`{"id":"c","type":"condition","parameters":{"expression":"value > 0"}},{"id":"d","type":"delay","parameters":{"duration":"1s"}},` +
		`{"id":"e","type":"dataset_output","parameters":{"mode":"append","path":"out.jsonl"}},{"id":"f","type":"transform","parameters":{"expression":"{\"n\": cycle}","output":"data"}}],` +
		`"edges":[{"source":"a","target":"b","when":"value > 0"},{"source":"a","source_handle":"data","target":"b","target_handle":"data"},{"source":"b","source_handle":"data","target":"c","target_handle":"data"}]}`
	return s2.MakeDict([]byte(words), nil)
})
