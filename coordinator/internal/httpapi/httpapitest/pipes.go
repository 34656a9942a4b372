package httpapitest

import (
	"context"
	"net"
	"sync"
)

// Pipes is a listener whose connections are pipes, so that both ends live in a bubble of testing/synctest and the
// deadlines of connections cost no time.
type Pipes struct {
	conns chan net.Conn
	done  chan struct{}
	end   func()
}

// NewPipes returns a listener.
func NewPipes() *Pipes {
	p := &Pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	p.end = sync.OnceFunc(func() { close(p.done) })
	return p
}

// Dial makes a connection to it, whatever the address; it fails once the listener is closed.
func (p *Pipes) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept waits for the next connection.
func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and Dial.
func (p *Pipes) Close() error { p.end(); return nil }

// Addr is no address that can be dialled.
func (p *Pipes) Addr() net.Addr { return &net.TCPAddr{} }
