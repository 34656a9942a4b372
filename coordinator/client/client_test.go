package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/oncekey"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect serves the handler and returns a client of it.
func connect(t *testing.T, h http.Handler, more ...string) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	c, err := client.New(strings.Join(append(more, srv.URL), ","), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); srv.Close() })
	return c
}

// refusing returns a base URL at which nothing listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

// calls is every method of the client, by the service's method it reaches.
func calls(c *client.Client) map[string]func(context.Context) (any, error) {
	return map[string]func(context.Context) (any, error){
		"Register":    func(ctx context.Context) (any, error) { return c.Register(ctx, []byte("{}"), client.RegisterOptions{}) },
		"ListFlows":   func(ctx context.Context) (any, error) { return c.Flows(ctx) },
		"GetFlow":     func(ctx context.Context) (any, error) { return c.Flow(ctx, "btc") },
		"DeleteFlow":  func(ctx context.Context) (any, error) { return nil, c.DeleteFlow(ctx, "btc") },
		"PauseFlow":   func(ctx context.Context) (any, error) { return c.PauseFlow(ctx, "btc") },
		"ResumeFlow":  func(ctx context.Context) (any, error) { return c.ResumeFlow(ctx, "btc") },
		"Metrics":     func(ctx context.Context) (any, error) { return c.Metrics(ctx, "btc") },
		"StartCycle":  func(ctx context.Context) (any, error) { return c.StartCycle(ctx, "btc", "") },
		"RunCycle":    func(ctx context.Context) (any, error) { return c.RunCycle(ctx, "btc", "k", time.Second) },
		"ListCycles":  func(ctx context.Context) (any, error) { return c.Cycles(ctx, "btc", 0, 0) },
		"GetCycle":    func(ctx context.Context) (any, error) { return c.Cycle(ctx, "btc", 7) },
		"CancelCycle": func(ctx context.Context) (any, error) { return c.CancelCycle(ctx, "btc", 7) },
		"GetNode":     func(ctx context.Context) (any, error) { return c.Node(ctx, "btc", 7, "price") },
		"Cluster":     func(ctx context.Context) (any, error) { return c.Cluster(ctx) },
		"Workers":     func(ctx context.Context) (any, error) { return c.Workers(ctx) },
		"Verify":      func(ctx context.Context) (any, error) { return c.Verify(ctx, client.VerifyOptions{}) },
		"TakeOnceKey": func(ctx context.Context) (any, error) {
			u := "11111111-2222-5333-8444-555555555555"
			return c.TakeOnceKey(ctx, oncekey.Request{FlowID: "btc", Occasion: u, NodeID: "price", Token: u})
		},
		"TransferLeader": func(ctx context.Context) (any, error) { return c.TransferLeader(ctx, false) },
	}
}

func TestEveryCallBringsBackWhatTheServiceGave(t *testing.T) {
	s := httpapitest.New()
	ctx := context.Background()
	want := map[string]any{"DeleteFlow": nil}
	want["Register"], _ = s.OnRegister(ctx, nil, httpapi.RegisterOptions{})
	want["ListFlows"], _ = s.OnListFlows(ctx)
	want["GetFlow"], _ = s.OnGetFlow(ctx, "btc")
	want["PauseFlow"], _ = s.OnPauseFlow(ctx, "btc")
	want["ResumeFlow"], _ = s.OnResumeFlow(ctx, "btc")
	want["Metrics"], _ = s.OnMetrics(ctx, "btc")
	want["StartCycle"], _ = s.OnStartCycle(ctx, "btc", "")
	want["RunCycle"], _ = s.OnRunCycle(ctx, "btc", "k", time.Second)
	cycles, _ := s.OnListCycles(ctx, "btc", 50, 0)
	want["ListCycles"] = api.CycleList{Cycles: cycles}
	want["GetCycle"], _ = s.OnGetCycle(ctx, "btc", 7)
	want["CancelCycle"], _ = s.OnCancelCycle(ctx, "btc", 7)
	want["GetNode"], _ = s.OnGetNode(ctx, "btc", 7, "price")
	want["Cluster"], _ = s.OnCluster(ctx)
	want["Workers"], _ = s.OnWorkers(ctx)
	want["Verify"], _ = s.OnVerify(ctx, httpapi.VerifyRange{})
	want["TakeOnceKey"] = oncekey.Reply{Answer: oncekey.Granted}
	want["TransferLeader"], _ = s.OnTransfer(ctx, 0, false)
	for name := range calls(nil) {
		t.Run(name, func(t *testing.T) {
			s := httpapitest.New()
			got, err := calls(connect(t, httpapitest.Handler(s)))[name](ctx)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want[name], got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{name}, s.Calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParametersArrive(t *testing.T) {
	s := httpapitest.New()
	var opts httpapi.RegisterOptions
	var body, key string
	var limit int
	var before int64
	s.OnRegister = func(_ context.Context, b []byte, o httpapi.RegisterOptions) (api.Registered, error) {
		body, opts = string(b), o
		return api.Registered{}, nil
	}
	s.OnStartCycle = func(_ context.Context, _ ids.FlowID, k string) (api.CycleSummary, error) {
		key = k
		return api.CycleSummary{}, nil
	}
	s.OnListCycles = func(_ context.Context, _ ids.FlowID, l int, b int64) ([]api.CycleSummary, error) {
		limit, before = l, b
		return nil, nil
	}
	c := connect(t, httpapitest.Handler(s))
	ctx := context.Background()
	if _, err := c.Register(ctx, []byte("a: b"), client.RegisterOptions{FlowID: "f", Interval: "5 m", AllowUnknownTypes: true,
		ValidateOnly: true, ContentType: "application/yaml"}); err != nil {
		t.Fatal(err)
	}
	want := httpapi.RegisterOptions{FlowID: "f", Interval: "5 m", AllowUnknownTypes: true, ValidateOnly: true, ContentType: "application/yaml"}
	if diff := cmp.Diff(want, opts); diff != "" || body != "a: b" {
		t.Errorf("body %q, options (-want +got):\n%s", body, diff)
	}
	if _, err := c.StartCycle(ctx, "btc", "k"); err != nil || key != "k" {
		t.Errorf("key %q, error %v", key, err)
	}
	if _, err := c.StartCycle(ctx, "btc", ""); err != nil || len(key) != 36 {
		t.Errorf("made-up key %q, error %v", key, err)
	}
	var verified httpapi.VerifyRange
	var here bool
	s.OnVerify = func(_ context.Context, r httpapi.VerifyRange) (api.Proof, error) {
		verified = r
		return api.Proof{}, nil
	}
	s.OnTransfer = func(_ context.Context, _ int, h bool) (api.Transfer, error) {
		here = h
		return api.Transfer{}, nil
	}
	day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	_, err := c.Verify(ctx, client.VerifyOptions{Flow: "btc", From: "2026-01-02T00:00:00Z", To: "2026-01-03T00:00:00Z"})
	if diff := cmp.Diff(httpapi.VerifyRange{Flow: "btc", From: day, To: day.AddDate(0, 0, 1)}, verified); diff != "" || err != nil {
		t.Errorf("range (-want +got):\n%s, error %v", diff, err)
	}
	if _, err := c.TransferLeader(ctx, true); err != nil || !here {
		t.Errorf("here %v, error %v", here, err)
	}
	if _, err := c.Cycles(ctx, "btc", 3, 9); err != nil || limit != 3 || before != 9 {
		t.Errorf("limit %d before %d, error %v", limit, before, err)
	}
}

func TestProblemsKeepAllThatTheServerSaid(t *testing.T) {
	faults := []api.Fault{{Code: "a", Place: "nodes[0]", Message: "m"}, {Code: "b", Message: "n"}}
	s := httpapitest.New()
	s.OnRegister = func(context.Context, []byte, httpapi.RegisterOptions) (api.Registered, error) {
		return api.Registered{}, &httpapi.Invalid{Faults: faults}
	}
	s.OnCluster = func(context.Context) (api.Cluster, error) {
		return api.Cluster{}, &httpapi.Unavailable{What: "etcd", RetryAfter: 3 * time.Second}
	}
	c := connect(t, httpapitest.Handler(s))
	for name, tc := range map[string]struct {
		do   func(context.Context) (any, error)
		want client.Problem
	}{
		"invalid":     {calls(c)["Register"], client.Problem{Status: 400, Code: "invalid_flow", Detail: "nodes[0]: m (and 1 more)", Errors: faults}},
		"not found":   {func(ctx context.Context) (any, error) { return c.Flow(ctx, "x") }, client.Problem{Status: 404, Code: "not_found", Detail: `flow "x" does not exist`}},
		"unavailable": {calls(c)["Cluster"], client.Problem{Status: 503, Code: "unavailable", Detail: "etcd is unavailable; try again", RetryAfter: 3 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.do(context.Background())
			var p *client.Problem
			if !errors.As(err, &p) {
				t.Fatalf("got %T %v", err, err)
			}
			if diff := cmp.Diff(tc.want, *p); diff != "" {
				t.Errorf("problem (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnswersThatAreNotOfTheAPI(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		detail string
	}{
		"a proxy's page":  {502, "<h1>Bad\n Gateway</h1>", "<h1>Bad Gateway</h1>"},
		"an empty error":  {500, "", "Internal Server Error"},
		"a redirect":      {302, "", "Found"},
		"JSON without it": {418, `{"x":1}`, `{"x":1}`},
		"not JSON":        {200, "<html>", "the answer is not what the API gives: invalid character '<' looking for beginning of value"},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			}))
			_, err := c.Cluster(context.Background())
			var p *client.Problem
			if !errors.As(err, &p) || p.Status != tc.status || p.Code != "" || p.Detail != tc.detail {
				t.Errorf("got %T %v", err, err)
			}
		})
	}
}

func TestRefusedConnectionMovesEveryCallOn(t *testing.T) {
	for name := range calls(nil) {
		t.Run(name, func(t *testing.T) {
			s := httpapitest.New()
			c := connect(t, httpapitest.Handler(s), refusing(t), refusing(t))
			for range 2 {
				if _, err := calls(c)[name](context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff([]string{name, name}, s.Calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// breaking answers no call: it cuts the connection after it has read it.
func breaking(seen *atomic.Int32) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		seen.Add(1)
		panic(http.ErrAbortHandler)
	})
}

func TestBrokenConnectionMovesOnOnlyWhatMayBeDoneTwice(t *testing.T) {
	for name := range calls(nil) {
		t.Run(name, func(t *testing.T) {
			var seen atomic.Int32
			bad := httptest.NewServer(breaking(&seen))
			s := httpapitest.New()
			c := connect(t, httpapitest.Handler(s), bad.URL)
			_, err := calls(c)[name](context.Background())
			c.Close()
			bad.Close()
			once := name == "DeleteFlow" || name == "CancelCycle" || name == "TransferLeader"
			var u *client.Unreachable
			if once && (!errors.As(err, &u) || len(s.Calls()) != 0) {
				t.Errorf("done again: error %v, calls %v", err, s.Calls())
			}
			if !once && (err != nil || len(s.Calls()) != 1) {
				t.Errorf("not moved on: error %v, calls %v", err, s.Calls())
			}
			if seen.Load() == 0 {
				t.Error("the first coordinator was not asked")
			}
		})
	}
}

func TestClientStaysWithTheCoordinatorThatAnswered(t *testing.T) {
	var asked atomic.Int32
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	c := connect(t, httpapitest.Handler(httpapitest.New()), down.URL)
	for range 3 {
		if _, err := c.Flows(context.Background()); err != nil {
			t.Error(err)
		}
	}
	c.Close()
	down.Close()
	if n := asked.Load(); n != 1 {
		t.Errorf("the one that can't answer was asked %d times, want once", n)
	}
}

func TestStartKeepsItsKeyWhenItMovesOn(t *testing.T) {
	var keys []string
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	s := httpapitest.New()
	s.OnStartCycle = func(_ context.Context, _ ids.FlowID, key string) (api.CycleSummary, error) {
		keys = append(keys, key)
		return api.CycleSummary{Cycle: 1}, nil
	}
	c := connect(t, httpapitest.Handler(s), down.URL)
	_, err := c.StartCycle(context.Background(), "btc", "")
	c.Close()
	down.Close()
	if err != nil || len(keys) != 2 || keys[0] != keys[1] || keys[0] == "" {
		t.Errorf("keys %q, error %v", keys, err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	a, b := refusing(t), refusing(t)
	c, err := client.New(a+", "+b+"/,", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Flows(context.Background())
	var u *client.Unreachable
	if !errors.As(err, &u) {
		t.Fatalf("got %T %v", err, err)
	}
	if diff := cmp.Diff([]string{a, b}, u.Tried); diff != "" {
		t.Errorf("tried (-want +got):\n%s", diff)
	}
}

func TestTheEndOfTheContextEndsTheCall(t *testing.T) {
	s := httpapitest.New()
	ctx, cancel := context.WithCancel(context.Background())
	s.OnCluster = func(c context.Context) (api.Cluster, error) {
		cancel()
		<-c.Done()
		return api.Cluster{}, c.Err()
	}
	_, err := connect(t, httpapitest.Handler(s), refusing(t)).Cluster(ctx)
	var u *client.Unreachable
	if !errors.Is(err, context.Canceled) || errors.As(err, &u) {
		t.Errorf("got %v, which blames the coordinators", err)
	}
}

func TestBadIDsAreNotSent(t *testing.T) {
	s := httpapitest.New()
	c := connect(t, httpapitest.Handler(s))
	ctx := context.Background()
	for _, id := range []string{"", "..", "a/b", strings.Repeat("x", 129)} {
		_, e1 := c.Flow(ctx, id)
		_, e2 := c.StartCycle(ctx, id, "")
		_, e3 := c.Cycles(ctx, id, 0, 0)
		_, e4 := c.CancelCycle(ctx, id, 1)
		_, e5 := c.Node(ctx, "btc", 1, id)
		e6 := e1
		if id != "" {
			_, e6 = c.Verify(ctx, client.VerifyOptions{Flow: id})
		}
		for i, err := range []error{e1, c.DeleteFlow(ctx, id), e2, e3, e4, e5, e6} {
			var bad *ids.Error
			if !errors.As(err, &bad) {
				t.Errorf("id %q, call %d: got %v", id, i, err)
			}
		}
	}
	if len(s.Calls()) != 0 {
		t.Errorf("calls %v", s.Calls())
	}
}

func TestNewRefusesBadURLs(t *testing.T) {
	for _, s := range []string{"", " , ", "localhost:7002", "ftp://x", "http://", "http://x?a=b", "http://x#f", "http://a b"} {
		if _, err := client.New(s, client.Options{}); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

func TestReady(t *testing.T) {
	if r, err := connect(t, httpapitest.Handler(httpapitest.New())).Ready(context.Background()); err != nil || !r.Ready {
		t.Errorf("got %+v, %v", r, err)
	}
}
