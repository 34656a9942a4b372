package builtin

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/worker/node"
)

func server(t *testing.T, f http.HandlerFunc) (*httptest.Server, *httpNode) {
	t.Helper()
	s := httptest.NewServer(f)
	h := newHTTP(true)
	t.Cleanup(func() { h.client.CloseIdleConnections(); s.Close() })
	return s, h
}

func TestHTTPRequest(t *testing.T) {
	s, h := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Two", "a")
		w.Header().Add("X-Two", "b")
		w.WriteHeader(201)
		fmt.Fprintf(w, `{"saw": "%s %s %s", "type": %q, "key": %q, "mine": %q, "price": 1.10}`, r.Method, r.URL.RawQuery, strings.ReplaceAll(string(body), `"`, ""),
			r.Header.Get("Content-Type"), r.Header.Get("Idempotency-Key"), r.Header.Get("X-Mine"))
	})
	got := outputs(t, h, input(`{"url": "`+s.URL+`/a?x=1", "query": {"y": 2, "z": ["p q", true]}, "headers": {"X-Mine": "m"}, "body": {"old": 1}, "timeout": "30s"}`, "body", `{"new":2}`))
	want := `{"saw":"POST x=1\u0026y=2\u0026z=p+q\u0026z=true {new:2}","type":"application/json","key":"11111111-2222-3333-4444-555555555555","mine":"m","price":1.10}`
	if diff := cmp.Diff(want, got["body"]); diff != "" {
		t.Error(diff)
	}
	if got["status"] != "201" || !strings.Contains(got["headers"], `"x-two":"a, b"`) {
		t.Errorf("status %s, headers %s", got["status"], got["headers"])
	}
	got = outputs(t, h, input(`{"url": "`+s.URL+`"}`))
	if !strings.Contains(got["body"], `"key":""`) || !strings.Contains(got["body"], "GET") {
		t.Errorf("a GET gives %s", got["body"])
	}
}

func TestHTTPFailures(t *testing.T) {
	s, h := server(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		if status == 503 {
			w.Header().Set("Retry-After", "7")
		}
		if status == 429 {
			w.Header().Set("Retry-After", time.Date(2024, 1, 1, 0, 0, 30, 0, time.UTC).Format(http.TimeFormat))
		}
		w.WriteHeader(status)
		fmt.Fprint(w, "some text")
	})
	h.now = func() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }
	for status, want := range map[int]struct {
		permanent bool
		after     time.Duration
	}{404: {true, 0}, 400: {true, 0}, 500: {false, 0}, 503: {false, 7 * time.Second}, 429: {false, 30 * time.Second}} {
		_, err := h.Run(t.Context(), input(fmt.Sprintf(`{"url": "%s/%d"}`, s.URL, status)))
		if err == nil || node.IsPermanent(err) != want.permanent || node.AskedRetryAfter(err) != want.after || !strings.Contains(err.Error(), "some text") {
			t.Errorf("%d: %v (permanent %v, retry after %v)", status, err, node.IsPermanent(err), node.AskedRetryAfter(err))
		}
	}
	if got := outputs(t, h, input(`{"url": "`+s.URL+`/404", "fail_status": 500}`)); got["status"] != "404" || got["body"] != `"some text"` {
		t.Errorf("got %v", got)
	}
	if got := outputs(t, h, input(`{"url": "`+s.URL+`/500", "fail_status": 0}`)); got["status"] != "500" {
		t.Errorf("got %v", got)
	}
	refuses(t, h, input(`{"url": "file:///etc/passwd", "max_bytes": 0, "fail_status": -1}`), "file:///etc/passwd", "max_bytes", "fail_status")
	refuses(t, h, input(`{"url": "`+s.URL+`", "query": {"a": {"b": 1}}}`), "scalar")
	refuses(t, h, input(`{"url": "`+s.URL+`", "method": "BAD METHOD"}`), "method")
}

func TestHTTPBoundsWhatACompressedBodyUnfoldsTo(t *testing.T) {
	s, h := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(make([]byte, 8<<20))
		_ = z.Close()
	})
	refuses(t, h, input(`{"url": "`+s.URL+`"}`), "max_bytes")
}

func TestHTTPTimeoutIsRetried(t *testing.T) {
	s, h := server(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, err := h.Run(t.Context(), input(`{"url": "`+s.URL+`", "timeout": "20ms"}`))
	if err == nil || node.IsPermanent(err) {
		t.Errorf("got %v, want an error that a retry may cure", err)
	}
}

func TestHTTPRedirects(t *testing.T) {
	other, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "secret=%s", r.Header.Get("X-Api-Key"))
	})
	s, h := server(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/end", http.StatusFound)
		default:
			fmt.Fprintf(w, "secret=%s", r.Header.Get("X-Api-Key"))
		}
	})
	refuses(t, h, input(`{"url": "`+s.URL+`/loop"}`), "more than 5 redirects")
	for path, want := range map[string]string{"/away": `"secret="`, "/here": `"secret=k"`} {
		if got := outputs(t, h, input(`{"url": "`+s.URL+path+`", "headers": {"X-Api-Key": "k"}}`)); got["body"] != want {
			t.Errorf("%s: body %s, want %s", path, got["body"], want)
		}
	}
}

func TestHTTPRefusesPrivateAddresses(t *testing.T) {
	reached := false
	s, _ := server(t, func(http.ResponseWriter, *http.Request) { reached = true })
	h := newHTTP(false)
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1.2.3"} {
		in := input(`{"url": "http://` + host + port + `/", "timeout": "5s"}`)
		_, err := h.Run(t.Context(), in)
		if be := new(BlockedAddressError); !errors.As(err, &be) || !node.IsPermanent(err) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if reached {
		t.Error("the server was reached")
	}
}

func TestIsPublic(t *testing.T) {
	for a, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.100.100.200": false,
		"0.0.0.0": false, "255.255.255.255": false, "224.0.0.1": false, "198.18.0.1": false, "::": false, "::1": false, "fe80::1": false,
		"fd00:ec2::254": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false, "::7f00:1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false,
		"ff02::1": false, "fec0::1": false, "fe80::1%eth0": false,
	} {
		if got := isPublic(netip.MustParseAddr(a)); got != want {
			t.Errorf("isPublic(%s) = %v", a, got)
		}
	}
}
