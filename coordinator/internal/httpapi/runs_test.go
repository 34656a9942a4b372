package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
	"github.com/tradingflow/weather-station/shared/ids"
)

// runs is a stream of runs of a client.
type runs struct {
	t     *testing.T
	send  *io.PipeWriter
	lines *bufio.Scanner
	close func()
	stop  context.CancelFunc // asks the server to stop
	ended chan error         // the server has
}

// openRuns serves s and opens a stream.
func openRuns(t *testing.T, s *httpapitest.Service) *runs {
	t.Helper()
	l := listen(t)
	ctx, stop := context.WithCancel(context.Background())
	r := &runs{t: t, stop: stop, ended: make(chan error, 1)}
	go func() { r.ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), time.Minute) }()
	body, send := io.Pipe()
	req, err := http.NewRequest("POST", "http://"+l.Addr().String()+"/api/v1/runs", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", api.LinesType+"; charset=utf-8")
	tr := &http.Transport{}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != api.LinesType {
		t.Fatalf("got %d as %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	r.send, r.lines = send, bufio.NewScanner(resp.Body)
	r.close = sync.OnceFunc(func() { _ = send.CloseWithError(io.ErrUnexpectedEOF); _ = resp.Body.Close(); tr.CloseIdleConnections() })
	t.Cleanup(func() {
		r.close()
		stop()
		if err := <-r.ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return r
}

func (r *runs) say(lines ...string) {
	r.t.Helper()
	if _, err := io.WriteString(r.send, strings.Join(lines, "\n")+"\n"); err != nil {
		r.t.Fatal(err)
	}
}

func (r *runs) hear() api.RunAnswer {
	r.t.Helper()
	var a api.RunAnswer
	if !r.lines.Scan() {
		r.t.Fatalf("the stream has ended: %v", r.lines.Err())
	}
	if err := json.Unmarshal(r.lines.Bytes(), &a); err != nil {
		r.t.Fatal(err)
	}
	return a
}

// silent fails when there is more to hear than the end.
func (r *runs) silent() {
	r.t.Helper()
	if r.lines.Scan() || r.lines.Err() != nil {
		r.t.Errorf("heard %q, %v; want the end", r.lines.Text(), r.lines.Err())
	}
}

// Runs are answered when their cycles end, in whatever order; those that can't be started don't hold up others.
func TestRuns(t *testing.T) {
	s := httpapitest.New()
	slow := make(chan struct{})
	var got []string
	var mu sync.Mutex
	note := func(call string, flow ids.FlowID, key string, wait time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprint(call, " ", flow, " ", key, " ", wait))
	}
	s.OnRunCycle = func(_ context.Context, flow ids.FlowID, key string, wait time.Duration) (api.CycleSummary, error) {
		note("run", flow, key, wait)
		switch key {
		case "slow":
			<-slow
		case "broken":
			panic("at the disco")
		case "away":
			return api.CycleSummary{}, &httpapi.Unavailable{What: "redis", Cause: errors.New("x")}
		}
		return api.CycleSummary{FlowID: string(flow), Cycle: 7, Status: api.CycleCompleted}, nil
	}
	s.OnStartCycle = func(_ context.Context, flow ids.FlowID, key string) (api.CycleSummary, error) {
		note("start", flow, key, 0)
		return api.CycleSummary{FlowID: string(flow), Cycle: 8, Status: api.CycleRunning}, nil
	}
	r := openRuns(t, s)
	r.say(`{"id": 1, "flow_id": "btc", "key": "slow", "wait_seconds": 10}`)
	for _, tc := range []struct {
		line    string
		want    int64
		cycle   int64
		problem string
	}{
		{`{"id": 2, "flow_id": "btc", "key": "fast", "wait_seconds": 0.5, "later": true}`, 2, 7, ""},
		{`{"id": 3, "flow_id": "eth"}`, 3, 8, ""},
		{`{"id": 4, "flow_id": "btc", "key": "broken", "wait_seconds": 1}`, 4, 0, api.CodeInternal},
		{`{"id": 5, "flow_id": "btc", "key": "away", "wait_seconds": 1}`, 5, 0, api.CodeUnavailable},
	} {
		r.say("", tc.line)
		a := r.hear()
		if a.ID != tc.want || (a.Cycle != nil) != (tc.problem == "") || a.Cycle != nil && a.Cycle.Cycle != tc.cycle || a.Problem != nil && a.Problem.Code != tc.problem {
			t.Errorf("%s: answered %+v, %+v", tc.line, a, a.Problem)
		}
	}
	_ = r.send.Close() // says that there are no more
	close(slow)
	if a := r.hear(); a.ID != 1 || a.Cycle == nil || a.Cycle.Cycle != 7 {
		t.Errorf("the first was answered %+v", a)
	}
	r.silent()
	slices.Sort(got)
	want := []string{"run btc away 1s", "run btc broken 1s", "run btc fast 500ms", "run btc slow 10s", "start eth  0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls of the service (-want +got):\n%s", diff)
	}
}

// A bad line reaches no service, hears of all that is wrong with it, and holds up nothing.
func TestBadRuns(t *testing.T) {
	s := httpapitest.New()
	r := openRuns(t, s)
	for n, tc := range []struct {
		line   string
		id     int64
		places []string
	}{
		{`{"id": 1, "flow_id": "b c", "key": "a b", "wait_seconds": 61}`, 1, []string{"line[1].flow_id", "line[1].key", "line[1].wait_seconds"}},
		{`{"id": 2, "flow_id": "btc", "wait_seconds": -1}`, 2, []string{"line[2].wait_seconds"}},
		{`{"id": 3, "flow_id": "btc", "key": "` + strings.Repeat("k", 129) + `"}`, 3, []string{"line[3].key"}},
		{`{"id": 4, "flow_id": 4}`, 4, []string{"line[4]"}},
		{`{"id": 5`, 0, []string{"line[5]"}},
		{`[]`, 0, []string{"line[6]"}},
		{`{"id": 7}`, 7, []string{"line[7].flow_id"}},
	} {
		r.say(tc.line)
		a := r.hear()
		if a.ID != tc.id || a.Cycle != nil || a.Problem == nil || a.Problem.Status != 400 {
			t.Fatalf("line %d: answered %+v", n+1, a)
		}
		var places []string
		for _, f := range a.Problem.Errors {
			places = append(places, f.Place)
		}
		if diff := cmp.Diff(tc.places, places); diff != "" {
			t.Errorf("line %d: faults (-want +got):\n%s", n+1, diff)
		}
	}
	r.say(`{"id": 8, "flow_id": "btc", "wait_seconds": 1}`)
	if a := r.hear(); a.ID != 8 || a.Cycle == nil {
		t.Errorf("a good line after bad ones: %+v", a)
	}
	r.say(`{"id": 9, "flow_id": "` + strings.Repeat("x", 5000) + `"}`)
	if a := r.hear(); a.ID != 0 || a.Problem == nil || !strings.Contains(a.Problem.Detail, "line[9]: longer than 4096 bytes") {
		t.Errorf("a line that is too long: %+v", a)
	}
	if a := r.hear(); !a.Ends {
		t.Errorf("after a line that is too long: %+v", a)
	}
	r.silent()
	if calls := s.Calls(); !slices.Equal(calls, []string{"RunCycle"}) {
		t.Errorf("the service was called: %v", calls)
	}
}

func TestRunsOfAnotherType(t *testing.T) {
	for _, contentType := range []string{"application/json", "", ";;"} {
		w := request(httpapitest.Handler(httpapitest.New()), "POST", "/api/v1/runs", "{}", "Content-Type", contentType)
		if w.Code != 415 || !strings.Contains(w.Body.String(), api.LinesType) {
			t.Errorf("%q: got %d %s", contentType, w.Code, w.Body)
		}
	}
}

// A coordinator that stops reads no more lines, and answers what it has begun.
func TestRunsEndWhenTheServerStops(t *testing.T) {
	s := httpapitest.New()
	entered, release := make(chan struct{}), make(chan struct{})
	s.OnRunCycle = func(context.Context, ids.FlowID, string, time.Duration) (api.CycleSummary, error) {
		close(entered)
		<-release
		return api.CycleSummary{Cycle: 7}, nil
	}
	r := openRuns(t, s)
	r.say(`{"id": 1, "flow_id": "btc", "wait_seconds": 10}`)
	<-entered
	r.stop()
	if a := r.hear(); !a.Ends {
		t.Errorf("a coordinator that stops says %+v", a)
	}
	close(release)
	if a := r.hear(); a.ID != 1 || a.Cycle == nil {
		t.Errorf("answered %+v", a)
	}
	r.silent()
}

// Nobody waits for a client that has gone away.
func TestRunsOfAClientThatIsGone(t *testing.T) {
	s := httpapitest.New()
	entered, left := make(chan struct{}), make(chan error, 1)
	s.OnRunCycle = func(ctx context.Context, _ ids.FlowID, _ string, _ time.Duration) (api.CycleSummary, error) {
		close(entered)
		<-ctx.Done()
		left <- ctx.Err()
		return api.CycleSummary{}, ctx.Err()
	}
	r := openRuns(t, s)
	r.say(`{"id": 1, "flow_id": "btc", "wait_seconds": 10}`)
	<-entered
	r.close()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the run was left with %v", err)
	}
}

// No more lines are read while 1,024 runs have no answer.
func TestRunsAreBounded(t *testing.T) {
	const all, most = 1200, 1024
	s := httpapitest.New()
	var open, peak atomic.Int64
	entered, release := make(chan struct{}, all), make(chan struct{})
	s.OnRunCycle = func(context.Context, ids.FlowID, string, time.Duration) (api.CycleSummary, error) {
		n := open.Add(1)
		defer open.Add(-1)
		for was := peak.Load(); n > was && !peak.CompareAndSwap(was, n); was = peak.Load() {
		}
		entered <- struct{}{}
		<-release
		return api.CycleSummary{Cycle: 7}, nil
	}
	r := openRuns(t, s)
	go func() {
		for i := range all {
			if _, err := fmt.Fprintf(r.send, `{"id": %d, "flow_id": "btc", "wait_seconds": 10}`+"\n", i+1); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range most {
		<-entered
	}
	seen := map[int64]bool{}
	for range all { // one at a time: without a bound the rest would enter meanwhile
		release <- struct{}{}
		seen[r.hear().ID] = true
	}
	if len(seen) != all || peak.Load() > most {
		t.Errorf("%d runs are answered, want %d; %d were open at once, want %d at most", len(seen), all, peak.Load(), most)
	}
}
