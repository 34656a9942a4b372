package client_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
	"github.com/tradingflow/weather-station/shared/ids"
)

// A coordinator that is left has no connection any more.
func TestRunsThatCantStartKeepNoConnections(t *testing.T) {
	s := httpapitest.New()
	s.OnRunCycle = func(context.Context, ids.FlowID, string, time.Duration) (api.CycleSummary, error) {
		return api.CycleSummary{}, &httpapi.Unavailable{What: "redis"}
	}
	srv := httptest.NewUnstartedServer(httpapitest.Handler(s))
	var open atomic.Int64
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	srv.Start()
	defer srv.Close()
	c, err := client.New(srv.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	runs := c.Runs()
	defer runs.Close()
	var p *client.Problem
	for range 50 {
		if _, err := runs.RunCycle(t.Context(), "btc", "", time.Second); !errors.As(err, &p) || p.Status != 503 {
			t.Fatal(err)
		}
	}
	if n := open.Load(); n > 5 {
		t.Errorf("after 50 runs, one after the other, %d connections are open", n)
	}
}

// A call with a wait that nobody grants breaks no other.
func TestABadWaitBreaksNoOther(t *testing.T) {
	for _, wait := range []time.Duration{-time.Minute, math.MaxInt64} {
		s := httpapitest.New()
		var starts atomic.Int64
		entered := make(chan struct{}, 10)
		release := make(chan struct{})
		s.OnRunCycle = func(ctx context.Context, flow ids.FlowID, key string, wait time.Duration) (api.CycleSummary, error) {
			starts.Add(1)
			entered <- struct{}{}
			select {
			case <-release:
			case <-ctx.Done():
			}
			return echo(ctx, flow, key, wait)
		}
		runs := connect(t, httpapitest.Handler(s)).Runs()
		var g errgroup.Group
		g.Go(func() error {
			_, err := runs.RunCycle(t.Context(), "btc", "healthy", time.Minute)
			return err
		})
		<-entered
		var p *client.Problem
		if _, err := runs.RunCycle(t.Context(), "eth", "bad", wait); !errors.As(err, &p) || p.Status != 400 {
			t.Errorf("wait %s: %v; want a problem with status 400", wait, err)
		}
		close(release)
		if err := g.Wait(); err != nil {
			t.Errorf("wait %s: the other run: %v", wait, err)
		}
		if n := starts.Load(); n != 1 {
			t.Errorf("wait %s: the other run was asked %d times", wait, n)
		}
		runs.Close()
	}
}

// A call may come while the runs are closed: the race detector looks at it.
func TestCloseRunsWhileAStreamOpens(t *testing.T) {
	c := connect(t, httpapitest.Handler(httpapitest.New()))
	for range 300 {
		runs := c.Runs()
		var g sync.WaitGroup
		begin := make(chan struct{})
		for range 2 {
			g.Go(func() { <-begin; _, _ = runs.RunCycle(t.Context(), "btc", "", time.Second) })
		}
		g.Go(func() { <-begin; runs.Close() })
		close(begin)
		g.Wait()
		runs.Close()
	}
}

// The client stays with a coordinator whose runs are closed.
func TestCloseRunsKeepsTheCoordinator(t *testing.T) {
	one, two := httpapitest.New(), httpapitest.New()
	entered := make(chan struct{})
	one.OnRunCycle = func(ctx context.Context, _ ids.FlowID, _ string, _ time.Duration) (api.CycleSummary, error) {
		close(entered)
		<-ctx.Done()
		return api.CycleSummary{}, ctx.Err()
	}
	a, b := httptest.NewServer(httpapitest.Handler(one)), httptest.NewServer(httpapitest.Handler(two))
	defer a.Close()
	defer b.Close()
	c, err := client.New(a.URL+","+b.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	runs := c.Runs()
	ended := make(chan error)
	go func() {
		_, err := runs.RunCycle(t.Context(), "btc", "", time.Minute)
		ended <- err
	}()
	<-entered
	runs.Close()
	<-ended
	if _, err := c.Cluster(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls := two.Calls(); len(calls) > 0 {
		t.Errorf("the client left the coordinator that answered: the other was asked for %v", calls)
	}
}

// The only coordinator is asked once for what it can't do now, and says when to ask again.
func TestRunsRetryAfter(t *testing.T) {
	s := httpapitest.New()
	var asked atomic.Int64
	s.OnRunCycle = func(context.Context, ids.FlowID, string, time.Duration) (api.CycleSummary, error) {
		asked.Add(1)
		return api.CycleSummary{}, &httpapi.Unavailable{What: "redis", RetryAfter: 7 * time.Second}
	}
	c := connect(t, httpapitest.Handler(s))
	runs := c.Runs()
	defer runs.Close()
	_, want := c.RunCycle(t.Context(), "btc", "", time.Second)
	atOnce := asked.Swap(0)
	_, got := runs.RunCycle(t.Context(), "btc", "", time.Second)
	var w, g *client.Problem
	if !errors.As(want, &w) || !errors.As(got, &g) || w.RetryAfter != g.RetryAfter {
		t.Errorf("of a Client %+v, of Runs %+v", w, g)
	}
	if n := asked.Load(); n != atOnce {
		t.Errorf("the only coordinator was asked %d times by Runs, %d by a Client", n, atOnce)
	}
}

// Runs that wait behind others for their turn are not late.
func TestManyLongRuns(t *testing.T) {
	const all = 2100 // more than twice what a stream may have open
	synctest.Test(t, func(t *testing.T) {
		s := httpapitest.New()
		var asked atomic.Int64
		s.OnRunCycle = func(ctx context.Context, flow ids.FlowID, key string, wait time.Duration) (api.CycleSummary, error) {
			asked.Add(1)
			select {
			case <-ctx.Done():
				return api.CycleSummary{}, ctx.Err()
			case <-time.After(wait): // as of a cycle that lasts longer
			}
			return echo(ctx, flow, key, wait)
		}
		l := httpapitest.NewPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), time.Second) }()
		c, err := client.New("http://x", client.Options{HTTPClient: &http.Client{Transport: &http.Transport{DialContext: l.Dial}}})
		if err != nil {
			t.Fatal(err)
		}
		runs := c.Runs()
		var g errgroup.Group
		for i := range all {
			g.Go(func() error {
				_, err := runs.RunCycle(t.Context(), "btc", fmt.Sprint("k", i), time.Minute)
				return err
			})
		}
		if err := g.Wait(); err != nil || asked.Load() != all {
			t.Errorf("%d runs were asked for %d times: %v", all, asked.Load(), err)
		}
		runs.Close()
		c.Close()
		stop()
		<-ended
	})
}

// A coordinator that stops is left at once.
func TestNewRunsWhileACoordinatorStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := httpapitest.New(), httpapitest.New()
		entered := make(chan struct{})
		one.OnRunCycle = func(ctx context.Context, flow ids.FlowID, key string, wait time.Duration) (api.CycleSummary, error) {
			close(entered)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			return api.CycleSummary{}, ctx.Err()
		}
		two.OnRunCycle = echo
		a, b := httpapitest.NewPipes(), httpapitest.NewPipes()
		ctxA, stopA := context.WithCancel(t.Context())
		ctxB, stopB := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() {
			ended <- httpapi.Serve(ctxA, a, httpapitest.Handler(one), hclog.NewNullLogger(), 5*time.Second)
		}()
		go func() {
			ended <- httpapi.Serve(ctxB, b, httpapitest.Handler(two), hclog.NewNullLogger(), 5*time.Second)
		}()
		tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "a:80" {
				return a.Dial(ctx, network, addr)
			}
			return b.Dial(ctx, network, addr)
		}}
		c, err := client.New("http://a,http://b", client.Options{HTTPClient: &http.Client{Transport: tr}})
		if err != nil {
			t.Fatal(err)
		}
		runs := c.Runs()
		old := make(chan error, 1)
		go func() { _, err := runs.RunCycle(t.Context(), "btc", "old", time.Minute); old <- err }()
		<-entered
		stopA()
		synctest.Wait()
		begin := time.Now()
		if _, err := runs.RunCycle(t.Context(), "btc", "new", time.Second); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("a new run took %s, with a coordinator that answers at once", took)
		}
		runs.Close()
		<-old
		c.Close()
		stopB()
		<-ended
		<-ended
		<-time.After(2 * time.Minute) // the servers' goroutines end
	})
}
