package registry_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/flow"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/coordinator/internal/ticker"
	"github.com/tradingflow/weather-station/shared/ids"
)

// most is the memory that a flow of three nodes may take while it rests, its document
// included.
const most = 640

// TestWhatARestingFlowTakes counts the heap that very many flows take: in the catalog,
// in the registry and in the ticker.
func TestWhatARestingFlowTakes(t *testing.T) {
	const n = 20_000
	s := newShelf()
	r := registry.New(s, hclog.NewNullLogger())
	var names []ids.FlowID
	var docs [][]byte
	for i := range n {
		id := fmt.Sprintf("momentum-%05d", i)
		names = append(names, ids.FlowID(id))
		doc, err := flow.Parse(fmt.Appendf(nil, `{"flow_id":%q,"name":"momentum %d","interval_seconds":%d,"cycle_timeout":"30s",
			"nodes":[{"id":"price","type":"http","parameters":{"url":"https://exchange.example.com/ticker?pair=%d"},"timeout":"5s"},
			{"id":"signal","type":"condition","parameters":{"expression":"value > %d"}},
			{"id":"order","type":"place_order","parameters":{"size":%d},"delivery":"at_most_once"}],
			"edges":[{"source":"price","source_handle":"close","target":"signal","target_handle":"price"},
			{"source":"signal","source_handle":"true","target":"order","target_handle":"go"}]}`, id, i, 60+i%100, i, i, i), flow.Options{})
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc.Canonical())
	}
	anchor := time.Now()
	tk := ticker.New(ticker.Config{Flows: r, Log: hclog.NewNullLogger()})
	before := heap()
	for i, id := range names {
		s.flows[id] = catalog.Keep(catalog.Record{Flow: ids.FlowID(strings.Clone(string(id))), UID: uuid.New(), Revision: 1, Document: docs[i], Anchor: anchor})
	}
	kept := heap()
	for _, id := range names {
		r.Refresh(id)
	}
	known := heap()
	for _, id := range names {
		tk.Know(id, anchor)
	}
	ticked := heap()
	each := func(a, b int64) int64 { return (b - a) / n }
	t.Logf("a flow whose document has %d bytes takes %d bytes: %d in the catalog, %d in the registry, %d in the ticker",
		len(docs[0]), each(before, ticked), each(before, kept), each(kept, known), each(known, ticked))
	if got := each(before, ticked); got > most {
		t.Errorf("a flow takes %d bytes, at most %d are allowed", got, most)
	}
	runtime.KeepAlive(tk)
	runtime.KeepAlive(docs)
}

// heap is what lives in it.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what a finalizer or a pool held goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
