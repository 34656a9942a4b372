package rabbit

import (
	"net"
	"sync"
	"time"
)

const (
	writeTimeout = 10 * time.Second
	lastWrite    = 200 * time.Millisecond // for what is left when the wire is closed
	wireRoom     = 256 << 10              // bytes that may wait
)

// wire is a connection whose writes don't wait for the socket. What is written while
// the socket takes something else goes to it together, in one call; what comes alone goes
// at once. A broker that stops reading makes writes wait when there is no more room, and
// breaks the connection after writeTimeout, though it may still send heartbeats.
type wire struct {
	net.Conn
	wake chan struct{} // holds one
	done chan struct{} // closed when nothing is sent any more

	mu      sync.Mutex
	room    sync.Cond
	waiting []byte
	err     error // of an earlier write
	closed  bool
}

func newWire(conn net.Conn) *wire {
	w := &wire{Conn: conn, wake: make(chan struct{}, 1), done: make(chan struct{})}
	w.room.L = &w.mu
	go w.run()
	return w
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.waiting) > wireRoom && w.err == nil && !w.closed {
		w.room.Wait()
	}
	if w.err != nil {
		return 0, w.err
	}
	if w.closed {
		return 0, net.ErrClosed
	}
	w.waiting = append(w.waiting, p...)
	w.poke()
	return len(p), nil
}

func (w *wire) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Close sends what waits, if that goes quickly, and closes.
func (w *wire) Close() error {
	w.mu.Lock()
	w.closed = true
	_ = w.SetWriteDeadline(time.Now().Add(lastWrite))
	w.room.Broadcast()
	w.mu.Unlock()
	w.poke()
	<-w.done
	return w.Conn.Close()
}

func (w *wire) run() {
	defer close(w.done)
	var spare []byte
	for range w.wake {
		for {
			data, closed := w.next(spare)
			if len(data) == 0 {
				if closed {
					return
				}
				break
			}
			if _, err := w.Conn.Write(data); err != nil {
				w.fail(err)
				return
			}
			spare = data
		}
	}
}

// next takes what waits, and leaves an empty buffer in its place.
func (w *wire) next(empty []byte) (data []byte, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		return nil, w.closed
	}
	data = w.waiting
	if w.waiting = empty[:0]; cap(empty) > wireRoom {
		w.waiting = nil
	}
	if !w.closed {
		_ = w.SetWriteDeadline(time.Now().Add(writeTimeout)) // an error shows in the write
	}
	w.room.Broadcast()
	return data, w.closed
}

// fail ends the connection: a message that went out in part cannot be followed by others.
func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	w.room.Broadcast()
	_ = w.Conn.Close()
}
