package relay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	probeEvery  = 10 * time.Millisecond // while the target refuses
	rebindFor   = 2 * time.Second       // how long a port that somebody took is tried
)

// Options of a relay.
type Options struct {
	Listen string // host:port; ":0" takes a free one of loopback
	Target string // host:port
	// Edit, if not nil, may change what the target says before it is passed on, in
	// place. A piece may end anywhere.
	Edit func(piece []byte)
}

// Counts are what a relay has seen. Hit counts are of the faults that are set.
type Counts struct {
	Open     int64 `json:"open"`      // connections now
	Accepted int64 `json:"accepted"`  // connections ever
	Up       int64 `json:"up"`        // bytes passed to the target
	Down     int64 `json:"down"`      // bytes passed to clients
	HitConns int64 `json:"hit_conns"` // connections that the faults touched: reset, held or slowed
	HitBytes int64 `json:"hit_bytes"` // bytes that they held or slowed
}

// Relay is one listener and the connections that came to it.
type Relay struct {
	opts Options
	addr string
	ctx  context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup

	accepted, up, down, hitBytes atomic.Int64

	mu       sync.Mutex
	ln       net.Listener // nil while connections are refused
	faults   Faults
	turn     int           // counts changes of faults
	changed  chan struct{} // closed at the next one
	refusing bool          // the target refuses connections
	conns    map[*conn]struct{}
	hitConns int64
}

// Listen starts a relay.
func Listen(opts Options) (*Relay, error) {
	if opts.Listen == "" || opts.Listen[0] == ':' {
		opts.Listen = "127.0.0.1" + max(opts.Listen, ":0")
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Relay{opts: opts, ctx: ctx, end: cancel, changed: make(chan struct{}), conns: map[*conn]struct{}{}}
	if err := r.open(opts.Listen); err != nil {
		cancel()
		return nil, fmt.Errorf("relay to %s: %w", opts.Target, err)
	}
	r.addr = r.ln.Addr().String()
	return r, nil
}

// Addr is the host:port to connect to.
func (r *Relay) Addr() string { return r.addr }

// Target is the host:port that connections go to.
func (r *Relay) Target() string { return r.opts.Target }

// Faults returns what is done now.
func (r *Relay) Faults() Faults {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.faults
}

// Counts returns what the relay has seen.
func (r *Relay) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Counts{Open: int64(len(r.conns)), Accepted: r.accepted.Load(), Up: r.up.Load(), Down: r.down.Load(), HitConns: r.hitConns, HitBytes: r.hitBytes.Load()}
}

// Set replaces the faults, for open connections too, and counts hits from 0. An
// error of a relay that was cut means that somebody took its port; it refuses on.
func (r *Relay) Set(f Faults) error {
	if err := f.Check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults, r.turn, r.hitConns = f, r.turn+1, 0
	r.hitBytes.Store(0)
	close(r.changed)
	r.changed = make(chan struct{})
	for c := range r.conns {
		c.arm(f)
		if f.Stall != "" {
			r.hit(c)
		}
		if f.Cut || c.spent() {
			r.hit(c)
			c.reset()
		}
	}
	return r.gate()
}

// Reset resets every open connection, once; new ones are taken.
func (r *Relay) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.reset()
	}
}

// Say sends data to every client as if the target had, between two pieces of what
// the target says itself.
func (r *Relay) Say(data []byte) {
	r.mu.Lock()
	open := slices.Collect(maps.Keys(r.conns))
	r.mu.Unlock()
	for _, c := range open { // outside the lock: a client may not read
		c.say(data)
	}
}

// Close resets all connections, frees the port and waits until all has ended.
func (r *Relay) Close() {
	r.mu.Lock()
	r.end()
	_ = r.gate() // closes; that can't fail
	for c := range r.conns {
		c.reset()
	}
	r.mu.Unlock()
	r.work.Wait()
}

// gate opens or closes the listener, as faults and target demand. A hole hides
// that the target refuses. The caller holds mu.
func (r *Relay) gate() error {
	open := r.ctx.Err() == nil && !r.faults.Cut && (!r.refusing || r.faults.Hole != "")
	switch {
	case open && r.ln == nil:
		return r.open(r.addr)
	case !open && r.ln != nil:
		_ = r.ln.Close()
		r.ln = nil
	}
	return nil
}

// open listens. The caller holds mu, or is the only one.
func (r *Relay) open(addr string) error {
	var ln net.Listener
	var err error
	for end := time.Now().Add(rebindFor); ; {
		var lc net.ListenConfig
		ln, err = lc.Listen(r.ctx, "tcp", addr)
		if !errors.Is(err, syscall.EADDRINUSE) || r.addr == "" || time.Now().After(end) {
			break
		}
		<-time.After(probeEvery)
	}
	if err != nil {
		return err
	}
	r.ln = ln
	r.work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r.accepted.Add(1)
			r.work.Go(func() { r.serve(c.(*net.TCPConn)) })
		}
	})
	return nil
}

// serve connects an accepted client with the target and passes bytes until either
// ends.
func (r *Relay) serve(client *net.TCPConn) {
	c := &conn{relay: r, client: client, done: make(chan struct{})}
	if !r.admit(c) {
		c.reset()
		return
	}
	defer r.forget(c)
	if !c.pass(func(f Faults) bool { return f.Hole == "" }) { // a handshake needs both ways
		return
	}
	d := net.Dialer{Timeout: dialTimeout}
	server, err := d.DialContext(r.ctx, "tcp", r.opts.Target)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			r.refuse()
		}
		c.reset()
		return
	}
	c.run(server.(*net.TCPConn))
}

// admit remembers a connection, unless none is to be taken.
func (r *Relay) admit(c *conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil || r.faults.Cut {
		return false
	}
	c.arm(r.faults)
	if c.spent() {
		r.hitConns++
		return false
	}
	if r.faults.Hole != "" || r.faults.Stall != "" {
		r.hit(c)
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *Relay) forget(c *conn) {
	c.reset()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// hit counts a connection that the faults touched, once for each Set. The caller
// holds mu.
func (r *Relay) hit(c *conn) {
	if c.hitIn != r.turn+1 {
		c.hitIn = r.turn + 1
		r.hitConns++
	}
}

func (r *Relay) touched(c *conn, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hit(c)
	r.hitBytes.Add(int64(bytes))
}

// state returns the faults and what is closed when they change.
func (r *Relay) state() (Faults, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.faults, r.changed
}

// broken looks whether the target refuses, now that a connection to it broke.
func (r *Relay) broken() {
	d := net.Dialer{Timeout: dialTimeout}
	probe, err := d.DialContext(r.ctx, "tcp", r.opts.Target)
	switch {
	case err == nil:
		_ = probe.Close()
	case errors.Is(err, syscall.ECONNREFUSED):
		r.refuse()
	}
}

// refuse refuses connections until the target takes them again.
func (r *Relay) refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusing || r.ctx.Err() != nil {
		return
	}
	r.refusing = true
	_ = r.gate() // closes; that can't fail
	r.work.Go(func() {
		tick := time.NewTicker(probeEvery)
		defer tick.Stop()
		for {
			select {
			case <-r.ctx.Done():
				return
			case <-tick.C:
			}
			d := net.Dialer{Timeout: dialTimeout}
			probe, err := d.DialContext(r.ctx, "tcp", r.opts.Target)
			if err != nil {
				continue
			}
			_ = probe.Close()
			if r.resume() {
				return
			}
		}
	})
}

// resume takes connections again; false when the port can't be had.
func (r *Relay) resume() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusing = false
	if err := r.gate(); err != nil {
		r.refusing = true
		return false
	}
	return true
}
