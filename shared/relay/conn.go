package relay

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

const (
	pieceSize = 16 << 10
	pieces    = 64 // that a connection holds back in each direction; then it reads no more
)

// conn is one client and its connection to the target.
type conn struct {
	relay  *Relay
	client *net.TCPConn
	done   chan struct{} // closed when both ends are

	hitIn int // turn+1 of the faults that touched it; guarded by relay.mu

	mu     sync.Mutex
	server *net.TCPConn
	closed bool
	limit  bool  // left counts
	left   int64 // bytes until it is reset

	speak sync.Mutex // held for one write to the client
}

// piece is what one read gave.
type piece struct {
	data []byte
	err  error // the end of the direction, after data
	at   time.Time
	luck float64 // its part of the jitter
	seen bool    // it is counted among what the faults hit
}

// arm sets the budget of bytes anew at each change of the faults.
func (c *conn) arm(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit = f.ResetAfter != nil; c.limit {
		c.left = *f.ResetAfter
	}
	for _, end := range []*net.TCPConn{c.client, c.server} {
		if end != nil {
			_ = end.SetReadDeadline(time.Unix(1, 0)) // wakes its reader, which looks again
		}
	}
}

// spent reports whether the budget of bytes is used up.
func (c *conn) spent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit && c.left == 0
}

// afford returns how many of n bytes the budget allows.
func (c *conn) afford(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.limit {
		return n
	}
	n = int(min(int64(n), c.left))
	c.left -= int64(n)
	return n
}

// reset breaks both ends at once.
func (c *conn) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	close(c.done)
	for _, end := range []*net.TCPConn{c.client, c.server} {
		if end != nil {
			_ = end.SetLinger(0) // a reset, not a polite end
			_ = end.Close()
		}
	}
}

// finish closes both ends politely.
func (c *conn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	close(c.done)
	_ = c.client.Close()
	_ = c.server.Close()
}

func (c *conn) say(data []byte) {
	c.speak.Lock()
	defer c.speak.Unlock()
	_, _ = c.client.Write(data) // a client that is gone hears nothing
}

// pass waits until the faults let something pass; false when the connection
// ended.
func (c *conn) pass(may func(Faults) bool) bool {
	for {
		f, changed := c.relay.state()
		if may(f) {
			return true
		}
		select {
		case <-changed:
		case <-c.done:
			return false
		}
	}
}

// run passes bytes until both directions have ended.
func (c *conn) run(server *net.TCPConn) {
	c.mu.Lock()
	c.server = server
	if c.closed {
		_ = server.Close()
	}
	c.mu.Unlock()
	var ways sync.WaitGroup
	for _, w := range []struct {
		way      Direction
		src, dst *net.TCPConn
	}{{Up, c.client, server}, {Down, server, c.client}} {
		held := make(chan piece, pieces)
		ways.Go(func() { c.read(w.way, w.src, held) })
		ways.Go(func() { c.write(w.way, w.dst, held) })
	}
	ways.Wait()
	c.finish()
}

// read takes bytes of one direction until it ends.
func (c *conn) read(way Direction, src *net.TCPConn, held chan<- piece) {
	defer close(held)
	buffer := make([]byte, pieceSize)
	for {
		// In this order: a change after the look wakes the read by a deadline.
		_ = src.SetReadDeadline(time.Time{})
		if !c.pass(func(f Faults) bool { return !f.Stall.covers(way) }) {
			return
		}
		n, err := src.Read(buffer)
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
		p := piece{data: append([]byte(nil), buffer[:n]...), err: err, at: time.Now(), luck: rand.Float64()}
		if f, _ := c.relay.state(); f.Hole.covers(way) || f.Delay > 0 || f.Jitter > 0 {
			c.relay.touched(c, n)
			p.seen = true
		}
		if way == Down {
			if c.relay.opts.Edit != nil {
				c.relay.opts.Edit(p.data)
			}
			if err != nil {
				c.relay.broken()
			}
		}
		select {
		case held <- p:
		case <-c.done:
			return
		}
		if err != nil {
			return
		}
	}
}

// write passes on what read took, when the faults let it.
func (c *conn) write(way Direction, dst *net.TCPConn, held <-chan piece) {
	for p := range held {
		if !c.await(way, p) || !c.send(way, dst, p.data) {
			return
		}
		switch {
		case errors.Is(p.err, io.EOF):
			_ = dst.CloseWrite()
		case p.err != nil:
			c.reset()
			return
		}
	}
}

// await waits until a piece may go on; false when the connection ended.
func (c *conn) await(way Direction, p piece) bool {
	for {
		f, changed := c.relay.state()
		wait := time.Until(p.at.Add(time.Duration(f.Delay) + time.Duration(p.luck*float64(f.Jitter))))
		hole := f.Hole.covers(way)
		if !hole && wait <= 0 {
			return true
		}
		if !p.seen {
			c.relay.touched(c, len(p.data))
			p.seen = true
		}
		var due <-chan time.Time
		if !hole {
			due = time.After(wait)
		}
		select {
		case <-due:
		case <-changed:
		case <-c.done:
			return false
		}
	}
}

// send writes data as fast as the rate allows and as far as the budget goes.
func (c *conn) send(way Direction, dst *net.TCPConn, data []byte) bool {
	for len(data) > 0 {
		f, changed := c.relay.state()
		n := len(data)
		if f.Rate > 0 {
			n = min(n, int(max(1, f.Rate/50)))
		}
		if f.Rate > 0 {
			c.relay.touched(c, n)
		}
		if n = c.afford(n); n > 0 && !c.put(way, dst, data[:n]) {
			c.reset()
			return false
		}
		data = data[n:]
		if c.spent() {
			c.relay.touched(c, n)
			c.reset()
			return false
		}
		if f.Rate > 0 {
			select {
			case <-time.After(time.Duration(n) * time.Second / time.Duration(f.Rate)):
			case <-changed:
			case <-c.done:
				return false
			}
		}
	}
	return true
}

func (c *conn) put(way Direction, dst *net.TCPConn, data []byte) bool {
	if way == Down {
		c.speak.Lock()
		defer c.speak.Unlock()
	}
	n, err := dst.Write(data)
	if way == Down {
		c.relay.down.Add(int64(n))
	} else {
		c.relay.up.Add(int64(n))
	}
	return err == nil
}
