package httpapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
)

func TestTheRangeOfVerifyArrives(t *testing.T) {
	instant := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for query, want := range map[string]struct {
		flow     string
		from, to func(began, now time.Time) (earliest, latest time.Time)
	}{
		"":                                  {"", nil, nil},
		"?flow=btc&from=-10m":               {"btc", ago(10 * time.Minute), nil},
		"?from=-1h&to=-30m":                 {"", ago(time.Hour), ago(30 * time.Minute)},
		"?to=2026-01-02T03:04:05Z":          {"", nil, exactly(instant)},
		"?from=2026-01-02T04:04:05%2B01:00": {"", exactly(instant), nil},
	} {
		var got httpapi.VerifyRange
		s := httpapitest.New()
		s.OnVerify = func(_ context.Context, r httpapi.VerifyRange) (api.Proof, error) {
			got = r
			return api.Proof{}, nil
		}
		began := time.Now()
		w := request(httpapitest.Handler(s), "GET", "/api/v1/verify"+query, "")
		now := time.Now()
		if w.Code != 200 || !strings.Contains(w.Body.String(), `"violations":[]`) || !strings.Contains(w.Body.String(), `"checked":{}`) {
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
		if string(got.Flow) != want.flow || !within(got.From, want.from, began, now) || !within(got.To, want.to, began, now) {
			t.Errorf("%q: got %+v", query, got)
		}
	}
}

func ago(d time.Duration) func(began, now time.Time) (earliest, latest time.Time) {
	return func(began, now time.Time) (time.Time, time.Time) { return began.Add(-d), now.Add(-d) }
}

func exactly(at time.Time) func(began, now time.Time) (earliest, latest time.Time) {
	return func(_, _ time.Time) (time.Time, time.Time) { return at, at }
}

func within(at time.Time, want func(began, now time.Time) (time.Time, time.Time), began, now time.Time) bool {
	if want == nil {
		return at.IsZero()
	}
	earliest, latest := want(began, now)
	return !at.Before(earliest) && !at.After(latest)
}

func TestTransferHere(t *testing.T) {
	for query, want := range map[string]bool{"": false, "?here=true": true, "?here=false": false} {
		s := httpapitest.New()
		s.OnTransfer = func(_ context.Context, _ int, here bool) (api.Transfer, error) {
			if here != want {
				t.Errorf("%q: here is %v", query, here)
			}
			return api.Transfer{}, &httpapi.Conflict{Code: "no_successor", Detail: "none"}
		}
		if w := request(httpapitest.Handler(s), "POST", "/api/v1/leader/transfer"+query, ""); w.Code != 409 || problemIn(t, w).Code != "no_successor" {
			t.Errorf("%q: got %d %s", query, w.Code, w.Body)
		}
	}
}
