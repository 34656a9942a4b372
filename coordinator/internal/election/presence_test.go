package election

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// fakeLeader stands first in the line with a key that only its lease ends, and
// answers at a presence address as a leader would.
func fakeLeader(t *testing.T, prefix string, answer func(net.Conn, string)) (ln net.Listener, e *Elector) {
	t.Helper()
	c := connect(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e, err = New(Config{Client: c, Prefix: prefix, ID: "fake", TTL: 60 * time.Second, Presence: ln})
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.openSession(background(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.revoke(background(t)) })
	cand, err := e.stand(background(t), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, won, err := cand.claim(background(t), ids.Epoch(cand.rev), 0, nil); err != nil || !won {
		t.Fatalf("claim: %v %v", won, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			answer(conn, e.instance)
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln, e
}

// A leader whose process died is replaced at once: its sockets break and its
// address refuses, long before its lease of a minute is over.
func TestRefusedPresenceElectsTheNextAtOnce(t *testing.T) {
	p := prefix(t, connect(t))
	conns := make(chan net.Conn, 10)
	ln, _ := fakeLeader(t, p, func(c net.Conn, name string) {
		_, _ = c.Write([]byte(name + "\n"))
		conns <- c
	})
	b := start(t, connect(t), p, "b")
	b.members(2)
	conn := receive(t, conns, "b holds a connection")
	began := time.Now()
	_ = ln.Close()
	_ = conn.Close()
	b.elected()
	t.Logf("elected %v after the death", time.Since(began))
}

// A broken connection alone is no proof: the address still answers.
func TestBrokenConnectionIsNoProof(t *testing.T) {
	p := prefix(t, connect(t))
	conns := make(chan net.Conn, 10)
	fakeLeader(t, p, func(c net.Conn, name string) {
		_, _ = c.Write([]byte(name + "\n"))
		conns <- c
	})
	b := start(t, connect(t), p, "b")
	for range 3 {
		_ = receive(t, conns, "b holds a connection").Close()
	}
	_ = receive(t, conns, "b holds one again").Close()
	b.notElected()
}

// An address that never answered as that instance proves nothing, even when it
// refuses or somebody else answers there.
func TestAddressThatNeverAnsweredIsNoProof(t *testing.T) {
	p := prefix(t, connect(t))
	dialled := make(chan struct{}, 100)
	fakeLeader(t, p, func(c net.Conn, _ string) {
		_, _ = c.Write([]byte("somebody else\n"))
		_ = c.Close()
		dialled <- struct{}{}
	})
	b := start(t, connect(t), p, "b")
	receive(t, dialled, "b dials")
	receive(t, dialled, "b dials again")
	b.notElected()
}

// Another process at the address of one that was known is proof.
func TestAnotherInstanceAtTheAddressIsProof(t *testing.T) {
	p := prefix(t, connect(t))
	conns := make(chan net.Conn, 10)
	first := true
	fakeLeader(t, p, func(c net.Conn, name string) {
		if !first {
			name = "another"
		}
		first = false
		_, _ = c.Write([]byte(name + "\n"))
		conns <- c
	})
	b := start(t, connect(t), p, "b")
	_ = receive(t, conns, "b holds a connection").Close()
	b.elected()
}

// The presence socket says its instance's name and stays open.
func TestPresenceAnswers(t *testing.T) {
	p := prefix(t, connect(t))
	a := start(t, connect(t), p, "a")
	a.elected()
	conn, err := net.Dial("tcp", a.presence)
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != a.instance {
		t.Errorf("answered %q, %v; want %q", line, err, a.instance)
	}
	_ = conn.Close()
}
