package process

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, h http.Handler, path string) (int, Report) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	var r Report
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
		t.Fatalf("%s answers %q: %v", path, w.Body.String(), err)
	}
	return w.Code, r
}

func TestLive(t *testing.T) {
	now := time.Unix(1000, 0)
	h := NewHealth(func() time.Time { return now })
	mux := Mux(h, nil)
	if code, r := get(t, mux, "/livez"); code != 200 || !r.OK() || r.Checks == nil {
		t.Errorf("no loops: %d %+v", code, r)
	}
	fast, slow := h.Loop("fast", time.Second), h.Loop("slow", time.Minute)
	now = now.Add(time.Second)
	if code, _ := get(t, mux, "/livez"); code != 200 {
		t.Errorf("at the bound: %d", code)
	}
	now = now.Add(time.Millisecond)
	code, r := get(t, mux, "/livez")
	if code != 503 || r.OK() || len(r.Checks) != 2 || r.Checks[0].OK || !r.Checks[1].OK || !strings.Contains(r.Checks[0].Error, "1.001s") {
		t.Errorf("past the bound: %d %+v", code, r)
	}
	fast.Progress()
	if code, _ := get(t, mux, "/livez"); code != 200 {
		t.Errorf("after progress: %d", code)
	}
	now = now.Add(time.Hour)
	fast.Done()
	slow.Done()
	if code, _ := get(t, mux, "/livez"); code != 200 {
		t.Errorf("loops done: %d", code)
	}
}

func TestReady(t *testing.T) {
	h := NewHealth(nil)
	mux := Mux(h, nil)
	var failure error
	h.Depend("redis", func(context.Context) error { return failure })
	h.Depend("etcd", func(context.Context) error { return nil })
	if code, r := get(t, mux, "/readyz"); code != 200 || len(r.Checks) != 2 || r.Checks[0].Name != "etcd" {
		t.Errorf("all well: %d %+v", code, r)
	}
	failure = errors.New("dial redis://u:hunter2@h: refused")
	code, r := get(t, mux, "/readyz")
	if code != 503 || r.Checks[1].OK || strings.Contains(r.Checks[1].Error, "hunter2") || !strings.Contains(r.Checks[1].Error, "refused") {
		t.Errorf("redis away: %d %+v", code, r)
	}
	failure = nil
	h.Drain("stopping")
	if code, r := get(t, mux, "/readyz"); code != 503 || r.Checks[1].Name != "process" || r.Checks[1].Error != "stopping" {
		t.Errorf("draining: %d %+v", code, r)
	}
	if code, _ := get(t, mux, "/livez"); code != 200 {
		t.Errorf("a draining process is not alive: %d", code)
	}
}

func TestReadyDoesNotHang(t *testing.T) {
	h := NewHealth(nil)
	release := make(chan struct{})
	returned := make(chan struct{})
	h.Depend("stuck", func(context.Context) error { defer close(returned); <-release; return nil })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := h.Ready(ctx)
	if r.OK() || r.Checks[0].Error != "no answer in time" {
		t.Errorf("report is %+v", r)
	}
	close(release)
	receive(t, returned, "the check returns")
}

func TestServe(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	entered, leave := make(chan struct{}), make(chan struct{})
	mux := Mux(NewHealth(nil), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done() // ends with the server's context
		<-leave
		_, _ = io.WriteString(w, "metrics")
	}))
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, mux) }()
	type reply struct {
		body string
		err  error
	}
	replies := make(chan reply, 1)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		resp, err := client.Get("http://" + ln.Addr().String() + "/metrics")
		if err != nil {
			replies <- reply{err: err}
			return
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		replies <- reply{string(b), err}
	}()
	receive(t, entered, "the request arrives")
	cancel()
	close(leave)
	if r := receive(t, replies, "the request in hand is answered"); r.err != nil || r.body != "metrics" {
		t.Errorf("reply %+v", r)
	}
	if err := receive(t, ended, "Serve returns"); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := Serve(context.Background(), ln, mux); err == nil {
		t.Error("Serve on a closed listener returns no error")
	}
}
