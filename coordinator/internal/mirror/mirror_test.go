package mirror_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/mirror"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flows is a registry: what this process knows, and what etcd has.
type flows struct {
	known, etcd map[ids.FlowID]*registry.Flow
	away        error
	asked       atomic.Int64
}

func newFlows() *flows {
	return &flows{known: map[ids.FlowID]*registry.Flow{}, etcd: map[ids.FlowID]*registry.Flow{}}
}

func (f *flows) Get(id ids.FlowID) *registry.Flow { return f.known[id] }

func (f *flows) List() []*registry.Flow {
	var out []*registry.Flow
	for _, id := range slices.Sorted(maps.Keys(f.known)) {
		out = append(out, f.known[id])
	}
	return out
}

func (f *flows) Fresh(_ context.Context, id ids.FlowID) (*registry.Flow, error) {
	f.asked.Add(1)
	return f.etcd[id], f.away
}

func (f *flows) Confirm(_ context.Context, all []ids.FlowID) (map[ids.FlowID]bool, error) {
	f.asked.Add(1)
	out := map[ids.FlowID]bool{}
	for _, id := range all {
		out[id] = f.known[id] == f.etcd[id]
	}
	return out, f.away
}

// both makes a flow known and stored.
func (f *flows) both(x *registry.Flow) *registry.Flow {
	f.known[x.Record.Flow], f.etcd[x.Record.Flow] = x, x
	return x
}

func (f *flows) drop(id ids.FlowID) {
	delete(f.known, id)
	delete(f.etcd, id)
}

func flow(t *testing.T, id string, rev int64) *registry.Flow {
	t.Helper()
	body := `{"flow_id":"` + id + `","name":"n","schedule_type":"manual","nodes":[{"id":"a","type":"delay"}],"edges":[]}`
	f, err := registry.Build(catalog.Record{Flow: ids.FlowID(id), UID: uuid.NewSHA1(uuid.Nil, []byte(id)), Revision: rev, Document: json.RawMessage(body), Anchor: time.UnixMilli(1000)})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// again is the same flow after a deletion.
func again(f *registry.Flow) *registry.Flow {
	r := f.Record.Record()
	r.UID[0]++
	g, err := registry.Build(r)
	if err != nil {
		panic(err)
	}
	return g
}

func held(f *registry.Flow) *registry.Flow {
	g := *f
	g.Paused = true
	return &g
}

type kit struct {
	*testing.T
	*flows
	l      *ledger.Ledger
	redis  *miniredis.Miniredis
	mirror *mirror.Mirror
	found  map[ids.FlowID]ledger.FlowHead // as the last pass told
}

func start(t *testing.T) *kit {
	t.Helper()
	m := miniredis.RunT(t)
	l, err := ledger.Open(t.Context(), ledger.Config{URL: "redis://" + m.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	f := newFlows()
	return &kit{t, f, l, m, mirror.New(l, f, hclog.NewNullLogger()), map[ids.FlowID]ledger.FlowHead{}}
}

// has compares the ledger's flows with "id status revision uid".
func (k *kit) has(want map[ids.FlowID]string) {
	k.Helper()
	known, err := k.l.FlowIDs(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	states, err := k.l.Flows(k.Context(), known)
	if err != nil {
		k.Fatal(err)
	}
	got := map[ids.FlowID]string{}
	for f, s := range states {
		got[f] = s.Status
	}
	if d := cmp.Diff(want, got); d != "" {
		k.Errorf("flows of the ledger differ (-want +got):\n%s", d)
	}
}

// all mirrors every flow, as a new leader does, and returns those to try again.
func (k *kit) all() (later []ids.FlowID) {
	k.Helper()
	some, err := k.mirror.Some(k.Context(), slices.Sorted(maps.Keys(k.known)), true, func(f ids.FlowID, h ledger.FlowHead) { k.found[f] = h })
	if err != nil {
		k.Fatal(err)
	}
	strays, err := k.mirror.Strays(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	maps.Copy(some, strays)
	return slices.Sorted(maps.Keys(some))
}

// purge removes a deleted flow as the leader does.
func (k *kit) purge(f ids.FlowID) {
	k.Helper()
	if left, err := k.l.PurgeFlow(k.Context(), 1, f, ""); err != nil || left > 0 {
		k.Fatal(left, err)
	}
}

func TestFlowsComeBackAfterAFlush(t *testing.T) {
	k := start(t)
	k.both(flow(t, "f", 1))
	k.both(held(flow(t, "g", 3)))
	k.all()
	want := map[ids.FlowID]string{"f": "active", "g": "paused"}
	k.has(want)
	k.redis.FlushAll()
	if later := k.all(); later != nil {
		t.Errorf("left for later: %v", later)
	}
	k.has(want)
	if p, err := k.l.ReadPlan(t.Context(), "g", 3); err != nil || len(p.Nodes) != 1 {
		t.Errorf("plan of g: %v, %v", p, err)
	}
}

func TestWhatHappenedWhileRedisWasAway(t *testing.T) {
	k := start(t)
	for _, id := range []string{"gone", "edited", "held", "resumed", "again"} {
		k.both(flow(t, id, 1))
	}
	k.both(held(flow(t, "resumed", 1)))
	k.all()
	k.drop("gone")
	k.both(flow(t, "edited", 2))
	k.both(held(flow(t, "held", 1)))
	k.both(flow(t, "resumed", 1))
	k.both(again(flow(t, "again", 1)))
	if d := cmp.Diff([]ids.FlowID{"again"}, k.all()); d != "" {
		t.Errorf("left for later (-want +got):\n%s", d)
	}
	k.has(map[ids.FlowID]string{"gone": "deleting", "edited": "active", "held": "paused", "resumed": "active", "again": "deleting"})
	if s, err := k.l.Flow(t.Context(), "edited"); err != nil || s.Revision != 2 {
		t.Errorf("edited: %v, %v", s, err)
	}
	k.purge("gone")
	k.purge("again")
	k.all()
	k.has(map[ids.FlowID]string{"edited": "active", "held": "paused", "resumed": "active", "again": "active"})
}

// TestAFlowMadeAgainLeavesTheOldPlanAlone until the old flow is removed: the
// removal finds the nodes of its cycles in that plan.
func TestAFlowMadeAgainLeavesTheOldPlanAlone(t *testing.T) {
	k := start(t)
	old := k.both(flow(t, "f", 1))
	k.all()
	made := k.both(again(old))
	for range 3 {
		if err := k.mirror.One(t.Context(), "f"); !errors.Is(err, ledger.ErrDeleting) {
			t.Fatalf("One: %v", err)
		}
		if err := k.mirror.Install(t.Context(), made); !errors.Is(err, ledger.ErrDeleting) {
			t.Fatalf("Install: %v", err)
		}
	}
	if p, err := k.l.ReadPlan(t.Context(), "f", 1); err != nil || p.UID != old.Record.UID {
		t.Errorf("the plan is of %v, %v", p, err)
	}
	k.purge("f")
	if err := k.mirror.One(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	if s, err := k.l.Flow(t.Context(), "f"); err != nil || s.UID != made.Record.UID {
		t.Errorf("the ledger has %v, %v", s, err)
	}
}

// TestAProcessThatIsBehind must not undo what went through another coordinator.
func TestAProcessThatIsBehind(t *testing.T) {
	one := func(k *kit) { _ = k.mirror.One(k.Context(), "f") }
	all := func(k *kit) { k.all() }
	for name, c := range map[string]struct {
		ledger, etcd, known func(f *registry.Flow) *registry.Flow
		want                map[ids.FlowID]string
	}{
		"a flow it does not know yet": {same, same, none, map[ids.FlowID]string{"f": "active"}},
		"a flow made again":           {again, again, same, map[ids.FlowID]string{"f": "active"}},
		"a pause":                     {held, held, same, map[ids.FlowID]string{"f": "paused"}},
	} {
		for how, mirror := range map[string]func(*kit){"one": one, "all": all} {
			t.Run(name+" "+how, func(t *testing.T) {
				k := start(t)
				f := flow(t, "f", 1)
				k.both(c.ledger(f))
				k.all()
				k.drop("f")
				for into, x := range map[*map[ids.FlowID]*registry.Flow]*registry.Flow{&k.etcd: c.etcd(f), &k.known: c.known(f)} {
					if x != nil {
						(*into)["f"] = x
					}
				}
				mirror(k)
				k.has(c.want)
				k.away = errors.New("etcd is away")
				mirror(k)
				k.has(c.want)
			})
		}
	}
	t.Run("a deletion", func(t *testing.T) {
		k := start(t)
		k.known["f"] = flow(t, "f", 1)
		if err := k.mirror.One(t.Context(), "f"); err != nil {
			t.Fatal(err)
		}
		k.has(map[ids.FlowID]string{})
	})
}

func same(f *registry.Flow) *registry.Flow { return f }

func none(*registry.Flow) *registry.Flow { return nil }

// TestNothingToDoAsksNobody: the leader looks at every flow.
func TestNothingToDoAsksNobody(t *testing.T) {
	k := start(t)
	k.both(flow(t, "f", 1))
	k.both(held(flow(t, "g", 1)))
	k.all()
	k.all()
	if n := k.asked.Load(); n > 0 {
		t.Errorf("etcd was asked %d times", n)
	}
}

// TestSomeTellsPageByPage: what needs nothing is told first and needs one read a page;
// one flow that can't be seen to holds up no other.
func TestSomeTellsPageByPage(t *testing.T) {
	k := start(t)
	var names []ids.FlowID
	for i := range 2*mirror.Page + 7 {
		names = append(names, k.both(flow(t, fmt.Sprintf("f%04d", i), 1)).Record.Flow)
	}
	k.all()
	slot := time.UnixMilli(5000).UTC()
	if err := k.l.SkipSlots(t.Context(), 1, names[3], k.known[names[3]].Record.UID, time.Time{}, slot, slot, 1, "missed"); err != nil {
		t.Fatal(err)
	}
	k.both(again(k.known[names[0]]))                                // an earlier one is to be removed first
	k.both(flow(t, string(names[1]), 2))                            // to be installed
	k.both(flow(t, "new", 1))                                       // not known to the ledger
	asked, order := k.asked.Load(), append(names, "new", "nowhere") // the last one is nowhere
	var told []ids.FlowID
	heads := map[ids.FlowID]ledger.FlowHead{}
	later, err := k.mirror.Some(t.Context(), order, true, func(f ids.FlowID, h ledger.FlowHead) {
		told = append(told, f)
		heads[f] = h
	})
	if err != nil || len(later) != 1 || !errors.Is(later[names[0]], ledger.ErrDeleting) {
		t.Fatalf("later %v, %v", later, err)
	}
	if len(told) != len(order)-2 || told[0] != names[2] || told[mirror.Page-2] != names[1] || told[mirror.Page-1] != names[mirror.Page] {
		t.Errorf("%d of %d flows are told; first %v, then %v, then %v", len(told), len(order), told[0], told[mirror.Page-2], told[mirror.Page-1])
	}
	if h := heads[names[3]]; !h.LastSlot.Equal(slot) || h.Revision != 1 || h.UID != k.known[names[3]].Record.UID {
		t.Errorf("the head of a flow with a slot is %+v", h)
	}
	if h := heads["new"]; h.Known() {
		t.Errorf("the head of a new flow is %+v", h)
	}
	if k.asked.Load() != asked+1 { // for the removal alone
		t.Errorf("etcd was asked %d times", k.asked.Load()-asked)
	}
	k.redis.SetError("LOADING")
	if _, err := k.mirror.Some(t.Context(), order, true, nil); !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("without redis: %v", err)
	}
}

// TestManyNewFlowsAreConfirmedTogether: etcd is asked once for a page of flows that are
// registered one after another, and what it does not confirm is asked for alone.
func TestManyNewFlowsAreConfirmedTogether(t *testing.T) {
	k := start(t)
	var names []ids.FlowID
	for i := range mirror.Page {
		names = append(names, k.both(flow(t, fmt.Sprintf("f%04d", i), 1)).Record.Flow)
	}
	delete(k.etcd, names[7])                        // deleted through another coordinator
	k.etcd[names[8]] = flow(t, string(names[8]), 2) // changed there
	if later, err := k.mirror.Some(t.Context(), names, false, nil); err != nil || len(later) > 0 {
		t.Fatalf("later %v, %v", later, err)
	}
	if n := k.asked.Load(); n != 3 {
		t.Errorf("etcd was asked %d times", n)
	}
	heads, err := k.l.FlowHeads(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range heads {
		want := int64(1)
		if i == 7 {
			want = 0
		}
		if i == 8 {
			want = 2
		}
		if h.Revision != want {
			t.Errorf("the ledger has revision %d of %s, want %d", h.Revision, names[i], want)
		}
	}
}
