// Package presence learns of the death of another process at once.
//
// The kernel of a host that lives on closes the sockets of a process that died, and
// refuses new connections to it. So whoever is to be watched listens at an address
// and answers each connection with its name; whoever watches holds a connection open. Nothing
// else is ever said: that the connection stands is the message.
//
// A process is proven gone when a connection to it that stood breaks, and a new
// dial is refused or answered by another name. A time-out, an unreachable host and an
// address that never answered by that name prove nothing, for the process may live behind
// a broken link. A process that is being killed may accept for a few milliseconds more,
// so it is dialled again after one millisecond, two, four and so on.
//
// Coordinators speak plain TCP, on a listener of their own, which belongs to one thread
// (Apart), so that a large one is missed as soon as a small one. Workers have an HTTP
// server already; there the name is the first line of an answer that does not end.
package presence

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	patience = time.Second           // bounds one dial and the wait for the name that follows
	again    = time.Millisecond      // first pause before a new dial after a break
	first    = 20 * time.Millisecond // and after a dial that failed, while the process was never met
	rarely   = time.Second           // longest pause for one that was met
	rarest   = 10 * time.Second      // and for one that never was
	maxName  = 256
)

// Hold connects to a process, reads its name and, if it is the one that is sought,
// waits until the connection breaks.
type Hold func(ctx context.Context) (name string, err error)

// Attend holds a connection to the process called name until it is proven gone, and
// reports that it is, or until ctx ends. broke hears of each connection that stood and
// broke; it may be nil.
func Attend(ctx context.Context, name string, hold Hold, broke func()) bool {
	known := false
	wait, longest := first, rarest
	for ctx.Err() == nil {
		got, err := hold(ctx)
		switch {
		case ctx.Err() != nil:
			return false
		case got == name:
			known, wait, longest = true, again, rarely
			if broke != nil {
				broke()
			}
			continue // dial again at once
		case known && (got != "" || errors.Is(err, syscall.ECONNREFUSED)):
			return true
		}
		pause(ctx, wait)
		wait = min(2*wait, longest)
	}
	return false
}

// Serve answers on a listener until ctx ends, then closes it.
func Serve(ctx context.Context, ln net.Listener, name string, log hclog.Logger) {
	if a, ok := ln.(*apart); ok {
		if ln = a.Listener; serveApart(ctx, ln, name, log) {
			return
		}
	}
	var open sync.WaitGroup
	defer open.Wait()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() }) // ends Accept
	defer stop()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			log.Warn("presence connection can't be accepted", "error", err)
			pause(ctx, 100*time.Millisecond)
			continue
		}
		open.Go(func() {
			shut := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer shut()
			defer func() { _ = conn.Close() }() // nothing was promised to the other side
			if _, err := conn.Write([]byte(name + "\n")); err != nil {
				return
			}
			var nothing [64]byte
			for {
				if _, err := conn.Read(nothing[:]); err != nil {
					return
				}
			}
		})
	}
}

// TCP holds a connection to the process called name that Serve answers for.
func TCP(address, name string) Hold {
	return func(ctx context.Context) (string, error) {
		dialer := net.Dialer{Timeout: patience, KeepAlive: time.Second}
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return "", err
		}
		shut := context.AfterFunc(ctx, func() { _ = conn.Close() })
		defer shut()
		defer func() { _ = conn.Close() }() // what it had to say is read
		return wait(conn, name, func() { _ = conn.SetReadDeadline(time.Now()) })
	}
}

// HTTP holds a connection to the process called name that answers at a URL.
func HTTP(url, name string) Hold {
	dialer := net.Dialer{Timeout: patience}
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		client := http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, ResponseHeaderTimeout: patience},
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return "", err
		}
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer func() { _ = resp.Body.Close() }() // what it had to say is read
		if resp.StatusCode != http.StatusOK {
			return "", fmt.Errorf("%s answers %s", url, resp.Status)
		}
		return wait(resp.Body, name, cancel)
	}
}

// wait reads who is at the other end and, if it is the one that is sought, waits for
// the end. late ends a read that takes too long.
func wait(from io.Reader, name string, late func()) (string, error) {
	patient := time.AfterFunc(patience, late)
	defer patient.Stop()
	r := bufio.NewReaderSize(from, maxName)
	line, err := r.ReadSlice('\n')
	if !patient.Stop() || err != nil {
		return "", errors.Join(err, errors.New("no name was told"))
	}
	got := strings.TrimSpace(string(line))
	if got != name {
		return got, nil
	}
	_, err = r.ReadByte()
	return got, err
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
