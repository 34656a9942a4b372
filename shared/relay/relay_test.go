package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target is a server that echoes, and counts what it takes.
type target struct {
	ln    net.Listener
	work  sync.WaitGroup
	taken chan int // bytes of each read

	mu    sync.Mutex
	conns []net.Conn
}

func newTarget(t *testing.T, addr string) *target {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &target{ln: ln, taken: make(chan int, 100_000)}
	s.work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			s.work.Go(func() {
				defer c.Close() //nolint:errcheck // a test's server
				b := make([]byte, 64<<10)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					s.taken <- n
					if _, err := c.Write(b[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(s.stop)
	return s
}

// stop ends the server as a process ends that is killed.
func (s *target) stop() {
	_ = s.ln.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
}

func start(t *testing.T, to string) *Relay {
	t.Helper()
	r, err := Listen(Options{Target: to})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func pair(t *testing.T) (*Relay, *target) {
	t.Helper()
	s := newTarget(t, "127.0.0.1:0")
	return start(t, s.ln.Addr().String()), s
}

func dial(t *testing.T, r *Relay) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

func set(t *testing.T, r *Relay, f Faults) {
	t.Helper()
	if err := r.Set(f); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// expect reads text within a time that only a broken relay needs.
func expect(t *testing.T, c net.Conn, text string) {
	t.Helper()
	b := make([]byte, len(text))
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Fatalf("read %q, %v; want %q", b, err, text)
	}
}

// silent demands that nothing comes for a moment.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(60 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want silence", n, err)
	}
}

// ended reads until the connection's end and returns how many bytes came.
func ended(t *testing.T, c net.Conn) (int, error) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := io.Copy(io.Discard, c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection does not end")
	}
	return int(n), err
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited until %s", what)
		}
	}
}

func TestPassesBothWays(t *testing.T) {
	r, _ := pair(t)
	c := dial(t, r)
	send(t, c, "hello")
	expect(t, c, "hello")
	until(t, "all of it is counted", func() bool { return r.Counts() == Counts{Open: 1, Accepted: 1, Up: 5, Down: 5} }) // after it was passed
	_ = c.CloseWrite()
	if n, err := ended(t, c); n != 0 || err != nil {
		t.Errorf("%d bytes and %v after the end; want an orderly one", n, err)
	}
	until(t, "the connection is forgotten", func() bool { return r.Counts().Open == 0 })
}

func TestCut(t *testing.T) {
	r, _ := pair(t)
	c := dial(t, r)
	send(t, c, "x")
	expect(t, c, "x")
	set(t, r, Faults{Cut: true})
	if _, err := ended(t, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an open connection ends with %v; want a reset", err)
	}
	if _, err := net.Dial("tcp", r.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v; want a refusal", err)
	}
	if n := r.Counts(); n.HitConns != 1 {
		t.Errorf("hit %d connections; want 1", n.HitConns)
	}
	set(t, r, Faults{})
	c = dial(t, r)
	send(t, c, "y")
	expect(t, c, "y")
}

// What falls into a hole is held in order and goes on when it closes; the other
// direction passes.
func TestHole(t *testing.T) {
	for _, way := range []Direction{Up, Down, Both} {
		t.Run(string(way), func(t *testing.T) {
			r, s := pair(t)
			c := dial(t, r)
			send(t, c, "a")
			expect(t, c, "a")
			<-s.taken
			set(t, r, Faults{Hole: way})
			send(t, c, "b")
			silent(t, c)
			if reached := len(s.taken) > 0; reached != (way == Down) {
				t.Errorf("reached the target: %v", reached)
			}
			send(t, c, "c")
			until(t, "the fault is counted", func() bool { n := r.Counts(); return n.HitConns == 1 && n.HitBytes >= 2 })
			set(t, r, Faults{})
			expect(t, c, "bc")
		})
	}
}

// A connection that is opened in a hole is taken, reaches nobody, and goes on
// when the hole closes.
func TestConnectionIntoAHole(t *testing.T) {
	r, s := pair(t)
	set(t, r, Faults{Hole: Both})
	c := dial(t, r)
	send(t, c, "a")
	silent(t, c)
	s.mu.Lock()
	reached := len(s.conns)
	s.mu.Unlock()
	if n := r.Counts(); reached != 0 || n.HitConns != 1 {
		t.Errorf("%d connections reached the target, counts %+v", reached, n)
	}
	set(t, r, Faults{})
	expect(t, c, "a")
}

// The end of the target's process is not seen through a hole.
func TestHoleHidesTheEnd(t *testing.T) {
	r, s := pair(t)
	c := dial(t, r)
	send(t, c, "a")
	expect(t, c, "a")
	set(t, r, Faults{Hole: Down})
	s.stop()
	until(t, "the relay knows", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.refusing })
	silent(t, c)
	silent(t, dial(t, r))
	set(t, r, Faults{})
	_, _ = ended(t, c)
	until(t, "it refuses", func() bool { _, err := net.Dial("tcp", r.Addr()); return errors.Is(err, syscall.ECONNREFUSED) })
}

// A stall fills the sender's buffers, so that its writes block.
func TestStall(t *testing.T) {
	r, _ := pair(t)
	c := dial(t, r)
	send(t, c, "a")
	expect(t, c, "a")
	set(t, r, Faults{Stall: Up})
	big := make([]byte, 64<<20)
	_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	sent, err := c.Write(big)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("wrote %d bytes, %v; want it to block", sent, err)
	}
	if n := r.Counts(); n.HitConns != 1 {
		t.Errorf("hit %d connections; want 1", n.HitConns)
	}
	set(t, r, Faults{})
	_ = c.CloseWrite()
	if n, err := ended(t, c); n != sent || err != nil {
		t.Errorf("%d of %d bytes came back, %v", n, sent, err)
	}
}

func TestDelay(t *testing.T) {
	r, _ := pair(t)
	c := dial(t, r)
	const delay = 40 * time.Millisecond
	set(t, r, Faults{Delay: Span(delay), Jitter: Span(10 * time.Millisecond)})
	began := time.Now()
	for _, text := range []string{"a", "b", "c"} {
		send(t, c, text)
	}
	expect(t, c, "abc")
	if took := time.Since(began); took < 2*delay {
		t.Errorf("both ways took %v; want at least %v", took, 2*delay)
	}
	if n := r.Counts(); n.HitConns != 1 || n.HitBytes != 6 {
		t.Errorf("counts %+v; want 1 connection and 6 bytes hit", n)
	}
	set(t, r, Faults{Delay: Span(time.Hour)})
	send(t, c, "d")
	silent(t, c)
	set(t, r, Faults{}) // what waits goes on at once
	expect(t, c, "d")
}

func TestRate(t *testing.T) {
	r, _ := pair(t)
	c := dial(t, r)
	set(t, r, Faults{Rate: 10_000})
	began := time.Now()
	send(t, c, string(make([]byte, 2000)))
	expect(t, c, string(make([]byte, 2000)))
	if took := time.Since(began); took < 180*time.Millisecond {
		t.Errorf("2000 bytes at 10000 a second took %v", took)
	}
	if n := r.Counts(); n.HitConns != 1 || n.HitBytes < 4000 {
		t.Errorf("counts %+v", n)
	}
}

// A connection is cut after exactly so many bytes, in the middle of what was said.
func TestResetAfter(t *testing.T) {
	r, s := pair(t)
	c := dial(t, r)
	send(t, c, "a")
	expect(t, c, "a")
	<-s.taken
	after := int64(7)
	set(t, r, Faults{ResetAfter: &after})
	send(t, c, "0123456789")
	if _, err := ended(t, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ends with %v; want a reset", err)
	}
	s.stop()
	close(s.taken)
	got := 0
	for n := range s.taken {
		got += n
	}
	if n := r.Counts(); got > 7 || n.HitConns != 1 || n.Up != 1+7 {
		t.Errorf("%d bytes reached the target, counts %+v; want 7 passed", got, n)
	}
}

// With a budget of 0 a connection is reset as soon as it is taken.
func TestResetAtOnce(t *testing.T) {
	r, _ := pair(t)
	var none int64
	set(t, r, Faults{ResetAfter: &none})
	c, err := net.Dial("tcp", r.Addr())
	if err == nil { // the reset came after the handshake was told
		_, err = ended(t, c)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ends with %v; want a reset", err)
	}
	if n := r.Counts(); n.HitConns != 1 {
		t.Errorf("hit %d connections; want 1", n.HitConns)
	}
}

// A target that is gone refuses, and so does its relay; when the target is back,
// both take connections again.
func TestRefusesAsTheTargetDoes(t *testing.T) {
	r, s := pair(t)
	c := dial(t, r)
	send(t, c, "a")
	expect(t, c, "a")
	s.stop()
	_, _ = ended(t, c)
	if _, err := net.Dial("tcp", r.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v; want a refusal as soon as the connection broke", err)
	}
	newTarget(t, s.ln.Addr().String())
	until(t, "it takes connections again", func() bool {
		c, err := net.Dial("tcp", r.Addr())
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

func TestResetOnceAndSay(t *testing.T) {
	r, _ := pair(t)
	c := dial(t, r)
	send(t, c, "a")
	expect(t, c, "a")
	r.Say([]byte("noise"))
	expect(t, c, "noise")
	r.Reset()
	if _, err := ended(t, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ends with %v; want a reset", err)
	}
	c = dial(t, r)
	send(t, c, "b")
	expect(t, c, "b")
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	r, _ := pair(t)
	less := int64(-1)
	for _, f := range []Faults{{Hole: "left"}, {Stall: "x"}, {Delay: -1}, {Jitter: -1}, {Rate: -1}, {ResetAfter: &less}} {
		if err := r.Set(f); err == nil {
			t.Errorf("%+v is taken", f)
		}
	}
	if !r.Faults().None() {
		t.Errorf("a refused fault is set: %+v", r.Faults())
	}
}
