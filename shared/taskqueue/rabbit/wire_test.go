package rabbit

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// reads one Write of the other side of a pipe.
func reads(t *testing.T, from net.Conn, want string) {
	t.Helper()
	b := make([]byte, 1<<20)
	n, err := from.Read(b)
	if err != nil || string(b[:n]) != want {
		t.Errorf("read %q, %v, want %q", b[:n], err, want)
	}
}

func writes(t *testing.T, to io.Writer, text string) {
	t.Helper()
	if n, err := to.Write([]byte(text)); err != nil || n != len(text) {
		t.Errorf("write: %d, %v", n, err)
	}
}

// TestWire: what comes alone goes alone, and what comes meanwhile goes together.
func TestWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		w := newWire(near)
		for range 3 {
			writes(t, w, "one")
			synctest.Wait() // it is in the socket's call
			writes(t, w, "two")
			writes(t, w, "three")
			reads(t, far, "one")
			reads(t, far, "twothree")
			synctest.Wait()
		}
		writes(t, w, "last")
		synctest.Wait()
		writes(t, w, " words")
		closed := make(chan error)
		go func() { closed <- w.Close() }()
		reads(t, far, "last")
		reads(t, far, " words")
		if err := <-closed; err != nil {
			t.Errorf("close: %v", err)
		}
		if _, err := w.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
	})
}

// TestWireStalls: a peer that does not read stops the writers, and after the time-out
// breaks the connection; it holds up a Close for a moment only.
func TestWireStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		w := newWire(near)
		began := time.Now()
		var err error
		for i := 0; err == nil && i < 1000; i++ {
			_, err = w.Write(make([]byte, 1<<10))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != writeTimeout {
			t.Errorf("writers were stopped for %s, then heard %v", time.Since(began), err)
		}
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the connection is not closed: %v", err)
		}
		_ = w.Close()

		near, _ = net.Pipe()
		w = newWire(near)
		writes(t, w, "one")
		began = time.Now()
		_ = w.Close()
		if took := time.Since(began); took != lastWrite {
			t.Errorf("close took %s", took)
		}
	})
}
