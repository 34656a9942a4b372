package leader_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/tradingflow/weather-station/coordinator/internal/leader"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// refused is an address where nothing listens.
func refused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// TestWorkerGone: only a refused connection or another worker's answer proves
// anything.
func TestWorkerGone(t *testing.T) {
	answer := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	text := func(code int, body string) string {
		return answer(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		})
	}
	elsewhere := "http://" + refused(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	const self = "w1"
	for name, c := range map[string]struct {
		address string
		want    bool
	}{
		"refused":              {refused(t), true},
		"itself":               {text(200, self+"\n"), false},
		"another worker":       {text(200, "w2\n"), true},
		"an empty answer":      {text(200, ""), false},
		"an error":             {text(503, "w2"), false},
		"never announced":      {"", false},
		"not an address":       {"no such:place", false},
		"silent":               {silent.Addr().String(), false},
		"sent on to elsewhere": {answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, http.StatusFound) }), false},
	} {
		if got := leader.WorkerGone(t.Context(), ledger.Worker{ID: self, Host: host, Health: c.address}); got != c.want {
			t.Errorf("%s: gone is %v", name, got)
		}
	}
	if leader.WorkerGone(t.Context(), ledger.Worker{ID: self, Host: host + "-2", Health: refused(t)}) {
		t.Error("a loopback address proved something about another machine's worker")
	}
}
