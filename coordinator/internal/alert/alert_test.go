package alert_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/internal/alert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hook is the far end of a webhook; it answers by what the test says.
type hook struct {
	mu     sync.Mutex
	got    []alert.Alert
	answer func(ctx context.Context, try int) (int, error)
	tries  int
}

func (h *hook) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.tries++
	try := h.tries
	h.mu.Unlock()
	if h.answer != nil {
		if code, err := h.answer(r.Context(), try); err != nil || code >= 300 {
			return &http.Response{StatusCode: code, Status: http.StatusText(code), Body: http.NoBody}, err
		}
	}
	var a alert.Alert
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, a)
	return &http.Response{StatusCode: 204, Body: io.NopCloser(strings.NewReader(""))}, nil
}

func (h *hook) nodes() (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.got {
		out = append(out, a.Node)
	}
	return out
}

func run(t *testing.T, h *hook, log io.Writer) (a *alert.Alerter, stop func()) {
	t.Helper()
	a, err := alert.New(alert.Config{Webhook: "https://hooks.example/T0/s3cret", Client: &http.Client{Transport: h},
		Log: hclog.New(&hclog.LoggerOptions{Output: log})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return a, stop
}

func node(n string) alert.Alert { return alert.Alert{Kind: "node_failed", Flow: "f", Node: n} }

func TestAlertsArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{answer: func(_ context.Context, try int) (int, error) {
			if try == 1 {
				return 0, errors.New("reset")
			}
			if try == 2 {
				return 503, nil
			}
			return 204, nil
		}}
		a, _ := run(t, h, io.Discard)
		a.Raise(node("a"))
		a.Raise(node("b"))
		<-time.After(5 * time.Second)
		if d := cmp.Diff([]string{"a", "b"}, h.nodes()); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	})
}

// TestAWebhookThatNeverAnswersHoldsUpNobody, and its address, which lets one in,
// is not logged.
func TestAWebhookThatNeverAnswersHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := &hook{answer: func(ctx context.Context, _ int) (int, error) {
			select {
			case <-time.After(5 * time.Second):
				return 0, errors.New("time-out")
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}}
		a, stop := run(t, h, &log)
		start := time.Now()
		for range 3000 {
			a.Raise(node("a"))
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("raising took %s", d)
		}
		<-time.After(30 * time.Second)
		start = time.Now()
		stop()
		if d := time.Since(start); d > 6*time.Second {
			t.Errorf("the end took %s", d)
		}
		if strings.Contains(log.String(), "s3cret") {
			t.Error("the log tells the webhook's address")
		}
		if !strings.Contains(log.String(), "alert queue is full") {
			t.Error("the log does not tell that alerts were missed")
		}
	})
}

// TestTheEnd: what was queued, and what was on its way, still goes out.
func TestTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{answer: func(ctx context.Context, try int) (int, error) {
			if try > 1 {
				return 204, nil
			}
			select {
			case <-time.After(time.Second):
				return 204, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}}
		a, stop := run(t, h, io.Discard)
		a.Raise(node("a"))
		a.Raise(node("b"))
		synctest.Wait()
		stop()
		if d := cmp.Diff([]string{"a", "b"}, h.nodes()); d != "" || h.tries != 2 {
			t.Errorf("%d tries; -want +got:\n%s", h.tries, d)
		}
	})
}

func TestNew(t *testing.T) {
	for address, good := range map[string]bool{"": true, "http://h/x": true, "https://h": true, "ftp://h": false, "h/x": false, "http://": false, ":": false} {
		a, err := alert.New(alert.Config{Webhook: address, Log: hclog.NewNullLogger()})
		if (err == nil) != good || (a != nil) != good {
			t.Errorf("%q: %v", address, err)
		}
		if u, perr := url.Parse(address); err != nil && perr == nil && u.Host != "" && strings.Contains(err.Error(), address) {
			t.Errorf("%q is in its error", address)
		}
	}
}
