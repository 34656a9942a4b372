package presence_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/internal/presence"
)

func TestMain(m *testing.M) {
	if how := os.Getenv("PRESENCE_TEST_LARGE"); how != "" {
		large(how)
		return
	}
	goleak.VerifyTestMain(m)
}

// meeting is what one dial comes to.
type meeting struct {
	name string
	err  error
}

// TestAttend: a process is gone when it was met, and is then refused or replaced.
func TestAttend(t *testing.T) {
	refused := fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	late := context.DeadlineExceeded
	for name, c := range map[string]struct {
		meetings []meeting
		gone     bool
	}{
		"never met, refused":            {[]meeting{{"", refused}, {"", refused}, {"", refused}}, false},
		"never met, another answers":    {[]meeting{{"other", nil}, {"other", nil}}, false},
		"met, refused":                  {[]meeting{{"it", nil}, {"", refused}}, true},
		"met, another answers":          {[]meeting{{"it", nil}, {"other", nil}}, true},
		"met, broken off, refused":      {[]meeting{{"it", nil}, {"", syscall.ECONNRESET}, {"", refused}}, true},
		"met, then silent":              {[]meeting{{"it", nil}, {"", late}, {"", late}, {"", late}}, false},
		"met, then unreachable":         {[]meeting{{"it", nil}, {"", syscall.EHOSTUNREACH}, {"", late}}, false},
		"met, met again":                {[]meeting{{"it", nil}, {"it", nil}, {"it", nil}}, false},
		"met after a refusal, refused":  {[]meeting{{"", refused}, {"it", nil}, {"", refused}}, true},
		"met, says nothing, is refused": {[]meeting{{"it", nil}, {"", nil}, {"", refused}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				i := 0
				hold := func(ctx context.Context) (string, error) {
					if i == len(c.meetings) {
						cancel() // nothing more comes: it was not proven gone
						return "", ctx.Err()
					}
					i++
					return c.meetings[i-1].name, c.meetings[i-1].err
				}
				if got := presence.Attend(ctx, "it", hold, nil); got != c.gone || i != len(c.meetings) {
					t.Errorf("gone is %v after %d of %d dials", got, i, len(c.meetings))
				}
			})
		})
	}
}

// attend watches with a hold until the process is gone; met is closed when a
// connection stands.
func attend(t *testing.T, hold presence.Hold) <-chan bool {
	gone := make(chan bool, 1)
	go func() { gone <- presence.Attend(t.Context(), "it", hold, nil) }()
	return gone
}

func TestTCP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	met := &meter{Listener: ln, met: make(chan struct{}, 100)}
	ctx, kill := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() { defer close(served); presence.Serve(ctx, met, "it", hclog.NewNullLogger()) }()
	gone := attend(t, presence.TCP(ln.Addr().String(), "it"))
	<-met.met
	kill()
	<-served
	expect(t, gone)
}

// meter tells of accepted connections once their first line went out.
type meter struct {
	net.Listener
	met chan struct{}
}

func (m *meter) Accept() (net.Conn, error) {
	c, err := m.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &told{c, m.met}, nil
}

type told struct {
	net.Conn
	met chan struct{}
}

// Read is called after the name was written.
func (c *told) Read(p []byte) (int, error) {
	c.met <- struct{}{}
	return c.Conn.Read(p)
}

func expect(t *testing.T, gone <-chan bool) {
	t.Helper()
	select {
	case g := <-gone:
		if !g {
			t.Error("not proven gone")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was noticed")
	}
}

func TestHTTP(t *testing.T) {
	met := make(chan struct{}, 10)
	var name atomic.Value
	name.Store("it")
	ctx, end := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintln(w, name.Load())
		w.(http.Flusher).Flush()
		met <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-ctx.Done():
		}
	}))
	gone := attend(t, presence.HTTP(s.URL, "it"))
	<-met
	s.CloseClientConnections() // and it answers still
	<-met
	select {
	case <-gone:
		t.Fatal("a broken connection alone proved it gone")
	default:
	}
	end()
	s.Close()
	expect(t, gone)
	if n, err := presence.HTTP(s.URL, "it")(t.Context()); n != "" || err == nil {
		t.Errorf("nobody there answers %q, %v", n, err)
	}
}

func TestHTTPOfAnOlderWorker(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	if n, err := presence.HTTP(s.URL, "it")(t.Context()); n != "" || err == nil {
		t.Errorf("an error answers %q, %v", n, err)
	}
}
