package election

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// View is the line of candidates as this process last saw it. While etcd is
// away it stays as it was.
type View struct {
	Leader  *Leader     // nil while nobody leads
	Members []Candidate // all that stand, the leader included, in the order of succession
}

// viewer keeps the current View and tells subscribers.
type viewer struct {
	first chan struct{} // closed by the first View

	mu   sync.Mutex
	have bool
	now  View
	subs map[chan View]struct{}
}

func (v *viewer) set(view View) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now = view
	if !v.have {
		v.have = true
		close(v.first)
	}
	for c := range v.subs {
		offer(c, view)
	}
}

// offer replaces what is in a channel of capacity 1. Only its caller sends.
func offer(c chan View, view View) {
	select {
	case <-c:
	default:
	}
	c <- view
}

// Watch returns a channel that always holds the latest View that its reader has
// not taken, beginning with the current one if there is one. The function ends
// the subscription; the channel is never closed.
func (e *Elector) Watch() (<-chan View, func()) {
	v := &e.view
	v.mu.Lock()
	defer v.mu.Unlock()
	c := make(chan View, 1)
	if v.subs == nil {
		v.subs = make(map[chan View]struct{})
	}
	v.subs[c] = struct{}{}
	if v.have {
		c <- v.now
	}
	return c, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.subs, c)
	}
}

// Leader returns who leads, from the view that Run keeps. Before the first view
// it waits for it. It returns ErrNoLeader, or the error of ctx.
func (e *Elector) Leader(ctx context.Context) (Leader, error) {
	view, err := e.current(ctx)
	if err != nil {
		return Leader{}, err
	}
	if view.Leader == nil {
		return Leader{}, ErrNoLeader
	}
	return *view.Leader, nil
}

// Members returns all coordinators that stand, in the order of succession, from
// the view that Run keeps. Before the first view it waits for it.
func (e *Elector) Members(ctx context.Context) ([]Candidate, error) {
	view, err := e.current(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Clone(view.Members), nil
}

func (e *Elector) current(ctx context.Context) (View, error) {
	select {
	case <-e.view.first:
	default:
		select {
		case <-e.view.first:
		case <-ctx.Done():
			return View{}, fmt.Errorf("wait for the first view of the election: %w", ctx.Err())
		}
	}
	e.view.mu.Lock()
	defer e.view.mu.Unlock()
	return e.view.now, nil
}

// observe keeps the view up to date until ctx ends.
func (e *Elector) observe(ctx context.Context) {
	retry := min(e.cfg.TTL/20, 200*time.Millisecond)
	for ctx.Err() == nil {
		tctx, cancel := context.WithTimeout(ctx, tryTimeout(e.cfg.TTL))
		resp, err := e.cfg.Client.Get(tctx, e.keys.line(), clientv3.WithPrefix())
		cancel()
		if err != nil {
			pause(ctx, retry)
			continue
		}
		line := make(map[string]*mvccpb.KeyValue, len(resp.Kvs))
		for _, kv := range resp.Kvs {
			line[string(kv.Key)] = kv
		}
		e.view.set(viewOf(line))
		e.follow(ctx, line, resp.Header.Revision+1)
		pause(ctx, retry)
	}
}

// glance is how often the line is read besides the watch, which shows nothing
// behind a revision that a young etcd has yet to reach, nor the end of keys that a
// restored one never had.
const glance = time.Second

// follow applies changes to the line until the watch breaks, or etcd's history
// has gone back.
func (e *Elector) follow(ctx context.Context, line map[string]*mvccpb.KeyValue, revision int64) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	changes := e.cfg.Client.Watch(ctx, e.keys.line(), clientv3.WithPrefix(), clientv3.WithRev(revision))
	again := time.NewTicker(glance)
	defer again.Stop()
	read := revision - 1 // up to here the line was read as a whole
	for {
		select {
		case resp, ok := <-changes:
			if !ok || resp.Err() != nil {
				return
			}
			for _, ev := range resp.Events {
				switch {
				case ev.Kv.ModRevision <= read:
				case ev.Type == clientv3.EventTypeDelete:
					delete(line, string(ev.Kv.Key))
				default:
					line[string(ev.Kv.Key)] = ev.Kv
				}
			}
			e.view.set(viewOf(line))
		case <-again.C:
			tctx, done := context.WithTimeout(ctx, tryTimeout(e.cfg.TTL))
			resp, err := e.cfg.Client.Get(tctx, e.keys.line(), clientv3.WithPrefix())
			done()
			if err != nil {
				continue // the watch says so
			}
			if resp.Header.Revision < read {
				e.cfg.Log.Error("etcd's history has gone back: the election is looked at anew", "revision", resp.Header.Revision, "seen", read)
				return
			}
			if read = resp.Header.Revision; reread(line, resp.Kvs) {
				e.view.set(viewOf(line))
			}
		}
	}
}

// reread makes the line what was read, and reports whether it was another.
func reread(line map[string]*mvccpb.KeyValue, kvs []*mvccpb.KeyValue) bool {
	changed := len(line) != len(kvs)
	for _, kv := range kvs {
		old := line[string(kv.Key)]
		changed = changed || old == nil || old.ModRevision != kv.ModRevision
	}
	if changed {
		clear(line)
		for _, kv := range kvs {
			line[string(kv.Key)] = kv
		}
	}
	return changed
}

// viewOf orders the line. Foreign keys are left out.
func viewOf(line map[string]*mvccpb.KeyValue) View {
	kvs := make([]*mvccpb.KeyValue, 0, len(line))
	for _, kv := range line {
		kvs = append(kvs, kv)
	}
	slices.SortFunc(kvs, func(a, b *mvccpb.KeyValue) int { return int(a.CreateRevision - b.CreateRevision) })
	var view View
	for _, kv := range kvs {
		c, l, err := decode(kv)
		if err != nil || kv.Lease == 0 {
			continue
		}
		if len(view.Members) == 0 {
			view.Leader = l
		}
		view.Members = append(view.Members, c)
	}
	return view
}
