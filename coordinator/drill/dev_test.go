package drill

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeDev answers as the port for faults of a station-dev does.
type fakeDev struct {
	mu      sync.Mutex
	members map[string]*devMember
	orders  []string
	deaf    bool // it changes nothing
}

func newFakeDev(t *testing.T) (*fakeDev, *Dev) {
	f := &fakeDev{members: map[string]*devMember{}}
	for _, id := range []string{"coordinator-1", "worker-2"} {
		f.members[id] = &devMember{ID: id, State: devRunning, Starts: 1, Since: time.Now()}
	}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	d := NewDev(s.URL)
	t.Cleanup(d.http.CloseIdleConnections)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return f, d
}

func (f *fakeDev) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	refuse := func(status int, why string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": why})
	}
	if r.URL.Path != "/faults" {
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodGet {
		out := devCluster{APIs: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}}
		for _, m := range f.members {
			out.Members = append(out.Members, *m)
		}
		_ = json.NewEncoder(w).Encode(out)
		return
	}
	var order struct{ Action, Member string }
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil || r.Header.Get("Content-Type") != "application/json" {
		refuse(http.StatusBadRequest, "body")
		return
	}
	f.orders = append(f.orders, order.Action+" "+order.Member)
	m := f.members[order.Member]
	if m == nil {
		refuse(http.StatusNotFound, "no part is called "+order.Member)
		return
	}
	out := devChange{At: time.Now(), Before: *m}
	switch {
	case f.deaf:
	case order.Action == "kill":
		m.State = devKilled
	case order.Action == "start":
		m.State, m.Starts, m.Since = devRunning, m.Starts+1, time.Now()
	}
	out.After = *m
	_ = json.NewEncoder(w).Encode(out)
}

func TestDevKillsAndStarts(t *testing.T) {
	n := Names{Leader: "coordinator-1", Worker: "worker-2"}
	for fault, id := range map[Fault]string{LeaderKill: "coordinator-1", WorkerKill: "worker-2"} {
		f, d := newFakeDev(t)
		e, err := d.Inject(t.Context(), fault, n)
		if err != nil || e.At.IsZero() || !strings.Contains(e.Proof, id+", start 1 at ") || !strings.HasSuffix(e.Proof, "running; then killed") {
			t.Fatalf("%s: %+v, %v", fault, e, err)
		}
		if _, err := d.Inject(t.Context(), fault, n); err == nil {
			t.Errorf("%s: what is killed was killed again", fault)
		}
		for range 2 { // what runs is left alone
			if err := d.Heal(t.Context(), fault, n); err != nil {
				t.Errorf("%s: %v", fault, err)
			}
		}
		if got := strings.Join(f.orders, ", "); got != "kill "+id+", kill "+id+", start "+id {
			t.Errorf("%s: %s", fault, got)
		}
	}
}

func TestDevBelievesNoAnswerThatShowsNothing(t *testing.T) {
	f, d := newFakeDev(t)
	n := Names{Leader: "coordinator-1", Worker: "worker-2"}
	f.deaf = true
	if e, err := d.Inject(t.Context(), LeaderKill, n); err == nil {
		t.Errorf("a kill without effect proves %+v", e)
	}
	f.members["coordinator-1"].State = devKilled
	if err := d.Heal(t.Context(), LeaderKill, n); err == nil {
		t.Error("a start without effect is believed")
	}
}

func TestDevRefuses(t *testing.T) {
	f, d := newFakeDev(t)
	for _, fault := range Faults() {
		err := d.Takes(fault)
		if can := fault == LeaderKill || fault == WorkerKill || fault == LeaderTransfer; can != (err == nil) {
			t.Errorf("%s: %v", fault, err)
		} else if !can && !strings.Contains(err.Error(), "scripts/cluster up") {
			t.Errorf("%s: no remedy in %v", fault, err)
		}
	}
	if _, err := d.Inject(t.Context(), WorkerPause, Names{Worker: "worker-2"}); err == nil || len(f.orders) > 0 {
		t.Errorf("a pause: %v, %v", err, f.orders)
	}
	gone := Names{Leader: "coordinator-9"}
	if _, err := d.Inject(t.Context(), LeaderKill, gone); err == nil || !strings.Contains(err.Error(), "no part is called coordinator-9") {
		t.Errorf("unknown: %v", err)
	}
	if err := d.Heal(t.Context(), LeaderKill, gone); err == nil || !strings.Contains(err.Error(), "coordinator-9") {
		t.Errorf("unknown: %v", err)
	}
	if s, err := d.Servers(t.Context()); err != nil || s != "http://127.0.0.1:1,http://127.0.0.1:2" {
		t.Errorf("%q, %v", s, err)
	}
	other := NewDev(d.base + "/elsewhere")
	defer other.http.CloseIdleConnections()
	if _, err := other.Servers(t.Context()); err == nil || !strings.Contains(err.Error(), "--faults") {
		t.Errorf("another port: %v", err)
	}
}
