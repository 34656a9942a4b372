package tally

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"sync"
)

// Frame is a kind of AMQP frame.
type Frame struct {
	Conn     int  // number of the connection, from 1 on
	ToBroker bool // sent by a client
	Kind     string
}

// Frames counts the frames that pass a relay in front of a broker.
type Frames struct {
	URL string // of the relay

	broker string
	ln     net.Listener
	all    sync.WaitGroup

	mu     sync.Mutex
	made   int
	conns  []net.Conn
	counts map[Frame]int
	faults []error
	closed bool
}

// RelayFrames puts a relay in front of the broker of an amqp:// URL.
func RelayFrames(amqp string) (*Frames, error) {
	u, err := url.Parse(amqp)
	if err != nil {
		return nil, fmt.Errorf("relay frames: %w", err)
	}
	f := &Frames{broker: u.Host, counts: map[Frame]int{}}
	if f.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("relay frames: %w", err)
	}
	u.Host = f.ln.Addr().String()
	f.URL = u.String()
	f.all.Go(f.accept)
	return f, nil
}

// Count returns how many frames have passed so far.
func (f *Frames) Count() map[Frame]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

// Close ends the relay and every connection. The error tells what could not be
// read as AMQP.
func (f *Frames) Close() error {
	f.mu.Lock()
	f.closed = true
	err := f.ln.Close()
	for _, c := range f.conns {
		_ = c.Close() // ends the copies
	}
	f.mu.Unlock()
	f.all.Wait()
	return errors.Join(append(f.faults, err)...)
}

func (f *Frames) accept() {
	for {
		client, err := f.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", f.broker)
		f.mu.Lock()
		if err != nil || f.closed {
			_ = client.Close() // as the broker does that is not there
			if err == nil {
				_ = server.Close()
			}
			f.mu.Unlock()
			continue
		}
		f.made++
		n := f.made
		f.conns = append(f.conns, client, server)
		f.mu.Unlock()
		f.all.Go(func() { f.copy(server, client, n, true) })
		f.all.Go(func() { f.copy(client, server, n, false) })
	}
}

// copy relays one direction. What was read is passed on before it is counted.
func (f *Frames) copy(to, from net.Conn, n int, toBroker bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	read, write := io.Pipe()
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		if err := f.scan(bufio.NewReaderSize(read, 64<<10), n, toBroker); err != nil {
			_, _ = to.Close(), from.Close() // nothing more can be counted
		}
		_ = read.Close()
	}()
	_, _ = io.Copy(io.MultiWriter(to, write), from) // its end is the connection's
	_ = write.Close()
	<-counted
}

// scan counts frames until the stream ends.
func (f *Frames) scan(r *bufio.Reader, n int, toBroker bool) error {
	if toBroker {
		if _, err := r.Discard(8); err != nil { // the protocol's header
			return nil
		}
	}
	var head [7]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil // the end
		}
		size := int(binary.BigEndian.Uint32(head[3:]))
		kind := ""
		switch head[0] {
		case 1:
			method, err := r.Peek(4)
			if err != nil {
				return nil
			}
			kind = methodName(binary.BigEndian.Uint16(method), binary.BigEndian.Uint16(method[2:]))
		case 2:
			kind = "header"
		case 3:
			kind = "body"
		case 8:
			kind = "heartbeat"
		default:
			err := fmt.Errorf("connection %d: a frame of type %d is no AMQP 0-9-1", n, head[0])
			f.mu.Lock()
			f.faults = append(f.faults, err)
			f.mu.Unlock()
			return err
		}
		f.mu.Lock()
		f.counts[Frame{n, toBroker, kind}]++
		f.mu.Unlock()
		if _, err := r.Discard(size + 1); err != nil {
			return nil
		}
	}
}

// methodName names the methods that are counted one by one.
func methodName(class, method uint16) string {
	if class == 60 {
		switch method {
		case 40:
			return "basic.publish"
		case 50:
			return "basic.return"
		case 60:
			return "basic.deliver"
		case 80:
			return "basic.ack"
		case 90:
			return "basic.reject"
		case 120:
			return "basic.nack"
		}
	}
	return fmt.Sprintf("method %d.%d", class, method)
}
