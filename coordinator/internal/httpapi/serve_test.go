package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestServeLetsCallsFinish(t *testing.T) {
	s := httpapitest.New()
	entered, release := make(chan struct{}), make(chan struct{})
	s.OnCluster = func(context.Context) (api.Cluster, error) {
		close(entered)
		<-release
		return api.Cluster{Schema: "1"}, nil
	}
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), time.Minute)
	}()
	type answer struct {
		status int
		err    error
	}
	answered := make(chan answer, 1)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	go func() {
		resp, err := (&http.Client{Transport: tr}).Get("http://" + l.Addr().String() + "/api/v1/cluster")
		if err != nil {
			answered <- answer{err: err}
			return
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		answered <- answer{resp.StatusCode, err}
	}()
	<-entered
	cancel()
	select {
	case err := <-ended:
		t.Fatalf("Serve returned with a call in hand: %v", err)
	case a := <-answered:
		t.Fatalf("the call was cut: %+v", a)
	default:
	}
	close(release)
	if a := <-answered; a.err != nil || a.status != 200 {
		t.Errorf("the call in hand got %+v", a)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeCutsCallsAfterGrace(t *testing.T) {
	s := httpapitest.New()
	entered := make(chan struct{})
	s.OnCluster = func(ctx context.Context) (api.Cluster, error) {
		close(entered)
		<-ctx.Done() // the cut connection ends the call's context
		return api.Cluster{}, ctx.Err()
	}
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), time.Millisecond)
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET /api/v1/cluster HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-entered
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if b, err := io.ReadAll(c); strings.Contains(string(b), " 200 ") {
		t.Errorf("the call was answered: %q, %v", b, err)
	}
}

func TestServeReportsALostListener(t *testing.T) {
	l := listen(t)
	_ = l.Close()
	err := httpapi.Serve(context.Background(), l, httpapitest.Handler(httpapitest.New()), hclog.NewNullLogger(), 0)
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
}

func TestBodyThatEndsEarly(t *testing.T) {
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s := httpapitest.New()
	go func() {
		ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), time.Second)
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "POST /api/v1/flows HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"flow_id\""); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 400 || !strings.Contains(string(b), "ended early") {
		t.Errorf("got %d %s", resp.StatusCode, b)
	}
	if len(s.Calls()) != 0 {
		t.Error("half a document reached the service")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestBodyThatDoesNotArrive(t *testing.T) {
	s := httpapitest.New()
	h, err := httpapi.New(httpapi.Config{Service: s, Health: &httpapitest.Health{}, Log: hclog.NewNullLogger(), BodyTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- httpapi.Serve(ctx, l, h, hclog.NewNullLogger(), time.Second) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "POST /flows/execute HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 408 || resp.Header.Get("Content-Type") != api.ProblemType || !strings.Contains(string(b), `"code":"timeout"`) {
		t.Errorf("got %d %s", resp.StatusCode, b)
	}
	if len(s.Calls()) != 0 {
		t.Error("half a document reached the service")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
