package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/ids"
)

// copies is a ledger's copy of a catalog.
type copies struct {
	mu      sync.Mutex
	origin  History
	flows   map[ids.FlowID]Copy
	deleted map[uuid.UUID]bool
	told    []string
}

func (c *copies) Origin(context.Context) (History, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.origin, nil
}

func (c *copies) Adopt(_ context.Context, h History) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.origin = h
	return nil
}

func (c *copies) Flows(context.Context) (out []Copy, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.flows {
		out = append(out, x)
	}
	return out, nil
}

func (c *copies) Deleted(_ context.Context, uids []uuid.UUID) (map[uuid.UUID]bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[uuid.UUID]bool{}
	for _, u := range uids {
		out[u] = c.deleted[u]
	}
	return out, nil
}

func (c *copies) Restored(_ context.Context, what string, _, _ int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, what)
	return nil
}

func copyOf(f ids.FlowID, uid uuid.UUID, revision int64, paused bool) Copy {
	return Copy{Paused: paused, PausedAt: time.UnixMilli(5), Record: Record{Flow: f, UID: uid, Revision: revision,
		Document: json.RawMessage(`{"revision":` + string(rune('0'+revision)) + `}`), Anchor: time.UnixMilli(1), CreatedAt: time.UnixMilli(1), UpdatedAt: time.UnixMilli(1)}}
}

func opened(t *testing.T, c *clientv3.Client, p string, from *copies) *Catalog {
	t.Helper()
	cfg := Config{Client: c, Prefix: p}
	if from != nil {
		cfg.Copies = from
	}
	cat, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// wipe takes everything of a catalog out of etcd in one step, as a rebuilt one
// looks. The marker is gone with it.
func wipe(t *testing.T, c *clientv3.Client, p string) {
	t.Helper()
	if _, err := c.Delete(background(t), p+"/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
}

// TestARebuiltEtcd: flows and pauses come back from the ledger, and nothing is
// believed before.
func TestARebuiltEtcd(t *testing.T) {
	c := connect(t)
	p, ctx := prefix(t, c), background(t)
	from := &copies{flows: map[ids.FlowID]Copy{}, deleted: map[uuid.UUID]bool{}}
	cat := follow(t, opened(t, c, p, from))
	kept, _, err := cat.Put(ctx, "kept", want(`{"x":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(from.told) > 0 || from.origin.ID == "" {
		t.Errorf("a new catalog told %q, and the ledger knows %+v", from.told, from.origin)
	}
	from.mu.Lock()
	from.flows["kept"] = Copy{Record: kept}
	from.flows["paused"] = copyOf("paused", uuid.New(), 3, true)
	from.mu.Unlock()
	before := from.origin.ID
	wipe(t, c, p)
	var away *Unavailable
	if _, err := cat.GetFresh(ctx, "kept"); err != nil && !errors.As(err, &away) {
		t.Errorf("an etcd that lost everything is believed: %v", err)
	}
	other := follow(t, opened(t, c, p, from)) // another coordinator meets the same
	for _, cat := range []*Catalog{cat, other} {
		until(t, cat.Subscribe(), "the flows", func() bool { return len(cat.List()) == 2 && cat.Paused("paused") })
		r, err := cat.GetFresh(ctx, "paused")
		for err != nil && errors.As(err, &away) && ctx.Err() == nil {
			r, err = cat.GetFresh(ctx, "paused")
		}
		if err != nil || r.Revision != 3 {
			t.Errorf("restored: %+v, %v", r, err)
		}
		if r, err := cat.GetFresh(ctx, "kept"); err != nil || r.UID != kept.UID || r.Revision != 1 {
			t.Errorf("kept: %+v, %v", r, err)
		}
	}
	from.mu.Lock()
	defer from.mu.Unlock()
	if len(from.told) == 0 || from.told[0] != "etcd was rebuilt" || from.origin.ID == before {
		t.Errorf("told %q", from.told)
	}
}

// TestAnOlderEtcd: a catalog that starts on an etcd whose history is not the
// ledger's takes the newer of each flow, and deletes again what was deleted.
func TestAnOlderEtcd(t *testing.T) {
	c := connect(t)
	p, ctx := prefix(t, c), background(t)
	first := opened(t, c, p, nil)
	put := func(f ids.FlowID) Record {
		r, _, err := first.Put(ctx, f, want(`{"old":1}`))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	edited, gone, same, unknown := put("edited"), put("gone"), put("same"), put("unknown")
	if _, err := first.Pause(ctx, "edited"); err != nil {
		t.Fatal(err)
	}
	h, _ := first.believed()
	from := &copies{origin: History{ID: h.ID, Revision: h.Revision + 1_000_000, Term: h.Term}, deleted: map[uuid.UUID]bool{gone.UID: true},
		flows: map[ids.FlowID]Copy{"edited": copyOf("edited", edited.UID, 4, false), "same": {Record: same}, "young": copyOf("young", uuid.New(), 1, false)}}
	cat := follow(t, opened(t, c, p, from))
	for f, revision := range map[ids.FlowID]int64{"edited": 4, "same": 1, "unknown": 1, "young": 1} {
		if r, err := cat.GetFresh(ctx, f); err != nil || r.Revision != revision {
			t.Errorf("%s: %+v, %v", f, r, err)
		}
	}
	if _, err := cat.GetFresh(ctx, "gone"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a deleted flow is back: %v", err)
	}
	if cat.Paused("edited") {
		t.Error("a pause that was over is back")
	}
	if r, _ := cat.Get("unknown"); r.UID != unknown.UID {
		t.Error("a flow that the ledger does not know is another")
	}
	if len(from.told) != 1 || from.told[0] != "etcd was restored from an older state" || from.origin.Revision >= h.Revision+1_000_000 {
		t.Errorf("told %q, origin %+v", from.told, from.origin)
	}
}

// TestAnOlderEtcdCatchesUp: a history that was seen to have gone back is another
// one, even if its revision has passed the one seen before at the next look.
func TestAnOlderEtcdCatchesUp(t *testing.T) {
	c := connect(t)
	p, ctx := prefix(t, c), background(t)
	from := &copies{flows: map[ids.FlowID]Copy{}, deleted: map[uuid.UUID]bool{}}
	cat := opened(t, c, p, from)
	if err := cat.admit(ctx); err != nil {
		t.Fatal(err)
	}
	gone, _, err := cat.Put(ctx, "gone", want(`{"x":1}`))
	if err != nil {
		t.Fatal(err)
	}
	from.mu.Lock()
	from.flows["young"], from.deleted[gone.UID] = copyOf("young", uuid.New(), 1, false), true
	from.mu.Unlock()
	for name, look := range map[string]func() error{
		"glance": func() error { return cat.still(ctx) },
		"call":   func() error { _, err := cat.GetFresh(ctx, "gone"); return err },
	} {
		h, err := cat.look(ctx)
		if err != nil {
			t.Fatal(err)
		}
		h.Revision += 3 // as far as the etcd before it was seen
		cat.believe(h)
		if err := look(); err == nil {
			t.Errorf("%s: a history that has gone back is believed", name)
		}
		for range 5 {
			if _, err := c.Put(ctx, p+"/members/other", name); err != nil {
				t.Fatal(err)
			}
		}
		if err := cat.still(ctx); err == nil {
			t.Errorf("%s: it is believed since it has caught up", name)
		}
		_, age := cat.believed()
		if err := cat.admit(ctx); err != nil {
			t.Fatal(err)
		}
		if _, now := cat.believed(); now == age {
			t.Errorf("%s: what memory has is taken for the new history's", name)
		}
		if err := cat.still(ctx); err != nil {
			t.Errorf("%s: it is not believed once it is restored: %v", name, err)
		}
	}
	have, err := cat.inventory(ctx)
	if _, young := have["young"]; err != nil || !young || len(have) != 1 || len(from.told) != 1 {
		t.Errorf("etcd has %+v, told %q, %v", have, from.told, err)
	}
}

// TestAnEmptiedLedger takes over the catalog's marker, and restores nothing.
func TestAnEmptiedLedger(t *testing.T) {
	c := connect(t)
	p, ctx := prefix(t, c), background(t)
	first := opened(t, c, p, nil)
	if _, _, err := first.Put(ctx, "f", want(`{"x":1}`)); err != nil {
		t.Fatal(err)
	}
	h, _ := first.believed()
	from := &copies{}
	cat := follow(t, opened(t, c, p, from))
	if _, ok := cat.Get("f"); !ok || from.origin.ID != h.ID || len(from.told) > 0 {
		t.Errorf("flow %v, origin %+v, told %q", ok, from.origin, from.told)
	}
}
