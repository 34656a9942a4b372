package presence_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/presence"
)

// dialled connects and reads the name.
func dialled(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "it\n" {
		t.Fatalf("the name is %q, %v", line, err)
	}
	return c
}

// ends waits until the other side has closed a connection.
func ends(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection stands: %v", err)
	}
}

// TestApart: what Serve promises holds for a listener that it takes over.
func TestApart(t *testing.T) {
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := ln.Addr().String()
		beside, err := net.Listen("tcp", "127.0.0.1:0") // another socket of the process, which goes on
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan struct{})
		own := presence.Apart(ln)
		if own.Addr().String() != address {
			t.Errorf("its address is %s, want %s", own.Addr(), address)
		}
		go func() { defer close(served); presence.Serve(ctx, own, "it", hclog.NewNullLogger()) }()
		first, second := dialled(t, address), dialled(t, address)
		if _, err := second.Write([]byte("nobody needs this")); err != nil {
			t.Fatal(err)
		}
		_ = first.Close()
		third := dialled(t, address)
		fourth := dialled(t, address)

		side := make(chan net.Conn, 1)
		go func() { c, _ := beside.Accept(); side <- c }()
		c, err := net.Dial("tcp", beside.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = (<-side).Close()
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		ends(t, c) // nobody holds what was closed
		_, _ = c.Close(), beside.Close()
		if c, err := net.Dial("tcp", beside.Addr().String()); err == nil {
			_ = c.Close()
			t.Error("a listener that was closed still listens")
		}

		stop()
		<-served
		ends(t, second)
		ends(t, third)
		ends(t, fourth)
		if c, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("after the end: %v, %v", c, err)
		}
	}
}

// large is the process that TestALargeProcessIsMissedAtOnce kills.
func large(how string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ballast := make([]byte, 256<<20)
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	if how == "apart" {
		ln = presence.Apart(ln)
	}
	if _, err := os.Stdout.WriteString(ln.Addr().String() + "\n"); err != nil {
		panic(err)
	}
	presence.Serve(context.Background(), ln, "it", hclog.NewNullLogger())
	runtime.KeepAlive(ballast)
}

// TestALargeProcessIsMissedAtOnce kills processes with much memory: what they keep apart
// ends before the memory is given back.
func TestALargeProcessIsMissedAtOnce(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only there descriptors are kept apart")
	}
	took := map[string][]time.Duration{}
	for range 5 {
		for _, how := range []string{"plain", "apart"} {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "PRESENCE_TEST_LARGE="+how)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			address, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			c := dialled(t, address[:len(address)-1])
			at := time.Now()
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			ends(t, c)
			took[how] = append(took[how], time.Since(at))
			_ = cmd.Wait() // it was killed
		}
	}
	t.Logf("from the kill to the end of the connection: plain %v, apart %v", took["plain"], took["apart"])
	plain, apart := slices.Min(took["plain"]), slices.Min(took["apart"])
	if plain < 5*time.Millisecond {
		t.Skip("memory is given back so quickly here that nothing can be told apart")
	}
	if apart > plain/2 {
		t.Errorf("what is kept apart ends after %s, the rest after %s", apart, plain)
	}
}
