package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
	"github.com/tradingflow/weather-station/shared/ids"
)

// echo answers each run with its own key.
func echo(_ context.Context, flow ids.FlowID, key string, _ time.Duration) (api.CycleSummary, error) {
	return api.CycleSummary{FlowID: string(flow), UUID: key, Status: api.CycleCompleted}, nil
}

// Many run over one connection at the same time, and each hears of its own cycle.
func TestRunsAtTheSameTime(t *testing.T) {
	s := httpapitest.New()
	s.OnRunCycle = echo
	srv := httptest.NewUnstartedServer(httpapitest.Handler(s))
	var connections atomic.Int64
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	c, err := client.New(srv.URL, client.Options{Timeout: time.Nanosecond}) // of a call, which the stream is not
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	runs := c.Runs()
	defer runs.Close()
	var g errgroup.Group
	for i := range 500 {
		g.Go(func() error {
			flow, key := fmt.Sprint("f", i), fmt.Sprint("k", i)
			s, err := runs.RunCycle(t.Context(), flow, key, time.Second)
			if err == nil && (s.FlowID != flow || s.UUID != key) {
				err = fmt.Errorf("%s %s: got %+v", flow, key, s)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections were made, want one", n)
	}
}

// A run without a key has one of its own, and one without a wait is answered when it has started.
func TestRunsLikeAClient(t *testing.T) {
	s := httpapitest.New()
	s.OnRunCycle = echo
	s.OnStartCycle = func(ctx context.Context, flow ids.FlowID, key string) (api.CycleSummary, error) {
		return api.CycleSummary{FlowID: string(flow), UUID: key, Status: api.CycleRunning}, nil
	}
	runs := connect(t, httpapitest.Handler(s)).Runs()
	defer runs.Close()
	if s, err := runs.RunCycle(t.Context(), "btc", "", time.Second); err != nil || s.UUID == "" || s.Status != api.CycleCompleted {
		t.Errorf("without a key: %+v, %v", s, err)
	}
	if s, err := runs.RunCycle(t.Context(), "btc", "k", 0); err != nil || s.UUID != "k" || s.Status != api.CycleRunning {
		t.Errorf("without a wait: %+v, %v", s, err)
	}
	var bad *ids.Error
	if _, err := runs.RunCycle(t.Context(), "b/c", "", 0); !errors.As(err, &bad) {
		t.Errorf("an id that can't exist: %v", err)
	}
	var p *client.Problem
	if _, err := runs.RunCycle(t.Context(), "btc", "a b", time.Hour); !errors.As(err, &p) || p.Status != 400 || len(p.Errors) != 2 {
		t.Errorf("a bad key and a bad wait: %v", err)
	}
	if _, err := runs.RunCycle(t.Context(), "btc", string(make([]byte, 5000)), 0); err == nil || !strings.Contains(err.Error(), "want 128 at most") {
		t.Errorf("a line that no coordinator reads: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := runs.RunCycle(ctx, "btc", "", time.Second); err == nil || !errors.Is(err, context.Cause(ctx)) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// What has no answer when the connection breaks is asked again with its key, where it broke or at the next coordinator.
func TestRunsSurviveABreak(t *testing.T) {
	for _, there := range []bool{true, false} {
		s := httpapitest.New()
		var mu sync.Mutex
		asked := map[string]int{}
		var first *httptest.Server
		broken := make(chan struct{})
		s.OnRunCycle = func(ctx context.Context, flow ids.FlowID, key string, wait time.Duration) (api.CycleSummary, error) {
			mu.Lock()
			asked[key]++
			n, all := asked[key], len(asked)
			mu.Unlock()
			if n == 1 {
				if all == 10 {
					close(broken)
				}
				<-ctx.Done()
				return api.CycleSummary{}, ctx.Err()
			}
			return echo(ctx, flow, key, wait)
		}
		h := httpapitest.Handler(s)
		first = httptest.NewServer(h)
		urls := first.URL
		if !there {
			second := httptest.NewServer(h)
			defer second.Close()
			urls += "," + second.URL
		}
		c, err := client.New(urls, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		runs := c.Runs()
		var g errgroup.Group
		for i := range 10 {
			g.Go(func() error {
				s, err := runs.RunCycle(t.Context(), "btc", fmt.Sprint("k", i), time.Minute)
				if err == nil && s.UUID != fmt.Sprint("k", i) {
					err = fmt.Errorf("run %d: got %+v", i, s)
				}
				return err
			})
		}
		<-broken
		if there {
			first.CloseClientConnections()
		} else {
			first.Listener.Close()
			first.CloseClientConnections()
		}
		if err := g.Wait(); err != nil {
			t.Errorf("there is %v: %v", there, err)
		}
		for key, n := range asked {
			if n != 2 {
				t.Errorf("%s was asked %d times, want 2", key, n)
			}
		}
		runs.Close()
		c.Close()
		first.Close()
	}
}

// A coordinator that can't start a run now is left for the next; what is at the first ends there.
func TestRunsLeaveACoordinator(t *testing.T) {
	away, well := httpapitest.New(), httpapitest.New()
	release := make(chan struct{})
	entered := make(chan struct{})
	away.OnRunCycle = func(_ context.Context, flow ids.FlowID, key string, _ time.Duration) (api.CycleSummary, error) {
		if key == "first" {
			close(entered)
			<-release
			return api.CycleSummary{UUID: "of the first"}, nil
		}
		return api.CycleSummary{}, &httpapi.Unavailable{What: "redis"}
	}
	well.OnRunCycle = echo
	a, b := httptest.NewServer(httpapitest.Handler(away)), httptest.NewServer(httpapitest.Handler(well))
	defer a.Close()
	defer b.Close()
	c, err := client.New(a.URL+","+b.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	runs := c.Runs()
	defer runs.Close()
	var g errgroup.Group
	g.Go(func() error {
		s, err := runs.RunCycle(t.Context(), "btc", "first", time.Minute)
		if err == nil && s.UUID != "of the first" {
			err = fmt.Errorf("got %+v", s)
		}
		return err
	})
	<-entered
	if s, err := runs.RunCycle(t.Context(), "btc", "second", time.Minute); err != nil || s.UUID != "second" {
		t.Errorf("got %+v, %v", s, err)
	}
	close(release)
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestRunsFail(t *testing.T) {
	var unreachable *client.Unreachable
	var p *client.Problem
	for name, tc := range map[string]struct {
		h      http.HandlerFunc
		status int // 0: unreachable
	}{
		"another server": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) }, 418},
		"unavailable":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 503},
		"other lines":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello\n")) }, 200},
		"answer of none": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"id":1}` + "\n")) }, 200},
		"an early end":   {func(http.ResponseWriter, *http.Request) {}, 0},
		"a broken answer": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			_ = conn.Close()
		}, 0},
	} {
		runs := connect(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
				t.Error(err)
			}
			tc.h(w, r)
		})).Runs()
		_, err := runs.RunCycle(t.Context(), "btc", "", time.Second)
		if tc.status != 0 && (!errors.As(err, &p) || p.Status != tc.status) || tc.status == 0 && !errors.As(err, &unreachable) {
			t.Errorf("%s: %v", name, err)
		}
		runs.Close()
	}
	c, err := client.New(refusing(t), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	runs := c.Runs()
	if _, err := runs.RunCycle(t.Context(), "btc", "", time.Second); !errors.As(err, &unreachable) {
		t.Errorf("where nothing listens: %v", err)
	}
	runs.Close()
	if _, err := runs.RunCycle(t.Context(), "btc", "", time.Second); err == nil {
		t.Error("runs that are closed go on")
	}
}

// Close ends calls that wait.
func TestCloseRuns(t *testing.T) {
	s := httpapitest.New()
	entered := make(chan struct{})
	s.OnRunCycle = func(ctx context.Context, _ ids.FlowID, _ string, _ time.Duration) (api.CycleSummary, error) {
		close(entered)
		<-ctx.Done()
		return api.CycleSummary{}, ctx.Err()
	}
	runs := connect(t, httpapitest.Handler(s)).Runs()
	ended := make(chan error)
	go func() {
		_, err := runs.RunCycle(t.Context(), "btc", "", time.Minute)
		ended <- err
	}()
	<-entered
	runs.Close()
	if err := <-ended; err == nil {
		t.Error("the call was answered")
	}
}
