package election

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// presencePatience bounds one dial and the wait for the name that follows.
const presencePatience = time.Second

// servePresence answers on the presence listener: each connection gets this
// instance's name on a line and is then held open until the other side goes or
// ctx ends. Nothing else is ever said; that the connection stands is the message.
func (e *Elector) servePresence(ctx context.Context) {
	var open sync.WaitGroup
	defer open.Wait()
	stop := context.AfterFunc(ctx, func() { _ = e.cfg.Presence.Close() }) // ends Accept
	defer stop()
	for {
		conn, err := e.cfg.Presence.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			e.cfg.Log.Warn("presence connection can't be accepted", "error", err)
			pause(ctx, 100*time.Millisecond)
			continue
		}
		open.Go(func() {
			shut := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer shut()
			defer func() { _ = conn.Close() }() // nothing was promised to the other side
			if _, err := conn.Write([]byte(e.instance + "\n")); err != nil {
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

// vigil holds a connection to every candidate ahead in the line, so that this
// one learns of a death at once. It ends with ctx.
func (e *Elector) vigil(ctx context.Context) {
	views, unsubscribe := e.Watch()
	defer unsubscribe()
	var open sync.WaitGroup
	defer open.Wait()
	attended := map[string]context.CancelFunc{}
	defer func() {
		for _, cancel := range attended {
			cancel()
		}
	}()
	for {
		var view View
		select {
		case view = <-views:
		case <-ctx.Done():
			return
		}
		ahead := e.ahead(view)
		for key, cancel := range attended {
			if _, still := ahead[key]; !still {
				cancel()
				delete(attended, key)
			}
		}
		for key, c := range ahead {
			if attended[key] == nil {
				actx, cancel := context.WithCancel(ctx)
				attended[key] = cancel
				open.Go(func() { e.attend(actx, c) })
			}
		}
	}
}

// ahead returns the candidates before this one that can be dialled, by key.
func (e *Elector) ahead(v View) map[string]Candidate {
	out := map[string]Candidate{}
	for _, c := range v.Members {
		if c.Instance == e.instance {
			return out
		}
		if c.Presence != "" && c.Instance != "" {
			out[c.Key] = c
		}
	}
	return map[string]Candidate{} // not in the line: nothing to wait for
}

// attend holds a connection to one candidate until ctx ends, and deletes the
// candidate's key on proof of its death: a connection that stood is broken, and
// the address refuses another one, or somebody else answers there. An address
// that never answered as that candidate proves nothing, so a wrong one costs
// speed and never a leader.
func (e *Elector) attend(ctx context.Context, c Candidate) {
	known := false
	wait := 20 * time.Millisecond
	for ctx.Err() == nil {
		name, err := e.hold(ctx, c)
		switch {
		case ctx.Err() != nil:
			return
		case name == c.Instance:
			known, wait = true, time.Millisecond // one that dies may accept a little longer
			e.cfg.Log.Debug("connection to a candidate broke", "candidate", c.ID)
			continue // it broke: dial again at once
		case known && (name != "" || errors.Is(err, syscall.ECONNREFUSED)):
			e.cfg.Log.Debug("candidate is proven gone", "candidate", c.ID)
			e.bury(ctx, c)
			return
		}
		pause(ctx, wait)
		wait = min(2*wait, time.Second)
	}
}

// hold dials a candidate, reads who answers, and, if it is the candidate, waits
// until the connection breaks.
func (e *Elector) hold(ctx context.Context, c Candidate) (name string, err error) {
	dialer := net.Dialer{Timeout: presencePatience, KeepAlive: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", c.Presence)
	if err != nil {
		return "", err
	}
	shut := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer shut()
	defer func() { _ = conn.Close() }() // what it had to say is read
	if err := conn.SetReadDeadline(time.Now().Add(presencePatience)); err != nil {
		return "", err
	}
	r := bufio.NewReaderSize(conn, 256)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	name = strings.TrimSpace(string(line))
	if name != c.Instance {
		return name, nil
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return "", err
	}
	_, err = r.ReadByte()
	return name, err
}

// politeness is how long one that is not next in line leaves a dead one to the
// next, who can delete its key and take its place in one step.
const politeness = 30 * time.Millisecond

// bury deletes a dead candidate's key, trying until it is known to be gone.
// It compares the create revision, so it can hit only the candidacy that was
// seen dead.
func (e *Elector) bury(ctx context.Context, c Candidate) {
	next := e.next(c)
	if next == nil {
		pause(ctx, politeness)
	}
	for ctx.Err() == nil {
		tctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		var deleted bool
		var err error
		if next != nil {
			deleted, err = next.succeed(tctx, c)
		}
		if !deleted && err == nil {
			deleted, err = e.deleteKey(tctx, c.Key, c.Revision)
		}
		cancel()
		if err == nil {
			if deleted {
				e.cfg.Log.Warn("deleted the key of a dead coordinator", "dead", c.ID, "presence", c.Presence)
			}
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// next returns this process's candidacy if only the given candidate is ahead of
// it. A view that shows the own key shows all that are ahead: none can join there.
func (e *Elector) next(c Candidate) *candidacy {
	e.mu.Lock()
	own := e.stands
	e.mu.Unlock()
	if own == nil {
		return nil
	}
	e.view.mu.Lock()
	defer e.view.mu.Unlock()
	m := e.view.now.Members
	if len(m) < 2 || m[0].Key != c.Key || m[0].Revision != c.Revision || m[1].Key != own.key || m[1].Revision != own.rev {
		return nil
	}
	return own
}
