package topology

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Kind says what a member is.
type Kind string

// The kinds.
const (
	Coordinator Kind = "coordinator"
	Worker      Kind = "worker"
)

// State says what has become of a member.
type State string

// The states. A member that ends by itself ends the whole, and has none.
const (
	Running  State = "running"
	Stopping State = "stopping" // on its way to its orderly end
	Stopped  State = "stopped"
	Killed   State = "killed"
)

// Member is what can be told of a member.
type Member struct {
	ID      string    `json:"id"`
	Kind    Kind      `json:"kind"`
	State   State     `json:"state"`
	Address string    `json:"address"` // of a coordinator's API, of a worker's health port
	Starts  int       `json:"starts"`  // how often it was started
	Since   time.Time `json:"since"`   // when it was started last
}

// StateError says that a member is not in the state that a change needs.
type StateError struct {
	ID   string
	Is   State
	Need string
}

func (e *StateError) Error() string { return fmt.Sprintf("%s is %s, not %s", e.ID, e.Is, e.Need) }

// UnknownError says that there is no such member.
type UnknownError struct{ ID string }

func (e *UnknownError) Error() string { return fmt.Sprintf("no part is called %q", e.ID) }

// errOver says that the whole cluster has ended.
var errOver = errors.New("the cluster has ended")

// member is one coordinator or worker, with a port of its own. It lives once or
// several times, one life after another.
type member struct {
	id      string
	kind    Kind
	address string
	log     hclog.Logger
	work    func(ctx context.Context, id string, l *life) error
	next    chan *life    // that is to begin
	over    chan struct{} // closed when run takes no further life

	mu    sync.Mutex
	state State
	now   *life // the latest
}

// add takes the port of a new member.
func (t *Topology) add(ctx context.Context, kind Kind, number int, address string, work func(context.Context, string, *life) error) error {
	m := &member{id: fmt.Sprintf("%s-%d", kind, number), kind: kind, address: address, work: work, log: t.cfg.Log.Named(string(kind)),
		next: make(chan *life), over: make(chan struct{}), state: Running}
	l, err := m.begin(ctx, 1)
	if err != nil {
		return err
	}
	m.now, m.address = l, l.http.Addr().String() // each later life has the same one
	t.members = append(t.members, m)
	return nil
}

// run has one life after another until ctx ends or one fails. A member that was
// stopped or killed idles until then: the group it runs in takes a service that
// returns for a failure. What a killed life left running is waited for.
func (m *member) run(ctx context.Context) error {
	var lives sync.WaitGroup
	defer lives.Wait()
	defer close(m.over)
	for l := m.latest(); ; {
		lives.Go(func() { l.run(ctx, func(ctx context.Context) error { return m.work(ctx, m.id, l) }) })
		select {
		case <-l.ended:
			l.finishKill()
		case <-l.killed:
		}
		if !l.wasKilled() && (l.err != nil || l.asked.Err() == nil) {
			return l.err
		}
		select {
		case l = <-m.next:
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *member) latest() *life {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *member) tell() Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note()
	return Member{ID: m.id, Kind: m.kind, State: m.state, Address: m.address, Starts: m.now.number, Since: m.now.began}
}

// note sees that a stop came to its end that nobody waited for; the caller holds mu.
func (m *member) note() {
	if m.state != Stopping {
		return
	}
	select {
	case <-m.now.ended:
		m.state = Stopped
	default:
	}
}

// leave takes a running member out of that state.
func (m *member) leave(to State) (*life, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != Running {
		return nil, &StateError{m.id, m.state, "running"}
	}
	m.state = to
	return m.now, nil
}

// stop ends the member in the orderly way.
func (m *member) stop(ctx context.Context) error {
	l, err := m.leave(Stopping)
	if err != nil {
		return err
	}
	l.ask()
	select {
	case <-l.ended:
	case <-ctx.Done():
		return fmt.Errorf("stop %s: %w", m.id, ctx.Err())
	}
	return l.err
}

// kill ends the member as the death of its process would.
func (m *member) kill() error {
	l, err := m.leave(Killed)
	if err != nil {
		return err
	}
	l.kill()
	return nil
}

// start begins the next life of a member that was stopped or killed.
func (m *member) start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note()
	if m.state != Stopped && m.state != Killed {
		return &StateError{m.id, m.state, "stopped or killed"}
	}
	l, err := m.begin(ctx, m.now.number+1)
	if err != nil {
		return err
	}
	select {
	case m.next <- l:
	case <-m.over:
		l.shut()
		return fmt.Errorf("start %s: %w", m.id, errOver)
	case <-ctx.Done():
		l.shut()
		return fmt.Errorf("start %s: %w", m.id, ctx.Err())
	}
	m.now, m.state = l, Running
	return nil
}
