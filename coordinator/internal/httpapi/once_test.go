package httpapi_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
)

const onceBody = `{"flow_id":"btc","occasion":"11111111-2222-5333-8444-555555555555","node_id":"order","token":"99999999-2222-4333-8444-555555555555"}`

func TestTakeOnceKey(t *testing.T) {
	for _, tc := range []struct {
		granted bool
		err     error
		status  int
		want    string
	}{
		{true, nil, 200, `"answer":"granted"`},
		{false, nil, 200, `"answer":"taken"`},
		{true, &httpapi.Unavailable{What: "etcd", Cause: errors.New("x")}, 503, `"code":"unavailable"`},
	} {
		var got httpapi.OnceRequest
		s := httpapitest.New()
		s.OnTakeOnceKey = func(_ context.Context, q httpapi.OnceRequest) (bool, error) {
			got = q
			return tc.granted, tc.err
		}
		w := request(httpapitest.Handler(s), "POST", "/api/v1/once", onceBody)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("got %d %s, want %d with %s", w.Code, w.Body, tc.status, tc.want)
		}
		want := httpapi.OnceRequest{Flow: "btc", Node: "order", Occasion: uuid.MustParse("11111111-2222-5333-8444-555555555555"),
			Token: uuid.MustParse("99999999-2222-4333-8444-555555555555")}
		if got != want {
			t.Errorf("the service was asked for %+v", got)
		}
	}
}

// A bad request reaches no service, and hears of all that is wrong with it.
func TestBadOnceRequests(t *testing.T) {
	const nul = "00000000-0000-0000-0000-000000000000"
	for body, want := range map[string][]string{
		``:     {"body"},
		`[]`:   {"object"},
		`{`:    {""},
		`null`: {""},
		`{}`:   {"flow_id", "occasion", "node_id", "token"},
		strings.Replace(onceBody, "btc", "a/b", 1):                                              {"flow_id"},
		strings.Replace(onceBody, "order", "", 1):                                               {"node_id"},
		strings.NewReplacer("btc", strings.Repeat("x", 129), "order", "../x").Replace(onceBody): {"flow_id", "node_id"},
		strings.NewReplacer("11111111-", "", "99999999-", "zz").Replace(onceBody):               {"occasion", "token"},
		strings.Replace(onceBody, "99999999-2222-4333-8444-555555555555", nul, 1):               {"nil UUID"},
	} {
		s := httpapitest.New()
		w := request(httpapitest.Handler(s), "POST", "/api/v1/once", body)
		if w.Code != 400 || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%q: got %d %s", body, w.Code, w.Body)
		}
		for _, name := range want {
			if !strings.Contains(w.Body.String(), name) {
				t.Errorf("%q: the answer does not name %s: %s", body, name, w.Body)
			}
		}
		if len(s.Calls()) > 0 {
			t.Errorf("%q reached the service", body)
		}
	}
	long := strings.Replace(onceBody, "}", strings.Repeat(" ", 5000)+"}", 1)
	if w := request(httpapitest.Handler(httpapitest.New()), "POST", "/api/v1/once", long); w.Code != 413 {
		t.Errorf("a body of %d bytes: %d", len(long), w.Code)
	}
}
