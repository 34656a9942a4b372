package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
	"github.com/tradingflow/weather-station/shared/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// request sends one request straight to the handler.
func request(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	var r io.Reader = http.NoBody
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, target, r)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// problemIn checks the shape that every error has and returns it.
func problemIn(t *testing.T, w *httptest.ResponseRecorder) api.Problem {
	t.Helper()
	if ct := w.Header().Get("Content-Type"); ct != api.ProblemType {
		t.Errorf("content type is %q, want %q; body %s", ct, api.ProblemType, w.Body)
	}
	var p api.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("body is not JSON: %v: %s", err, w.Body)
	}
	if p.Status != w.Code || p.Title == "" || p.Code == "" || p.Detail == "" || p.Type != "about:blank" {
		t.Errorf("incomplete problem with status %d: %+v", w.Code, p)
	}
	return p
}

func TestEveryCallReachesItsMethod(t *testing.T) {
	const one = "/api/v1/flows/btc"
	for _, tc := range []struct {
		method, path, body, call string
		status                   int
		contains                 string
	}{
		{"POST", "/api/v1/flows", `{"flow_id":"btc"}`, "Register", 201, `"entry_nodes":["price"]`},
		{"POST", "/api/v1/flows?validate_only=true", `{"flow_id":"btc"}`, "Register", 200, `"validated_only":true`},
		{"GET", "/api/v1/flows", "", "ListFlows", 200, `"flows":[{"flow_id":"btc"`},
		{"GET", one, "", "GetFlow", 200, `"definition":{"flow_id":"btc"`},
		{"DELETE", one, "", "DeleteFlow", 204, ""},
		{"POST", one + "/pause", "", "PauseFlow", 200, `"status":"paused"`},
		{"POST", one + "/resume", "", "ResumeFlow", 200, `"status":"active"`},
		{"GET", one + "/metrics", "", "Metrics", 200, `"avg_execution_time_seconds":1.5`},
		{"POST", one + "/cycles", "", "StartCycle", 201, `"cycle":7`},
		{"GET", one + "/cycles", "", "ListCycles", 200, `"cycles":[{"cycle":7`},
		{"GET", one + "/cycles/7", "", "GetCycle", 200, `"nodes":[{"node_id":"price"`},
		{"POST", one + "/cycles/7/cancel", "", "CancelCycle", 200, `"status":"cancelling"`},
		{"GET", one + "/cycles/7/nodes/price", "", "GetNode", 200, `"outputs":{"default":42.5}`},
		{"GET", "/api/v1/cluster", "", "Cluster", 200, `"epoch":42`},
		{"GET", "/api/v1/workers", "", "Workers", 200, `"workers":[{"worker_id":"w-1"`},
		{"GET", "/api/v1/journal", "", "Journal", 200, `"records":[{"id":"1767225600000-0"`},
		{"GET", "/api/v1/journal?after=1767225600000-0.12,,1767225600001-3", "", "Journal", 200, `"records":[{"id":"1767225600000-0"`},
		{"GET", "/api/v1/verify", "", "Verify", 200, `"clean":true,"records":40`},
		{"POST", "/api/v1/leader/transfer", "", "TransferLeader", 202, `{"from":"c-1","epoch":42}`},
		{"POST", "/api/v1/once", onceBody, "TakeOnceKey", 200, `{"answer":"granted"}`},
		{"POST", "/flows/execute", `{"flow_id":"btc"}`, "Register", 200, `"status":"running"`},
		{"GET", "/flows/btc/status", "", "GetFlow", 200, `"current_cycle_status":"completed"`},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			s := httpapitest.New()
			w := request(httpapitest.Handler(s), tc.method, tc.path, tc.body)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.contains) {
				t.Errorf("got %d %s, want %d with %s", w.Code, w.Body, tc.status, tc.contains)
			}
			if diff := cmp.Diff([]string{tc.call}, s.Calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if tc.status != 204 && w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("content type %q", w.Header().Get("Content-Type"))
			}
		})
	}
}

func TestErrorsOfTheServiceBecomeProblems(t *testing.T) {
	two := []api.Fault{{Code: "cycle", Place: "edges", Message: "a → b → a"}, {Code: "dup", Place: "nodes[1].id", Message: "twice"}}
	for name, tc := range map[string]struct {
		err    error
		status int
		code   string
		detail string
		faults []api.Fault
		retry  string
	}{
		"several faults":      {&httpapi.Invalid{Faults: two}, 400, "invalid_flow", "edges: a → b → a (and 1 more)", two, ""},
		"one fault":           {&httpapi.Invalid{Faults: two[:1]}, 400, "cycle", "edges: a → b → a", two[:1], ""},
		"own code":            {&httpapi.Invalid{Code: "x", Detail: "y", Faults: two}, 400, "x", "y", two, ""},
		"no faults":           {&httpapi.Invalid{}, 400, "invalid_flow", "the document is invalid", nil, ""},
		"not found":           {&httpapi.NotFound{What: "flow x"}, 404, "not_found", "flow x does not exist", nil, ""},
		"conflict":            {&httpapi.Conflict{Code: "paused", Detail: "resume it"}, 409, "paused", "resume it", nil, ""},
		"conflict, no code":   {&httpapi.Conflict{Detail: "no"}, 409, "conflict", "no", nil, ""},
		"wrapped":             {fmt.Errorf("start: %w", &httpapi.Conflict{Code: "paused", Detail: "d"}), 409, "paused", "d", nil, ""},
		"unavailable":         {&httpapi.Unavailable{What: "redis", Cause: errors.New("secret-host refused")}, 503, "unavailable", "redis is unavailable; try again", nil, "1"},
		"unavailable, longer": {&httpapi.Unavailable{What: "etcd", RetryAfter: 2500 * time.Millisecond}, 503, "unavailable", "etcd is unavailable; try again", nil, "3"},
		"anything else":       {errors.New("secret-host: boom"), 500, "internal", "internal error; the coordinator's log has the cause", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := httpapitest.New()
			s.OnGetFlow = func(context.Context, ids.FlowID) (api.FlowStatus, error) { return api.FlowStatus{}, tc.err }
			var log bytes.Buffer
			h, err := httpapi.New(httpapi.Config{Service: s, Health: &httpapitest.Health{}, Log: hclog.New(&hclog.LoggerOptions{Output: &log})})
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"/api/v1/flows/btc", "/flows/btc/status"} {
				w := request(h, "GET", path, "")
				p := problemIn(t, w)
				want := api.Problem{Type: "about:blank", Title: http.StatusText(tc.status), Status: tc.status, Code: tc.code, Detail: tc.detail, Errors: tc.faults}
				if diff := cmp.Diff(want, p); diff != "" {
					t.Errorf("problem (-want +got):\n%s", diff)
				}
				if got := w.Header().Get("Retry-After"); got != tc.retry {
					t.Errorf("Retry-After %q, want %q", got, tc.retry)
				}
				if strings.Contains(w.Body.String(), "secret-host") {
					t.Errorf("the answer shows internals: %s", w.Body)
				}
				old := strings.Contains(w.Body.String(), `"error":`) && strings.Contains(w.Body.String(), `"message":`)
				if isOld := path == "/flows/btc/status"; isOld && !old {
					t.Errorf("no error and message for an old client: %s", w.Body)
				}
			}
			if logged := log.Len() > 0; logged != (tc.status >= 500) {
				t.Errorf("logged = %v for status %d: %s", logged, tc.status, &log)
			}
			if tc.status >= 500 && name != "unavailable, longer" && !strings.Contains(log.String(), "secret-host") {
				t.Errorf("the log lacks the cause: %s", &log)
			}
		})
	}
}

func TestOddRequests(t *testing.T) {
	long := strings.Repeat("x", 129)
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code, place              string
	}{
		{"unknown route", "GET", "/nope", "", nil, 404, "not_found", ""},
		{"unknown under api", "GET", "/api/v1/nope", "", nil, 404, "not_found", ""},
		{"trailing slash", "GET", "/api/v1/flows/", "", nil, 404, "not_found", ""},
		{"wrong method", "PUT", "/api/v1/flows", "{}", nil, 405, "method_not_allowed", ""},
		{"wrong method on one", "POST", "/api/v1/flows/btc", "{}", nil, 405, "method_not_allowed", ""},
		{"wrong method outside", "DELETE", "/readyz", "", nil, 405, "method_not_allowed", ""},
		{"old get of execute", "GET", "/flows/execute", "", nil, 405, "method_not_allowed", ""},
		{"slash in id", "GET", "/api/v1/flows/a%2Fb", "", nil, 400, "bad_id", "path.flow"},
		{"space in id", "GET", "/api/v1/flows/a%20b", "", nil, 400, "bad_id", "path.flow"},
		{"nul in id", "DELETE", "/api/v1/flows/%00", "", nil, 400, "bad_id", "path.flow"},
		{"dots in id", "GET", "/api/v1/flows/%2e%2e", "", nil, 400, "bad_id", "path.flow"},
		{"newline after id", "GET", "/api/v1/flows/a%0a", "", nil, 400, "bad_id", "path.flow"},
		{"long id", "GET", "/api/v1/flows/" + long, "", nil, 400, "bad_id", "path.flow"},
		{"old path, bad id", "GET", "/flows/a%20b/status", "", nil, 400, "bad_id", "path.flow"},
		{"cycle zero", "GET", "/api/v1/flows/btc/cycles/0", "", nil, 400, "bad_id", "path.cycle"},
		{"cycle not a number", "GET", "/api/v1/flows/btc/cycles/x", "", nil, 400, "bad_id", "path.cycle"},
		{"cycle too large", "GET", "/api/v1/flows/btc/cycles/99999999999999999999", "", nil, 400, "bad_id", "path.cycle"},
		{"node id", "GET", "/api/v1/flows/btc/cycles/7/nodes/" + long[:65], "", nil, 400, "bad_id", "path.node"},
		{"limit zero", "GET", "/api/v1/flows/btc/cycles?limit=0", "", nil, 400, "invalid_request", "query.limit"},
		{"limit too large", "GET", "/api/v1/flows/btc/cycles?limit=1001", "", nil, 400, "invalid_request", "query.limit"},
		{"before not a number", "GET", "/api/v1/flows/btc/cycles?before=x", "", nil, 400, "invalid_request", "query.before"},
		{"journal from", "GET", "/api/v1/journal?from=yesterday", "", nil, 400, "invalid_request", "query.from"},
		{"journal after", "GET", "/api/v1/journal?after=-1", "", nil, 400, "invalid_request", "query.after"},
		{"journal after a part of nothing", "GET", "/api/v1/journal?after=1767225600000-0.x", "", nil, 400, "invalid_request", "query.after"},
		{"journal limit", "GET", "/api/v1/journal?limit=1001", "", nil, 400, "invalid_request", "query.limit"},
		{"verify from", "GET", "/api/v1/verify?from=yesterday", "", nil, 400, "invalid_request", "query.from"},
		{"verify from the future", "GET", "/api/v1/verify?from=10m", "", nil, 400, "invalid_request", "query.from"},
		{"verify to", "GET", "/api/v1/verify?to=2026-01-02", "", nil, 400, "invalid_request", "query.to"},
		{"verify backwards", "GET", "/api/v1/verify?from=-1m&to=-2m", "", nil, 400, "invalid_request", "query.to"},
		{"verify flow", "GET", "/api/v1/verify?flow=a%20b", "", nil, 400, "invalid_request", "query.flow"},
		{"transfer here", "POST", "/api/v1/leader/transfer?here=x", "", nil, 400, "invalid_request", "query.here"},
		{"unknown parameter", "GET", "/api/v1/flows/btc/cycles?offset=1", "", nil, 400, "invalid_request", "query.offset"},
		{"switch not a bool", "POST", "/api/v1/flows?validate_only=maybe", "{}", nil, 400, "invalid_request", "query.validate_only"},
		{"flow id in query", "POST", "/api/v1/flows?flow_id=a+b", "{}", nil, 400, "invalid_request", "query.flow_id"},
		{"key with space", "POST", "/api/v1/flows/btc/cycles", "", []string{"Idempotency-Key", "a b"}, 400, "invalid_request", "header.Idempotency-Key"},
		{"key too long", "POST", "/api/v1/flows/btc/cycles", "", []string{"Idempotency-Key", long}, 400, "invalid_request", "header.Idempotency-Key"},
		{"no body", "POST", "/api/v1/flows", "", nil, 400, "invalid_request", ""},
		{"XML", "POST", "/api/v1/flows", "<a/>", []string{"Content-Type", "application/xml"}, 415, "unsupported_media_type", ""},
		{"broken media type", "POST", "/api/v1/flows", "{}", []string{"Content-Type", ";;"}, 415, "unsupported_media_type", ""},
		{"compressed", "POST", "/api/v1/flows", "{}", []string{"Content-Encoding", "gzip"}, 415, "unsupported_media_type", ""},
		{"old call, XML", "POST", "/flows/execute", "<a/>", []string{"Content-Type", "text/xml"}, 415, "unsupported_media_type", ""},
		{"page of another origin", "POST", "/api/v1/flows/btc/pause", "", []string{"Origin", "https://evil.example"}, 403, "cross_origin", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := httpapitest.New()
			w := request(httpapitest.Handler(s), tc.method, tc.path, tc.body, tc.header...)
			p := problemIn(t, w)
			if w.Code != tc.status || p.Code != tc.code {
				t.Errorf("got %d %s (%s), want %d %s", w.Code, p.Code, p.Detail, tc.status, tc.code)
			}
			if tc.place != "" && (len(p.Errors) != 1 || p.Errors[0].Place != tc.place || p.Errors[0].Message == "") {
				t.Errorf("faults %+v, want one at %s", p.Errors, tc.place)
			}
			if calls := s.Calls(); len(calls) > 0 {
				t.Errorf("the service was called: %v", calls)
			}
			if tc.status == 405 && w.Header().Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			if strings.HasPrefix(tc.path, "/flows/") && !strings.Contains(w.Body.String(), `"message":`) {
				t.Errorf("no message for an old client: %s", w.Body)
			}
		})
	}
}

func TestAllFaultsOfARequestAreListed(t *testing.T) {
	w := request(httpapitest.Handler(httpapitest.New()), "GET", "/api/v1/flows/a%20b/cycles?limit=0&before=x", "")
	p := problemIn(t, w)
	var places []string
	for _, f := range p.Errors {
		places = append(places, f.Place)
	}
	slices.Sort(places)
	if diff := cmp.Diff([]string{"path.flow", "query.before", "query.limit"}, places); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}

func TestDocumentsArriveAsSent(t *testing.T) {
	for _, tc := range []struct{ sent, want string }{
		{"", ""}, {"application/json", "application/json"}, {"application/json; charset=utf-8", "application/json"},
		{"application/vnd.flow+json", "application/json"}, {"application/yaml", "application/yaml"},
		{"text/yaml", "application/yaml"}, {"application/x-yaml", "application/yaml"}, {"text/plain; charset=utf-8", ""},
		{"application/x-www-form-urlencoded", ""}, {"application/octet-stream", ""},
	} {
		t.Run(tc.sent, func(t *testing.T) {
			s := httpapitest.New()
			var got httpapi.RegisterOptions
			var body []byte
			s.OnRegister = func(_ context.Context, b []byte, o httpapi.RegisterOptions) (api.Registered, error) {
				got, body = o, b
				return api.Registered{FlowID: "btc", Revision: 2, Changed: true}, nil
			}
			h := httpapitest.Handler(s)
			header := []string{"Content-Type", tc.sent}
			if tc.sent == "" {
				header = nil
			}
			const document = "not: {json\xff\x00}\n"
			w := request(h, "POST", "/api/v1/flows?flow_id=f-1&interval=5m&allow_unknown_types=true&validate_only=1", document, header...)
			if w.Code != 200 {
				t.Fatalf("got %d %s", w.Code, w.Body)
			}
			want := httpapi.RegisterOptions{FlowID: "f-1", Interval: "5m", AllowUnknownTypes: true, ValidateOnly: true, ContentType: tc.want}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
			if string(body) != document {
				t.Errorf("body arrived as %q", body)
			}
			if !strings.Contains(w.Body.String(), `"components":[]`) {
				t.Errorf("a missing list is not []: %s", w.Body)
			}
		})
	}
}

func TestBodyIsKeptAfterTheCall(t *testing.T) {
	s := httpapitest.New()
	var kept [][]byte
	s.OnRegister = func(_ context.Context, b []byte, _ httpapi.RegisterOptions) (api.Registered, error) {
		kept = append(kept, b)
		return api.Registered{FlowID: "btc"}, nil
	}
	h := httpapitest.Handler(s)
	for i := range 20 {
		request(h, "POST", "/api/v1/flows", fmt.Sprintf("document %02d", i))
	}
	for i, b := range kept {
		if want := fmt.Sprintf("document %02d", i); string(b) != want {
			t.Errorf("document %d became %q", i, b)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	s := httpapitest.New()
	h := httpapitest.Handler(s)
	if w := request(h, "POST", "/api/v1/flows", strings.Repeat("a", httpapi.MaxBodyBytes)); w.Code != 201 {
		t.Errorf("a body of exactly the limit: %d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/api/v1/flows", "/flows/execute"} {
		w := request(h, "POST", path, strings.Repeat("a", httpapi.MaxBodyBytes+1))
		if p := problemIn(t, w); w.Code != 413 || p.Code != api.CodeTooLarge || !strings.Contains(p.Detail, "8 MiB") {
			t.Errorf("one byte more on %s: %d %+v", path, w.Code, p)
		}
	}
	if n := len(s.Calls()); n != 1 {
		t.Errorf("the service was called %d times, want once", n)
	}
}

func TestRegisterStatusAndLocation(t *testing.T) {
	for name, tc := range map[string]struct {
		answer   api.Registered
		query    string
		status   int
		location string
	}{
		"new":       {api.Registered{FlowID: "f", Created: true, Changed: true, Revision: 1}, "", 201, "/api/v1/flows/f"},
		"changed":   {api.Registered{FlowID: "f", Changed: true, Revision: 2}, "", 200, ""},
		"equal":     {api.Registered{FlowID: "f", Revision: 2}, "", 200, ""},
		"validated": {api.Registered{FlowID: "f", Created: true}, "?validate_only=true", 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := httpapitest.New()
			s.OnRegister = func(context.Context, []byte, httpapi.RegisterOptions) (api.Registered, error) { return tc.answer, nil }
			w := request(httpapitest.Handler(s), "POST", "/api/v1/flows"+tc.query, "{}")
			if w.Code != tc.status || w.Header().Get("Location") != tc.location {
				t.Errorf("got %d at %q, want %d at %q", w.Code, w.Header().Get("Location"), tc.status, tc.location)
			}
		})
	}
}

func TestCyclesArePaged(t *testing.T) {
	s := httpapitest.New()
	var limit int
	var before int64
	s.OnListCycles = func(_ context.Context, _ ids.FlowID, l int, b int64) ([]api.CycleSummary, error) {
		limit, before = l, b
		var out []api.CycleSummary
		for n := b - 1; n > 0 && len(out) < l; n-- {
			out = append(out, api.CycleSummary{Cycle: n})
		}
		return out, nil
	}
	h := httpapitest.Handler(s)
	for _, tc := range []struct {
		query       string
		limit       int
		before      int64
		next, count int64
	}{
		{"", 50, 0, 0, 0}, {"?limit=2&before=5", 2, 5, 3, 2}, {"?limit=2&before=3", 2, 3, 0, 2}, {"?limit=1000&before=3", 1000, 3, 0, 2},
	} {
		w := request(h, "GET", "/api/v1/flows/btc/cycles"+tc.query, "")
		var list api.CycleList
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		if limit != tc.limit || before != tc.before || list.NextBefore != tc.next || int64(len(list.Cycles)) != tc.count || list.Cycles == nil {
			t.Errorf("%q: limit %d before %d, got %+v", tc.query, limit, before, list)
		}
	}
}

func TestStartPassesTheKey(t *testing.T) {
	s := httpapitest.New()
	var keys []string
	s.OnStartCycle = func(_ context.Context, _ ids.FlowID, key string) (api.CycleSummary, error) {
		keys = append(keys, key)
		return api.CycleSummary{FlowID: "btc", Cycle: 9}, nil
	}
	h := httpapitest.Handler(s)
	request(h, "POST", "/api/v1/flows/btc/cycles", "")
	w := request(h, "POST", "/api/v1/flows/btc/cycles", "", "Idempotency-Key", "k-1")
	if diff := cmp.Diff([]string{"", "k-1"}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if got := w.Header().Get("Location"); got != "/api/v1/flows/btc/cycles/9" {
		t.Errorf("Location %q", got)
	}
}

func TestExecuteStartsTheFlow(t *testing.T) {
	for name, tc := range map[string]struct {
		answer api.Registered
		calls  []string
		body   string
	}{
		"active":    {api.Registered{FlowID: "btc", Status: api.FlowActive, ScheduleType: api.Periodic}, []string{"Register"}, `"revision":0}`},
		"paused":    {api.Registered{FlowID: "btc", Status: api.FlowPaused, ScheduleType: api.Periodic}, []string{"Register", "ResumeFlow"}, `"status":"running"`},
		"run once":  {api.Registered{FlowID: "btc", Status: api.FlowActive, ScheduleType: api.Manual}, []string{"Register", "StartCycle"}, `"cycle":7`},
		"not there": {api.Registered{FlowID: "gone", Status: api.FlowPaused}, []string{"Register", "ResumeFlow"}, `"error":"flow \"gone\" does not exist"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := httpapitest.New()
			s.OnRegister = func(context.Context, []byte, httpapi.RegisterOptions) (api.Registered, error) { return tc.answer, nil }
			w := request(httpapitest.Handler(s), "POST", "/flows/execute", "{}")
			if !strings.Contains(w.Body.String(), tc.body) {
				t.Errorf("answer %s lacks %s", w.Body, tc.body)
			}
			if diff := cmp.Diff(tc.calls, s.Calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	s := httpapitest.New()
	s.OnCluster = func(context.Context) (api.Cluster, error) { panic("secret-host") }
	var log bytes.Buffer
	h, err := httpapi.New(httpapi.Config{Service: s, Health: &httpapitest.Health{}, Log: hclog.New(&hclog.LoggerOptions{Output: &log})})
	if err != nil {
		t.Fatal(err)
	}
	w := request(h, "GET", "/api/v1/cluster", "")
	if p := problemIn(t, w); w.Code != 500 || strings.Contains(w.Body.String(), "secret-host") {
		t.Errorf("got %d %+v", w.Code, p)
	}
	if !strings.Contains(log.String(), "secret-host") {
		t.Errorf("the log lacks the cause: %s", &log)
	}
	if w := request(h, "GET", "/api/v1/workers", ""); w.Code != 200 {
		t.Errorf("the next request got %d", w.Code)
	}
}

func TestPanicInsideAnAnswerCutsTheConnection(t *testing.T) {
	s := httpapitest.New()
	s.OnGetFlow = func(context.Context, ids.FlowID) (api.FlowStatus, error) {
		f := httpapitest.Flow()
		f.Definition = json.RawMessage("{broken")
		return f, nil
	}
	srv := httptest.NewServer(httpapitest.Handler(s))
	defer srv.Close()
	defer srv.Client().CloseIdleConnections()
	resp, err := srv.Client().Get(srv.URL + "/api/v1/flows/btc")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err == nil {
		t.Error("the client took a broken answer for a whole one")
	}
}

func TestDeadlineAndDeparture(t *testing.T) {
	s := httpapitest.New()
	s.OnCluster = func(ctx context.Context) (api.Cluster, error) {
		<-ctx.Done()
		return api.Cluster{}, ctx.Err()
	}
	h, err := httpapi.New(httpapi.Config{Service: s, Health: &httpapitest.Health{}, Log: hclog.NewNullLogger(), RequestTimeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	w := request(h, "GET", "/api/v1/cluster", "")
	if p := problemIn(t, w); w.Code != 504 || p.Code != api.CodeTimeout {
		t.Errorf("after the deadline: %d %+v", w.Code, p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/cluster", nil).WithContext(ctx))
	if p := problemIn(t, w); w.Code != 499 || p.Code != "client_closed" {
		t.Errorf("after the client left: %d %+v", w.Code, p)
	}
}

func TestHealth(t *testing.T) {
	health := &httpapitest.Health{Dependencies: []api.Dependency{{Name: "etcd", OK: true}, {Name: "redis", OK: true}}}
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") })
	h, err := httpapi.New(httpapi.Config{Service: httpapitest.New(), Health: health, Log: hclog.NewNullLogger(), Metrics: metrics, Version: "<1>"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/livez": `"live":true`, "/readyz": `{"name":"redis","ok":true}`, "/metrics": "up 1", "/": "Version &lt;1&gt;"} {
		if w := request(h, "GET", path, ""); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	health.Dead = errors.New("the scheduler has not moved for 31s")
	health.Dependencies[1] = api.Dependency{Name: "redis", Detail: "connection refused"}
	w := request(h, "GET", "/livez", "")
	if p := problemIn(t, w); w.Code != 503 || p.Code != "not_live" || !strings.Contains(p.Detail, "scheduler") {
		t.Errorf("dead: %d %+v", w.Code, p)
	}
	w = request(h, "GET", "/readyz", "")
	want := []api.Fault{{Code: "not_ready", Place: "redis", Message: "connection refused"}}
	if p := problemIn(t, w); w.Code != 503 || cmp.Diff(want, p.Errors) != "" {
		t.Errorf("not ready: %d %+v", w.Code, p)
	}
}

func TestRootPageNeedsNoOtherHost(t *testing.T) {
	h := httpapitest.Handler(httpapitest.New())
	page := request(h, "GET", "/", "").Body.String()
	if strings.Contains(page, "://") {
		t.Errorf("the page names another host: %s", page)
	}
	if strings.Contains(page, "/metrics") {
		t.Error("the page links to /metrics, which is not served")
	}
	for _, m := range regexp.MustCompile(`href="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if w := request(h, "GET", m[1], ""); w.Code != 200 {
			t.Errorf("link %s answers %d", m[1], w.Code)
		}
	}
}

func TestRequestsDoNotDisturbEachOther(t *testing.T) {
	h := httpapitest.Handler(httpapitest.New())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for path, status := range map[string]int{"/api/v1/flows": 200, "/api/v1/flows/btc/cycles?limit=0": 400, "/nope": 404, "/openapi.json": 200, "/flows/btc/status": 200} {
				if w := request(h, "GET", path, ""); w.Code != status {
					t.Errorf("%s: %d, want %d", path, w.Code, status)
				}
			}
		})
	}
	wg.Wait()
}

func TestNewWantsItsConfig(t *testing.T) {
	if _, err := httpapi.New(httpapi.Config{}); err == nil {
		t.Error("no error for an empty config")
	}
}
