package process

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestListenLocal(t *testing.T) {
	for address, want := range map[string]string{
		"":               "give HOST:PORT",
		"7009":           "give HOST:PORT",
		"0.0.0.0:0":      "whoever reaches it can read parts of the process's memory",
		":0":             "give a loopback address",
		"192.0.2.1:0":    "give a loopback address",
		"example.org:0":  "give a loopback address",
		"127.0.0.1:none": "pprof: listen",
		"[::]:0":         "give a loopback address",
	} {
		ln, err := ListenProfiles(t.Context(), address)
		if err == nil {
			_ = ln.Close()
			t.Errorf("%q is taken", address)
		} else if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "pprof: ") {
			t.Errorf("%q: %v; want %q", address, err, want)
		}
	}
}

func TestProfiles(t *testing.T) {
	ln, err := ListenProfiles(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, ln, Profiles(func(mux *http.ServeMux) {
			mux.HandleFunc("POST /debug/more", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "more") })
		}))
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, tt := range []struct {
		name, method, path, host, origin string
		status                           int
		says                             string
	}{
		{"index", http.MethodGet, "/debug/pprof/", "", "", http.StatusOK, "goroutine"},
		{"heap", http.MethodGet, "/debug/pprof/heap?debug=1", "", "", http.StatusOK, "heap profile"},
		{"trace", http.MethodGet, "/debug/pprof/trace?seconds=0.01", "", "", http.StatusOK, "go 1."},
		{"by name", http.MethodGet, "/debug/pprof/", "localhost:1", "", http.StatusOK, "goroutine"},
		{"command line", http.MethodGet, "/debug/pprof/cmdline", "", "", http.StatusNotFound, "not found"},
		{"more", http.MethodPost, "/debug/more", "", "", http.StatusOK, "more"},
		{"a page's", http.MethodPost, "/debug/more", "", "http://example.org", http.StatusForbidden, ""},
		{"a name that points here", http.MethodGet, "/debug/pprof/heap", "example.org", "", http.StatusForbidden, "use a loopback address"},
		{"nothing", http.MethodGet, "/", "", "", http.StatusNotFound, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+ln.Addr().String()+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			q.Host = tt.host
			if tt.origin != "" {
				q.Header.Set("Origin", tt.origin)
			}
			resp, err := client.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(body), tt.says) {
				t.Errorf("answers %s %.200q, %v; want %d with %q", resp.Status, body, err, tt.status, tt.says)
			}
		})
	}
	cancel()
	if err := receive(t, ended, "the server ends"); err != nil {
		t.Error(err)
	}
}
