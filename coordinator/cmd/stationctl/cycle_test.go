package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
	"github.com/tradingflow/weather-station/shared/ids"
)

// film is a cycle that moves on with each look at it.
func film(last string) *httpapitest.Service {
	node := func(id, status string, attempt int) api.Node {
		return api.Node{NodeID: id, Status: status, Attempt: attempt}
	}
	frames := []api.Cycle{
		{Nodes: []api.Node{node("a", "running", 1), node("b", "waiting", 0)}},
		{Nodes: []api.Node{node("a", "running", 1), node("b", "waiting", 0)}},
		{Nodes: []api.Node{node("a", "succeeded", 1), node("b", "running", 1)}},
		{Nodes: []api.Node{node("a", "succeeded", 1), node("b", "running", 2)}},
		{Nodes: []api.Node{node("a", "succeeded", 1), node("b", last, 2)}},
	}
	s := httpapitest.New()
	var looks atomic.Int32
	s.OnGetCycle = func(context.Context, ids.FlowID, int64) (api.Cycle, error) {
		look := int(looks.Add(1)) - 1
		c := frames[min(look, len(frames)-1)]
		c.CycleSummary = api.CycleSummary{Cycle: 7, FlowID: "btc", Status: api.CycleRunning, TotalNodes: 2}
		if look >= len(frames)-1 {
			c.Status, c.CompletedNodes = api.CycleCompleted, 2
			if last == "failed" {
				c.Status, c.Error = api.CycleFailed, "b: no route"
			}
		}
		return c, nil
	}
	return s
}

func changes(out string) []string {
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
		lines = append(lines, strings.TrimSpace(l))
	}
	return lines
}

func TestWatchPrintsEachChangeOnce(t *testing.T) {
	got := runOn(t, film("succeeded"), nil, "", "cycle", "watch", "btc", "7")
	want := []string{"a  running", "a  succeeded", "b  running", "b  running  attempt 2", "b  succeeded  attempt 2",
		"cycle 7 of btc completed in 0s: 2 of 2 done: 0 succeeded"}
	if diff := cmp.Diff(want, changes(got.out)); diff != "" || got.code != 0 || got.err != "" {
		t.Errorf("code %d, errors %q, changes (-want +got):\n%s", got.code, got.err, diff)
	}
}

func TestWatchTellsHowTheCycleEnded(t *testing.T) {
	for _, args := range [][]string{{"cycle", "watch", "btc", "7"}, {"flow", "run", "btc", "--wait"}} {
		got := runOn(t, film("failed"), nil, "", args...)
		if got.code != exitFailed || !strings.Contains(got.err, "cycle 7 of btc ended: failed: b: no route") {
			t.Errorf("%v: code %d, errors %q", args, got.code, got.err)
		}
	}
	for _, status := range []string{api.CycleCancelled, api.CycleTimeout} {
		s := httpapitest.New()
		s.OnGetCycle = func(context.Context, ids.FlowID, int64) (api.Cycle, error) {
			return api.Cycle{CycleSummary: api.CycleSummary{Status: status}}, nil
		}
		if got := runOn(t, s, nil, "", "cycle", "watch", "btc", "7"); got.code != exitFailed {
			t.Errorf("%s: code %d", status, got.code)
		}
	}
}

func TestWatchAsJSONPrintsTheEndAlone(t *testing.T) {
	got := runOn(t, film("succeeded"), nil, "", "cycle", "watch", "btc", "7", "-o", "json")
	var c api.Cycle
	if err := json.Unmarshal([]byte(got.out), &c); err != nil || c.Status != api.CycleCompleted {
		t.Errorf("got %v, %s", err, got.out)
	}
}

func TestWatchDrawsProgressOnATerminalOnly(t *testing.T) {
	got := runOn(t, film("succeeded"), func(term *terminal) { term.shows = true }, "", "cycle", "watch", "btc", "7")
	if !strings.Contains(got.out, "cycle 7 running [....................] 0/2 nodes\r\x1b[K") {
		t.Errorf("no progress that is removed: %q", got.out)
	}
	if last := got.out[strings.LastIndex(got.out, "\x1b[K"):]; !strings.Contains(last, "completed") {
		t.Errorf("progress stays behind the end: %q", got.out)
	}
}

func TestWatchOutlivesACoordinator(t *testing.T) {
	s := film("succeeded")
	next := s.OnGetCycle
	var looks atomic.Int32
	s.OnGetCycle = func(ctx context.Context, flow ids.FlowID, n int64) (api.Cycle, error) {
		if looks.Add(1)%2 == 0 {
			return api.Cycle{}, &httpapi.Unavailable{What: "redis"}
		}
		return next(ctx, flow, n)
	}
	h := httpapitest.Handler(s)
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1)%3 == 0 {
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()
	term, out, errs := plain("")
	code := run(context.Background(), []string{"-s", srv.URL, "cycle", "watch", "btc", "7"}, term)
	if code != 0 || !strings.Contains(out.String(), "cycle 7 of btc completed") || !strings.Contains(errs.String(), "trying again") {
		t.Errorf("code %d, out %q, errors %q", code, out, errs)
	}
}

func TestWatchGivesUpAfterItsPatience(t *testing.T) {
	s := httpapitest.New()
	s.OnGetCycle = func(context.Context, ids.FlowID, int64) (api.Cycle, error) {
		return api.Cycle{}, &httpapi.Unavailable{What: "redis"}
	}
	got := runOn(t, s, func(term *terminal) { term.patience = 0 }, "", "cycle", "watch", "btc", "7")
	if got.code != exitNoAnswer {
		t.Errorf("code %d, errors %q", got.code, got.err)
	}
}

func TestWatchCanBeStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := film("succeeded")
	s.OnGetCycle = func(context.Context, ids.FlowID, int64) (api.Cycle, error) {
		cancel()
		return api.Cycle{CycleSummary: api.CycleSummary{Status: api.CycleRunning}}, nil
	}
	srv := httptest.NewServer(httpapitest.Handler(s))
	defer srv.Close()
	term, _, errs := plain("")
	code := run(ctx, []string{"-s", srv.URL, "cycle", "watch", "btc", "7"}, term)
	if code != exitFailed || !strings.Contains(errs.String(), "it goes on") {
		t.Errorf("code %d, errors %q", code, errs)
	}
}

func TestCycleListIsPaged(t *testing.T) {
	s := httpapitest.New()
	var limit int
	var before int64
	s.OnListCycles = func(_ context.Context, _ ids.FlowID, l int, b int64) ([]api.CycleSummary, error) {
		limit, before = l, b
		return []api.CycleSummary{{Cycle: 8, Error: "x failed"}}, nil
	}
	got := runOn(t, s, nil, "", "cycle", "list", "btc", "-n", "1", "--before", "9")
	if limit != 1 || before != 9 || got.err != "Older ones: --before 8\n" || !strings.Contains(got.out, "x failed") {
		t.Errorf("limit %d before %d: %+v", limit, before, got)
	}
}
