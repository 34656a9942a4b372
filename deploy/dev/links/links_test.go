package links

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/shared/relay"
)

// says is a server that tells every client the same text.
func says(t *testing.T, text string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(text))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String()
}

func hear(t *testing.T, addr string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close() //nolint:errcheck // it was read
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(c)
	return string(b), err
}

func open(t *testing.T, all ...Link) *Set {
	t.Helper()
	s, err := Open(all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestFaultsOfThoseThatMatch(t *testing.T) {
	srv := says(t, "hi")
	s := open(t, Link{Name: "a>x", Target: srv}, Link{Name: "a>y", Target: srv}, Link{Name: "b>x", Target: srv})
	control := httptest.NewServer(s.Control())
	defer control.Close()
	c := NewClient(control.URL)
	ctx := t.Context()
	hit, err := c.Fault(ctx, "a>*", relay.Faults{Cut: true})
	if err != nil || len(hit) != 2 || !hit[0].Faults.Cut || hit[0].Name != "a>x" {
		t.Fatalf("cut: %+v, %v", hit, err)
	}
	for name, want := range map[string]bool{"a>x": false, "a>y": false, "b>x": true} {
		text, err := hear(t, s.Addr(name))
		if ok := text == "hi"; ok != want || !ok && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if _, err := c.Clear(ctx, "*>y,b>*"); err != nil {
		t.Fatal(err)
	}
	list, err := c.List(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	cut := map[string]bool{}
	for _, l := range list {
		cut[l.Name] = l.Faults.Cut
	}
	if d := cmp.Diff(map[string]bool{"a>x": true, "a>y": false, "b>x": false}, cut); d != "" {
		t.Error(d)
	}
}

func TestFaultsSurviveTheWire(t *testing.T) {
	s := open(t, Link{Name: "a>x", Target: says(t, "hi")})
	control := httptest.NewServer(s.Control())
	defer control.Close()
	n := int64(12)
	want := relay.Faults{Hole: relay.Up, Stall: relay.Down, Delay: relay.Span(200 * time.Millisecond), Jitter: relay.Span(time.Millisecond), Rate: 5, ResetAfter: &n}
	hit, err := NewClient(control.URL).Fault(t.Context(), "a>x", want)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, hit[0].Faults); d != "" {
		t.Error(d)
	}
}

func TestRefusals(t *testing.T) {
	s := open(t, Link{Name: "a>x", Target: says(t, "hi")})
	control := httptest.NewServer(s.Control())
	defer control.Close()
	c := NewClient(control.URL)
	for name, do := range map[string]func(context.Context) error{
		"nothing matches": func(ctx context.Context) error { _, err := c.Fault(ctx, "b>*", relay.Faults{Cut: true}); return err },
		"no pattern":      func(ctx context.Context) error { _, err := c.List(ctx, "["); return err },
		"no direction":    func(ctx context.Context) error { _, err := c.Fault(ctx, "*", relay.Faults{Hole: "left"}); return err },
		"no name":         func(ctx context.Context) error { return c.Add(ctx, Link{Name: "ax", Target: "127.0.0.1:1"}) },
		"name is taken":   func(ctx context.Context) error { return c.Add(ctx, Link{Name: "a>x", Target: "127.0.0.1:1"}) },
		"no target":       func(ctx context.Context) error { return c.Add(ctx, Link{Name: "a>z", Target: "here"}) },
		"port is taken": func(ctx context.Context) error {
			return c.Add(ctx, Link{Name: "a>z", Listen: s.Addr("a>x"), Target: "127.0.0.1:1"})
		},
	} {
		if err := do(t.Context()); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if list, err := c.List(t.Context(), ""); err != nil || len(list) != 1 || !list[0].Faults.None() {
		t.Errorf("%+v, %v", list, err)
	}
}

// What a server tells a of b's address becomes the address of a's link to b, in
// every form in which servers tell it; other ports stay.
func TestAddressesBecomeLinks(t *testing.T) {
	b := says(t, "b")
	_, port, _ := net.SplitHostPort(b)
	other := "9" + port[1:]
	text := func(p string) string {
		return "http://127.0.0.1:" + p + "/x *2\r\n$9\r\n127.0.0.1\r\n$5\r\n" + p + "\r\n" +
			"+switch-master m 127.0.0.1 " + p + " 127.0.0.1 " + other + "\r\n$4\r\nport\r\n$5\r\n" + p + "\r\n127.0.0.1:" + p + "0 127.0.0.1:123"
	}
	s := open(t, Link{Name: "a>store", Target: says(t, text(port))}, Link{Name: "a>b", Target: b}, Link{Name: "c>b", Target: b})
	got, err := hear(t, s.Addr("a>store"))
	if err != nil {
		t.Fatal(err)
	}
	_, link, _ := net.SplitHostPort(s.Addr("a>b"))
	want := strings.Replace(text(link), link+"0", port+"0", 1)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRead(t *testing.T) {
	got, err := Read(strings.NewReader("# links\n\na>x 127.0.0.1:1 127.0.0.1:2\n"))
	if d := cmp.Diff([]Link{{"a>x", "127.0.0.1:1", "127.0.0.1:2"}}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	_, err = Read(strings.NewReader("one\na>x 1 2\nfour of them here\n"))
	if err == nil || !strings.Contains(err.Error(), "line 1") || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("faults: %v", err)
	}
}
