package topology

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// life is one run of a member, from its start to its end.
type life struct {
	number   int // 1, 2, …
	began    time.Time
	http     *port // API of a coordinator, health of a worker
	presence *port // of a coordinator
	log      hclog.Logger
	asked    context.Context //nolint:containedctx // ends with the first call of ask
	ask      context.CancelFunc
	dying    chan struct{} // closed when kill begins: nothing is said or published any more
	killed   chan struct{} // closed by kill when no server can be reached any more
	ended    chan struct{} // closed when the work has returned
	err      error         // of the work; read it after ended

	mu    sync.Mutex
	dead  bool
	links []func() // each ends what connects this life to a server
}

// begin takes the ports of a new life of m.
func (m *member) begin(ctx context.Context, number int) (*life, error) {
	var lc net.ListenConfig
	listen := func(address string) (*port, error) {
		ln, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("listen for %s: %w", m.id, err)
		}
		return newPort(ln), nil
	}
	l := &life{number: number, began: time.Now(), dying: make(chan struct{}), killed: make(chan struct{}), ended: make(chan struct{})}
	var err error
	if l.http, err = listen(m.address); err != nil {
		return nil, err
	}
	if m.kind == Coordinator {
		if l.presence, err = listen("127.0.0.1:0"); err != nil {
			return nil, errors.Join(err, l.http.Close())
		}
	}
	l.log = muted{m.log, l.dying}
	l.asked, l.ask = context.WithCancel(context.WithoutCancel(ctx))
	return l, nil
}

// run works until ctx ends, the life is asked to end, or is killed.
func (l *life) run(ctx context.Context, work func(context.Context) error) {
	defer close(l.ended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.asked, cancel)()
	l.err = work(ctx)
	if ctx.Err() != nil && errors.Is(l.err, context.Canceled) {
		l.err = nil // it was stopped while it still connected
	}
}

// link notes how a connection to a server is ended. A life that is dead by now
// loses it at once.
func (l *life) link(end func()) {
	l.mu.Lock()
	dead := l.dead
	l.links = append(l.links, end)
	l.mu.Unlock()
	if dead {
		end()
	}
}

// kill takes the life off everything that it is connected to, and only then lets
// its goroutines know: what they do to end in order reaches nobody. The ports go
// last; their end is what the others notice.
func (l *life) kill() {
	l.mu.Lock()
	links := l.links
	l.dead = true
	l.mu.Unlock()
	close(l.dying)
	for _, end := range links {
		end()
	}
	close(l.killed)
	l.shut()
	l.ask()
}

// shut closes the ports and what was accepted there.
func (l *life) shut() {
	l.http.cut()
	if l.presence != nil {
		l.presence.cut()
	}
}

// finishKill waits for the end of a kill that is under way: a life may end by the loss of
// its connections before it is told, and that is no failure of its own.
func (l *life) finishKill() {
	select {
	case <-l.dying:
		<-l.killed
	default:
	}
}

func (l *life) wasKilled() bool {
	select {
	case <-l.killed:
		return true
	default:
		return false
	}
}
