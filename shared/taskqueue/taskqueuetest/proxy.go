package taskqueuetest

import (
	"net"
	"sync"
	"testing"
)

// Proxy is a TCP relay on loopback that breaks on command.
type Proxy struct {
	target   string
	listener net.Listener
	relays   sync.WaitGroup

	mu      sync.Mutex
	refuse  bool
	stalled chan struct{}     // nil, or closed when the stall ends
	conns   map[net.Conn]bool // true: the client's end
}

// NewProxy starts a relay to target (host:port), which ends with t.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("proxy: %v", err)
	}
	p := &Proxy{target: target, listener: listener, conns: map[net.Conn]bool{}}
	p.relays.Go(p.accept)
	t.Cleanup(func() {
		p.Refuse(true)
		p.Stall(false)
		_ = listener.Close()
		p.relays.Wait()
	})
	return p
}

// Addr is the host:port to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut resets every open connection. New ones are taken.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // reset instead of a polite end
		}
		_ = c.Close()
	}
}

// Refuse cuts, and closes new connections at once until it is called with false.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	p.refuse = refuse
	p.mu.Unlock()
	if refuse {
		p.Cut()
	}
}

// Stall holds back all that the server says, until it is called with false.
// What the client says goes through.
func (p *Proxy) Stall(stall bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case stall && p.stalled == nil:
		p.stalled = make(chan struct{})
	case !stall && p.stalled != nil:
		close(p.stalled)
		p.stalled = nil
	}
}

// Inject says data to every client as if the server had, between two pieces of
// what the server says itself.
func (p *Proxy) Inject(data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, client := range p.conns {
		if client {
			_, _ = c.Write(data)
		}
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.keep(client, server) {
			_ = client.Close()
			_ = server.Close()
			continue
		}
		p.relays.Go(func() { p.relay(server, client, func() {}) })
		p.relays.Go(func() { p.relay(client, server, p.awaitFlow) })
	}
}

// keep remembers both ends, unless connections are refused.
func (p *Proxy) keep(client, server net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse {
		return false
	}
	p.conns[client], p.conns[server] = true, false
	return true
}

func (p *Proxy) awaitFlow() {
	p.mu.Lock()
	stalled := p.stalled
	p.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
}

// relay copies from src to dst until one of them closes, then closes both.
func (p *Proxy) relay(dst, src net.Conn, before func()) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := src.Read(buffer)
		before()
		if n > 0 {
			if _, werr := dst.Write(buffer[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			break
		}
	}
	_ = dst.Close()
	_ = src.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, dst)
	delete(p.conns, src)
}
