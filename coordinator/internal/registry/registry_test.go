package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a catalog in memory.
type shelf struct {
	mu     sync.Mutex
	flows  map[ids.FlowID]*catalog.Kept
	paused map[ids.FlowID]bool
	etcd   map[ids.FlowID]catalog.Record // what Fresh sees; the rest is seen by Get
	away   error
	onGet  func() // runs after a record was read
}

func newShelf() *shelf {
	return &shelf{flows: map[ids.FlowID]*catalog.Kept{}, paused: map[ids.FlowID]bool{}, etcd: map[ids.FlowID]catalog.Record{}}
}

func (s *shelf) put(r catalog.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flows[r.Flow], s.etcd[r.Flow] = catalog.Keep(r), r
}

func (s *shelf) Get(f ids.FlowID) (*catalog.Kept, bool) {
	s.mu.Lock()
	r, ok := s.flows[f]
	on := s.onGet
	s.onGet = nil
	s.mu.Unlock()
	if on != nil {
		on()
	}
	return r, ok
}

func (s *shelf) Paused(f ids.FlowID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused[f]
}

func (s *shelf) GetFresh(_ context.Context, f ids.FlowID) (catalog.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.etcd[f]; ok || s.away != nil {
		return r, s.away
	}
	return catalog.Record{}, fmt.Errorf("get: %w", catalog.ErrNotFound)
}

func (s *shelf) PausedFresh(_ context.Context, f ids.FlowID) (time.Time, bool, error) {
	return time.UnixMilli(5000), s.Paused(f), s.away
}

// Current compares what Get shows with what Fresh sees.
func (s *shelf) Current(_ context.Context, flows []ids.FlowID) (map[ids.FlowID]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[ids.FlowID]bool{}
	for _, f := range flows {
		k, known := s.flows[f]
		r, there := s.etcd[f]
		out[f] = known == there && (!known || k.UID == r.UID && k.Revision == r.Revision)
	}
	return out, s.away
}

func (s *shelf) Subscribe() *catalog.Subscription { panic("not followed here") }

func (s *shelf) Admitted() <-chan struct{} { panic("not followed here") }

func (s *shelf) Synced() <-chan struct{} { panic("not followed here") }

func record(id string, rev int64) catalog.Record {
	body := fmt.Sprintf(`{"flow_id":%q,"name":"n","schedule_type":"manual","nodes":[{"id":"a","type":"delay"}],"edges":[]}`, id)
	return catalog.Record{Flow: ids.FlowID(id), UID: uuid.NewSHA1(uuid.Nil, []byte(id)), Revision: rev, Document: json.RawMessage(body), Anchor: time.UnixMilli(1000)}
}

func compiled(t *testing.T, f *registry.Flow) *plan.Plan {
	t.Helper()
	p, err := f.Plan()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRefresh(t *testing.T) {
	s := newShelf()
	r := registry.New(s, hclog.NewNullLogger())
	sub := r.Subscribe()
	defer sub.Close()
	s.put(record("f", 1))
	r.Refresh("f")
	first := r.Get("f")
	if first == nil || compiled(t, first).Revision != 1 || compiled(t, first).UID != first.Record.UID || first.Paused {
		t.Fatalf("got %+v", first)
	}
	s.paused["f"] = true
	r.Refresh("f")
	second := r.Get("f")
	if !second.Paused || compiled(t, second) != compiled(t, first) || first.Paused {
		t.Errorf("a pause gives %+v; the one handed out before is %+v", second, first)
	}
	s.put(record("f", 2))
	s.put(record("e", 1))
	r.Refresh("f")
	r.Refresh("e")
	if got := r.List(); len(got) != 2 || got[0].Record.Flow != "e" || compiled(t, got[1]).Revision != 2 {
		t.Errorf("list: %+v", got)
	}
	bad := record("f", 3)
	bad.Document = json.RawMessage(`{}`)
	s.put(bad)
	r.Refresh("f")
	if got := r.Get("f"); got == nil || compiled(t, got).Revision != 2 {
		t.Errorf("an unreadable record put %+v in place", got)
	}
	delete(s.flows, "f")
	r.Refresh("f")
	if got := r.Get("f"); got != nil {
		t.Errorf("a deleted flow is %+v", got)
	}
	<-sub.Ready()
	if d := cmp.Diff([]ids.FlowID{"e", "f"}, sub.Take()); d != "" {
		t.Errorf("changed flows (-want +got):\n%s", d)
	}
	if got := sub.Take(); len(got) > 0 {
		t.Errorf("taken twice: %v", got)
	}
}

// TestALateRefreshPutsNothingBack: two goroutines refresh one flow; the one that
// read the older record comes last.
func TestALateRefreshPutsNothingBack(t *testing.T) {
	s := newShelf()
	r := registry.New(s, hclog.NewNullLogger())
	s.put(record("f", 1))
	var newer sync.WaitGroup
	s.onGet = func() {
		s.put(record("f", 2))
		began := make(chan struct{})
		newer.Go(func() { close(began); r.Refresh("f") })
		<-began
		for range 1000 { // let it overtake, if it can
			if f := r.Get("f"); f != nil {
				return
			}
		}
	}
	r.Refresh("f")
	newer.Wait()
	if got := r.Get("f").Record.Revision; got != 2 {
		t.Errorf("revision %d is in memory, the catalog has 2", got)
	}
}

func TestFresh(t *testing.T) {
	s := newShelf()
	r := registry.New(s, hclog.NewNullLogger())
	s.put(record("f", 1))
	r.Refresh("f")
	known := r.Get("f")
	if f, err := r.Fresh(t.Context(), "f"); err != nil || compiled(t, f) != compiled(t, known) {
		t.Errorf("known: %v, %v", f, err)
	}
	s.etcd["f"] = record("f", 2) // the watch is behind
	if f, err := r.Fresh(t.Context(), "f"); err != nil || compiled(t, f).Revision != 2 {
		t.Errorf("newer: %v, %v", f, err)
	}
	delete(s.etcd, "f")
	if f, err := r.Fresh(t.Context(), "f"); err != nil || f != nil {
		t.Errorf("gone: %v, %v", f, err)
	}
	s.away = &catalog.Unavailable{Op: "get", Err: errors.New("away")}
	var away *catalog.Unavailable
	if _, err := r.Fresh(t.Context(), "f"); !errors.As(err, &away) {
		t.Errorf("without etcd: %v", err)
	}
}

// TestNextIsWhatTheScheduleSays: for instants in any order, asked by several at once.
func TestNextIsWhatTheScheduleSays(t *testing.T) {
	for _, schedule := range []string{`"schedule_type":"periodic","interval_seconds":0.7`, `"schedule_type":"cron","cron":"*/3 1-5 * * *","timezone":"Asia/Kathmandu"`, `"schedule_type":"manual"`} {
		f, err := registry.Build(catalog.Record{Flow: "f", UID: uuid.New(), Revision: 1, Anchor: time.UnixMilli(1_700_000_000_123),
			Document: []byte(`{"flow_id":"f",` + schedule + `,"nodes":[{"id":"a","type":"delay"}],"edges":[]}`)})
		if err != nil {
			t.Fatal(err)
		}
		var askers sync.WaitGroup
		for k := range 4 {
			askers.Go(func() {
				at := time.UnixMilli(1_700_000_000_000).Add(time.Duration(k) * 337 * time.Microsecond)
				for i := range 2000 {
					at = at.Add(time.Duration((i*7919)%100_000-48_000) * 11 * time.Microsecond)
					got, some := f.Next(at)
					want, has := f.Schedule.Next(at, f.Record.Anchor())
					if some != has || !got.Equal(want) {
						t.Errorf("%s: after %s comes %s, %v; the schedule says %s, %v", schedule, at, got, some, want, has)
						return
					}
				}
			})
		}
		askers.Wait()
	}
}
