package topology

import (
	"net"
	"sync"
)

// port is a listener that can be cut: its connections end with it, as the kernel
// ends those of a process that died.
type port struct {
	net.Listener

	mu   sync.Mutex
	dead bool
	open map[*wire]struct{}
}

func newPort(ln net.Listener) *port { return &port{Listener: ln, open: map[*wire]struct{}{}} }

// Accept waits for the next connection.
func (p *port) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		_ = c.Close() // it came as the port was cut
		return nil, net.ErrClosed
	}
	w := &wire{Conn: c, port: p}
	p.open[w] = struct{}{}
	return w, nil
}

// cut closes the listener and every connection that it accepted.
func (p *port) cut() {
	_ = p.Close() // a second time when the service has closed it
	p.mu.Lock()
	p.dead = true
	open := p.open
	p.open = map[*wire]struct{}{}
	p.mu.Unlock()
	for w := range open {
		_ = w.Conn.Close() // nothing was promised to the other side
	}
}

// wire is a connection of a port.
type wire struct {
	net.Conn
	port *port
}

// Close closes the connection.
func (w *wire) Close() error {
	w.port.mu.Lock()
	delete(w.port.open, w)
	w.port.mu.Unlock()
	return w.Conn.Close()
}
