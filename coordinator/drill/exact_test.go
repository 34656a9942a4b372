package drill

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// The exact measures come from the journal: what a leader dispatched last, its
// successor first, and when what a worker ran began again.
func TestExact(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 400_000, time.UTC)
	rec := func(after time.Duration, op string, epoch, cycle int64, node string, attempt int, worker string) api.JournalRecord {
		return api.JournalRecord{At: api.At(at.Add(after)), Op: op, Epoch: epoch, Cycle: cycle, NodeID: node, Attempt: attempt, Worker: worker}
	}
	ms := time.Millisecond
	leader := Round{Epoch: 7, NewEpoch: 8}
	leader.exact([]api.JournalRecord{
		rec(-20*ms, "dispatch", 7, 1, "a", 1, ""), rec(-5*ms, "dispatch", 7, 1, "b", 1, ""),
		rec(31*ms, "dispatch", 8, 1, "c", 1, ""), rec(33*ms, "dispatch", 8, 1, "d", 1, ""),
	}, at)
	if leader.DispatchMS == nil || leader.GapMS == nil || *leader.DispatchMS != 30 || *leader.GapMS != 36 || len(leader.Leaders) != 2 {
		t.Errorf("dispatch %v, gap %v, leaders %+v", leader.DispatchMS, leader.GapMS, leader.Leaders)
	}
	worker := Round{Epoch: 7, Worker: "w-1"}
	worker.exact([]api.JournalRecord{
		rec(-90*ms, "claim", 0, 1, "done", 1, "w-1"), rec(-80*ms, "outcome", 0, 1, "done", 1, "w-1"),
		rec(-70*ms, "claim", 0, 1, "other", 1, "w-2"), rec(-60*ms, "claim", 0, 1, "hit", 1, "w-1"), rec(-50*ms, "claim", 0, 2, "hit", 1, "w-1"),
		rec(120*ms, "claim", 0, 1, "hit", 2, "w-2"), rec(200*ms, "claim", 0, 2, "hit", 2, "w-2"), rec(900*ms, "claim", 0, 2, "hit", 3, "w-3"),
		rec(950*ms, "claim", 0, 1, "other", 2, "w-3"),
	}, at)
	if worker.RerunMS == nil || *worker.RerunMS != 199 || worker.DispatchMS != nil {
		t.Errorf("rerun %v, dispatch %v; want 199 and none", worker.RerunMS, worker.DispatchMS)
	}
}

func TestPercentilesAreJudged(t *testing.T) {
	r := Report{Fault: LeaderKill, WithinMS: 100}
	for i := range int64(100) {
		n := i + 1
		r.Rounds = append(r.Rounds, Round{Pass: true, DispatchMS: &n})
	}
	r.sum()
	want := &Spread{N: 100, MinMS: 1, MedianMS: 50, P90MS: 90, P99MS: 99, MaxMS: 100}
	if d := cmp.Diff(want, r.Dispatch); d != "" || !r.Pass {
		t.Errorf("pass %t, %s", r.Pass, d)
	}
	r.WithinMS, r.Reasons = 98, nil
	if r.judge(); r.Pass || len(r.Reasons) != 1 {
		t.Errorf("99 ms of 98 allowed: pass %t, %q", r.Pass, r.Reasons)
	}
}

func TestOneDrillAtATime(t *testing.T) {
	c := newFake()
	c.others = []api.FlowSummary{{FlowID: "momentum"}, {FlowID: canaryPrefix + "x"}}
	_, err := Run(t.Context(), config(c, &fakeTarget{cluster: c}, LeaderKill))
	var other *OtherDrillError
	if !errors.As(err, &other) || other.Canary != canaryPrefix+"x" || c.flow != "" {
		t.Errorf("%v, registered %q; want a refusal that changes nothing", err, c.flow)
	}
}

// control is a control port with the links that it has, and whether traffic runs.
func control(t *testing.T, traffic bool, links ...string) (*Links, *[]string) {
	t.Helper()
	var calls []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var out []map[string]any
		for _, name := range links {
			for _, g := range strings.Split(r.URL.Query().Get("match"), ",") {
				if ok, _ := path.Match(g, name); ok {
					if r.Method != http.MethodGet {
						calls = append(calls, r.Method+" "+name)
					}
					hit := 0
					if traffic {
						hit = 5
					}
					out = append(out, map[string]any{"name": name, "counts": map[string]int{"hit_conns": hit, "hit_bytes": hit}})
					break
				}
			}
		}
		if out == nil {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "no link matches"})
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	}))
	t.Cleanup(srv.Close)
	return NewLinks(srv.URL), &calls
}

func TestLinksTarget(t *testing.T) {
	all := []string{"c-1>redis", "c-1>etcd-1", "c-1>etcd-2", "c-2>redis", "c-2>c-1", "w-1>redis"}
	for _, c := range []struct {
		fault Fault
		names Names
		want  []string
	}{
		{LeaderIsolate, Names{Leader: "c-1"}, []string{"c-1>redis", "c-1>etcd-1", "c-1>etcd-2", "c-2>c-1"}},
		{Partition, Names{Between: [2]string{"c-1", "etcd"}}, []string{"c-1>etcd-1", "c-1>etcd-2"}},
		{Delay, Names{Between: [2]string{"redis", "w-1"}, Delay: time.Second}, []string{"w-1>redis"}},
	} {
		l, calls := control(t, true, all...)
		e, err := l.Inject(t.Context(), c.fault, c.names)
		if err != nil || e.Proof == "" || e.At.IsZero() {
			t.Errorf("%s: %+v, %v", c.fault, e, err)
		}
		if err := l.Heal(t.Context(), c.fault, c.names); err != nil {
			t.Error(err)
		}
		var want []string
		for _, method := range []string{"PUT ", "DELETE "} {
			for _, n := range c.want {
				want = append(want, method+n)
			}
		}
		if d := cmp.Diff(want, *calls); d != "" {
			t.Errorf("%s: %s", c.fault, d)
		}
	}
	l, _ := control(t, true, all...)
	if _, err := l.Inject(t.Context(), Partition, Names{Between: [2]string{"c-1", "nobody"}}); err == nil {
		t.Error("a partition of nothing is taken")
	}
}
