package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/relay"
)

func TestPutGetDelete(t *testing.T) {
	c := connect(t)
	now := time.UnixMilli(5_000_123)
	cat, err := New(Config{Client: c, Prefix: prefix(t, c), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	follow(t, cat)
	ctx := background(t)

	first, changed, err := cat.Put(ctx, "f", want(`{"a":"1 < 2"}`))
	if err != nil || !changed {
		t.Fatalf("create: %v %v", changed, err)
	}
	expect := Record{
		Flow: "f", UID: first.UID, Revision: 1, Document: json.RawMessage(`{"a":"1 < 2"}`),
		Anchor: time.UnixMilli(1_000), CreatedAt: now, UpdatedAt: now,
	}
	if diff := cmp.Diff(expect, first); diff != "" || first.UID == uuid.Nil {
		t.Errorf("created record (-want +got):\n%s", diff)
	}
	if got, ok := cat.Get("f"); !ok || !cmp.Equal(got.Record(), first) {
		t.Errorf("own write is not in memory: %v %v", got, ok)
	}

	now = now.Add(time.Minute)
	same, changed, err := cat.Put(ctx, "f", want(`{"a":"1 < 2"}`))
	if err != nil || changed || !cmp.Equal(same, first) {
		t.Errorf("same document: changed %v, %v, %v", changed, same, err)
	}
	second, changed, err := cat.Put(ctx, "f", want(`{"a":2}`))
	expect.Revision, expect.UpdatedAt, expect.Document = 2, now, json.RawMessage(`{"a":2}`)
	if diff := cmp.Diff(expect, second); diff != "" || !changed || err != nil {
		t.Errorf("changed record: %v %v (-want +got):\n%s", changed, err, diff)
	}
	lenient := func(old *Record) (Record, error) { r := *old; r.AllowUnknown = true; return r, nil }
	if third, changed, err := cat.Put(ctx, "f", lenient); err != nil || !changed || third.Revision != 3 || !third.AllowUnknown {
		t.Errorf("changed option: %v %v %v", third, changed, err)
	}
	fresh, err := cat.GetFresh(ctx, "f")
	if got, _ := cat.Get("f"); err != nil || !cmp.Equal(fresh, got.Record()) {
		t.Errorf("GetFresh: %v, %v; memory has %v", fresh, err, got)
	}

	if existed, err := cat.Delete(ctx, "f"); err != nil || !existed {
		t.Errorf("delete: %v %v", existed, err)
	}
	if _, ok := cat.Get("f"); ok {
		t.Error("deleted flow is in memory")
	}
	if existed, err := cat.Delete(ctx, "f"); err != nil || existed {
		t.Errorf("second delete: %v %v", existed, err)
	}
	if _, err := cat.GetFresh(ctx, "f"); !errors.Is(err, ErrNotFound) {
		t.Errorf("GetFresh of a deleted flow: %v", err)
	}
	again, _, err := cat.Put(ctx, "f", want(`{"a":"1 < 2"}`))
	if err != nil || again.UID == first.UID || again.Revision != 1 {
		t.Errorf("a flow made again is the old incarnation: %v %v", again, err)
	}
}

func TestRefusals(t *testing.T) {
	c := connect(t)
	cat := open(t, c, prefix(t, c))
	ctx := background(t)
	no := errors.New("no")
	if _, _, err := cat.Put(ctx, "f", func(*Record) (Record, error) { return Record{}, no }); !errors.Is(err, no) {
		t.Errorf("build's error: %v", err)
	}
	if _, _, err := cat.Put(ctx, "f", want("")); err == nil {
		t.Error("an empty document is accepted")
	}
	big := make([]byte, MaxDocument+1)
	if _, _, err := cat.Put(ctx, "f", want(string(big))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	for _, id := range []ids.FlowID{"", "a/b", "../pauses/x"} {
		var bad *ids.Error
		if _, _, err := cat.Put(ctx, id, want("{}")); !errors.As(err, &bad) {
			t.Errorf("put %q: %v", id, err)
		}
		if _, err := cat.Delete(ctx, id); !errors.As(err, &bad) {
			t.Errorf("delete %q: %v", id, err)
		}
		if _, err := cat.Pause(ctx, id); !errors.As(err, &bad) {
			t.Errorf("pause %q: %v", id, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("an empty config is accepted")
	}
}

func TestPauses(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	a, b := follow(t, open(t, c, p)), follow(t, open(t, c, p))
	sub := b.Subscribe()
	defer sub.Close()
	ctx := background(t)
	if _, err := a.Pause(ctx, "f"); !errors.Is(err, ErrNotFound) {
		t.Errorf("pause of no flow: %v", err)
	}
	if _, err := a.Resume(ctx, "f"); !errors.Is(err, ErrNotFound) {
		t.Errorf("resume of no flow: %v", err)
	}
	if _, _, err := a.Put(ctx, "f", want("{}")); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name          string
		do            func(context.Context, ids.FlowID) (bool, error)
		changed, then bool
	}{
		{"resume unpaused", a.Resume, false, false},
		{"pause", a.Pause, true, true},
		{"pause again", a.Pause, false, true},
		{"resume", a.Resume, true, false},
		{"pause once more", a.Pause, true, true},
	}
	for _, s := range steps {
		changed, err := s.do(ctx, "f")
		if err != nil || changed != s.changed || a.Paused("f") != s.then {
			t.Errorf("%s: changed %v, paused %v, %v", s.name, changed, a.Paused("f"), err)
		}
		until(t, sub, s.name+" is seen elsewhere", func() bool { return b.Paused("f") == s.then })
	}
	if since, ok := b.PausedSince("f"); !ok || time.Since(since) > time.Minute {
		t.Errorf("paused since %v, %v", since, ok)
	}
	if _, err := a.Delete(ctx, "f"); err != nil {
		t.Fatal(err)
	}
	until(t, sub, "the deletion is seen", func() bool { _, ok := b.Get("f"); return !ok && !b.Paused("f") })
	if a.Paused("f") {
		t.Error("the pause outlives the flow")
	}
}

func TestTwoCatalogsSeeEachOther(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	ctx := background(t)
	a := open(t, c, p)
	for i := range 3 * page { // more than one page of the load
		if _, _, err := a.Put(ctx, ids.FlowID(fmt.Sprintf("f%03d", i)), want("{}")); err != nil {
			t.Fatal(err)
		}
	}
	follow(t, a)
	b := follow(t, open(t, c, p))
	if n := len(b.List()); n != 3*page {
		t.Errorf("loaded %d flows, want %d", n, 3*page)
	}
	if diff := cmp.Diff(a.List(), b.List()); diff != "" {
		t.Errorf("catalogs differ:\n%s", diff)
	}
	sub := b.Subscribe()
	defer sub.Close()
	rec, _, err := a.Put(ctx, "new", want(`{"n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	until(t, sub, "b sees the new flow", func() bool { got, ok := b.Get("new"); return ok && cmp.Equal(got.Record(), rec) })
	if _, err := b.Delete(ctx, "f000"); err != nil {
		t.Fatal(err)
	}
	asub := a.Subscribe()
	defer asub.Close()
	until(t, asub, "a sees the deletion", func() bool { _, ok := a.Get("f000"); return !ok })
}

func TestConcurrentPuts(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	const writers, each = 4, 10
	type change struct {
		rec Record
		doc string
	}
	var (
		mu      sync.Mutex
		changes []change
		wg      sync.WaitGroup
	)
	for w := range writers {
		cat := follow(t, open(t, c, p))
		wg.Go(func() {
			for i := range each {
				doc := fmt.Sprintf(`{"w":%d,"i":%d}`, w, i)
				rec, changed, err := cat.Put(background(t), "f", want(doc))
				if errors.Is(err, ErrContended) {
					continue
				}
				if err != nil || !changed {
					t.Errorf("put: %v %v", changed, err)
					return
				}
				mu.Lock()
				changes = append(changes, change{rec, doc})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	seen := make(map[int64]bool)
	for _, ch := range changes {
		if seen[ch.rec.Revision] {
			t.Errorf("revision %d twice", ch.rec.Revision)
		}
		seen[ch.rec.Revision] = true
		if string(ch.rec.Document) != ch.doc || ch.rec.UID != changes[0].rec.UID {
			t.Errorf("record %v for document %s", ch.rec, ch.doc)
		}
	}
	for r := int64(1); r <= int64(len(changes)); r++ {
		if !seen[r] {
			t.Errorf("revision %d is missing", r)
		}
	}
}

func TestGarbageIsPassedOver(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	ctx := background(t)
	writer := open(t, c, p)
	if _, _, err := writer.Put(ctx, "good", want("{}")); err != nil {
		t.Fatal(err)
	}
	garbage := map[string]string{
		"/flows/bad":      "not json",
		"/flows/bad2":     "\x1f\x8bnot gzip",
		"/flows/bad3":     `{"flow":"other","uid":"6f1d5c1e-52a4-4c5b-9a55-1d3b8a2f0c77","revision":1,"document":{}}`,
		"/flows/bad4":     `{"flow":"bad4"}`,
		"/flows/not/a id": "{}",
		"/pauses/good":    "soon",
		"/pauses/a b":     "1",
	}
	put := func() {
		for k, v := range garbage {
			if _, err := c.Put(ctx, p+k, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	put()
	cat := follow(t, open(t, c, p))
	if n := cat.Skipped(); n != int64(len(garbage)) {
		t.Errorf("skipped %d values, want %d", n, len(garbage))
	}
	if list := cat.List(); len(list) != 1 || list[0].Flow != "good" {
		t.Errorf("list is %v", list)
	}
	if !cat.Paused("good") {
		t.Error("a pause with a damaged time does not hold")
	}
	sub := cat.Subscribe()
	defer sub.Close()
	put() // now by the watch
	if _, err := c.Put(ctx, p+"/flows/good", "damaged"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := writer.Put(ctx, "later", want("{}")); err != nil {
		t.Fatal(err)
	}
	until(t, sub, "the watch goes on", func() bool { _, ok := cat.Get("later"); return ok })
	if _, ok := cat.Get("good"); !ok {
		t.Error("the last good record is gone")
	}
	if _, err := cat.GetFresh(ctx, "bad"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("GetFresh of garbage: %v", err)
	}
	if rec, changed, err := cat.Put(ctx, "bad", want("{}")); err != nil || !changed || rec.Revision != 1 {
		t.Errorf("put over garbage: %v %v %v", rec, changed, err)
	}
}

// The watch of a catalog that was cut off asks for a compacted revision.
func TestCompactionDuringCut(t *testing.T) {
	direct := connect(t)
	p := prefix(t, direct)
	ctx := background(t)
	between, err := relay.Listen(relay.Options{Target: strings.TrimPrefix(direct.Endpoints()[0], "http://")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(between.Close)
	cat := follow(t, open(t, dial(t, between.Addr()), p))
	sub := cat.Subscribe()
	defer sub.Close()
	writer := open(t, direct, p)
	for _, f := range []ids.FlowID{"stays", "goes"} {
		if _, _, err := writer.Put(ctx, f, want("{}")); err != nil {
			t.Fatal(err)
		}
	}
	until(t, sub, "both flows are seen", func() bool { return len(cat.List()) == 2 })

	if err := between.Set(relay.Faults{Cut: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Delete(ctx, "goes"); err != nil {
		t.Fatal(err)
	}
	rec, _, err := writer.Put(ctx, "stays", want(`{"a":2}`))
	if err != nil {
		t.Fatal(err)
	}
	last, err := direct.Put(ctx, p+"/elsewhere", "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Compact(ctx, last.Header.Revision); err != nil {
		t.Fatal(err)
	}
	if err := between.Set(relay.Faults{}); err != nil {
		t.Fatal(err)
	}
	until(t, sub, "the catalog has caught up", func() bool {
		got, ok := cat.Get("stays")
		_, gone := cat.Get("goes")
		return ok && got.Revision == rec.Revision && !gone
	})
	if _, _, err := writer.Put(ctx, "after", want("{}")); err != nil {
		t.Fatal(err)
	}
	until(t, sub, "the new watch works", func() bool { _, ok := cat.Get("after"); return ok })
}

func TestUnavailable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close() // nobody listens there now
	cat := open(t, dial(t, addr), "p")
	ctx := background(t)
	calls := map[string]func() error{
		"put":    func() error { _, _, err := cat.Put(ctx, "f", want("{}")); return err },
		"get":    func() error { _, err := cat.GetFresh(ctx, "f"); return err },
		"delete": func() error { _, err := cat.Delete(ctx, "f"); return err },
		"pause":  func() error { _, err := cat.Pause(ctx, "f"); return err },
	}
	var wg sync.WaitGroup
	for name, do := range calls {
		wg.Go(func() {
			began := time.Now()
			err := do()
			var away *Unavailable
			if !errors.As(err, &away) {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(began); took > 2*callTimeout {
				t.Errorf("%s took %v", name, took)
			}
		})
	}
	wg.Wait()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	var away *Unavailable
	if _, err := cat.Delete(cancelled, "f"); !errors.Is(err, context.Canceled) || errors.As(err, &away) {
		t.Errorf("cancelled call: %v", err)
	}
}

func TestOwnWritesAndLateNews(t *testing.T) {
	cat, err := New(Config{Client: &clientv3.Client{}, Prefix: "p"})
	if err != nil {
		t.Fatal(err)
	}
	rec := func(r int64) Record { return Record{Flow: "f", Revision: r} }
	revision := func() int64 { r, _ := cat.Get("f"); return r.Revision }

	cat.ownFlow(cat.age, rec(2), 20)
	cat.setFlow(rec(1), 10) // the watch is behind
	if revision() != 2 {
		t.Error("an older event undid an own write")
	}
	cat.setFlow(rec(2), 20)
	cat.forgetFlow("f", 30)
	cat.ownFlow(cat.age, rec(2), 20) // the writer was slow to store what is deleted by now
	if _, ok := cat.Get("f"); ok {
		t.Error("a late own write brought a deleted flow back")
	}
	cat.ownFlow(cat.age, rec(3), 40)
	cat.ownFlowDelete(cat.age, "f", 50)
	cat.setFlow(rec(3), 40)
	if _, ok := cat.Get("f"); ok {
		t.Error("an older event brought a deleted flow back")
	}
	cat.forgetFlow("f", 50)
	if len(cat.flows) != 0 {
		t.Error("a tombstone stays for ever")
	}
}

func TestSubscription(t *testing.T) {
	cat, err := New(Config{Client: &clientv3.Client{}, Prefix: "p"})
	if err != nil {
		t.Fatal(err)
	}
	cat.setFlow(Record{Flow: "old"}, 1)
	sub := cat.Subscribe()
	<-sub.Ready()
	for i := range 1000 { // nobody reads; nothing blocks
		cat.setFlow(Record{Flow: "b"}, int64(2+2*i))
		cat.setFlow(Record{Flow: "a"}, int64(3+2*i))
	}
	if diff := cmp.Diff([]ids.FlowID{"a", "b", "old"}, sub.Take()); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	if got := sub.Take(); got != nil {
		t.Errorf("taken twice: %v", got)
	}
	cat.setPause("a", time.UnixMilli(1), 5000)
	if diff := cmp.Diff([]ids.FlowID{"a"}, sub.Take()); diff != "" {
		t.Errorf("after a pause (-want +got):\n%s", diff)
	}
	sub.Close()
	cat.setFlow(Record{Flow: "c"}, 6000)
	if got := sub.Take(); got != nil {
		t.Errorf("taken after Close: %v", got)
	}
}
