package election

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/failpoint"
	"github.com/tradingflow/weather-station/shared/ids"
)

// errGone says that the candidate's key is deleted or belongs to another lease.
var errGone = errors.New("own election key is gone")

// candidacy is one key in the line, from the moment it was put.
type candidacy struct {
	e   *Elector
	s   *session
	key string
	rev int64 // create revision
	val value

	mu       sync.Mutex
	base     ids.Epoch     // epoch base as last read, and
	baseRev  int64         // its mod revision
	baseBad  error         // it holds nonsense
	won      chan struct{} // closed when succeed made this candidacy the leader
	epoch    ids.Epoch     // and what it won
	revision int64
}

// stand puts the session's key into the line.
func (e *Elector) stand(ctx context.Context, s *session) (*candidacy, error) {
	c := &candidacy{e: e, s: s, key: e.keys.candidate(s.id), won: make(chan struct{}), val: value{
		ID: e.cfg.ID, Presence: e.presence, Instance: e.instance, Info: e.cfg.Info, Joined: e.cfg.Now().UnixMilli(),
	}}
	data, err := json.Marshal(c.val)
	if err != nil {
		return nil, fmt.Errorf("encode candidate: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*tryTimeout(s.ttl))
	defer cancel()
	failpoint.Before("election_join")
	resp, err := e.cfg.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(c.key), "=", 0)).
		Then(clientv3.OpPut(c.key, string(data), clientv3.WithLease(s.id)), clientv3.OpGet(e.keys.epochBase())).
		Else(clientv3.OpGet(c.key), clientv3.OpGet(e.keys.epochBase())).
		Commit()
	failpoint.After("election_join")
	if err != nil {
		return nil, fmt.Errorf("put election key: %w", err)
	}
	c.rev = resp.Header.Revision
	if !resp.Succeeded { // the client repeated a put that had been applied
		c.rev = resp.Responses[0].GetResponseRange().Kvs[0].CreateRevision
	}
	c.noteBase(resp.Responses[1].GetResponseRange().Kvs)
	return c, nil
}

// noteBase keeps the epoch base as it was read.
func (c *candidacy) noteBase(kvs []*mvccpb.KeyValue) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.baseBad = parseBase(kvs)
	c.baseRev = 0
	if len(kvs) > 0 {
		c.baseRev = kvs[0].ModRevision
	}
}

// prize is the epoch that this candidacy would lead in, and the revision of the
// base that it is made of.
func (c *candidacy) prize() (epoch ids.Epoch, baseRev int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base + ids.Epoch(c.rev), c.baseRev, c.baseBad
}

// win waits until the candidacy is first in the line and makes it leader. The
// revision is that of the write which did so. While etcd does not answer it goes
// on trying; it ends with errGone, a bad epoch base, or ctx.
func (c *candidacy) win(ctx context.Context) (epoch ids.Epoch, revision int64, err error) {
	for {
		first, named, seen, err := c.look(ctx)
		switch {
		case c.succeeded():
			return c.epoch, c.revision, nil
		case named > 0:
			epoch, _, err := c.prize()
			return epoch, named, err
		case ctx.Err() != nil:
			return 0, 0, ctx.Err()
		case errors.Is(err, errGone):
			return 0, 0, err
		case err != nil:
			c.e.cfg.Log.Debug("cannot read election line", "error", err)
			pause(ctx, c.retry())
			continue
		case !first:
			named := c.await(ctx, seen+1)
			if c.succeeded() {
				return c.epoch, c.revision, nil
			}
			if named > 0 {
				epoch, _, err := c.prize()
				return epoch, named, err
			}
			continue
		}
		epoch, baseRev, err := c.prize()
		if err != nil {
			return 0, 0, err
		}
		revision, won, err := c.claim(ctx, epoch, baseRev, nil)
		if err != nil {
			c.e.cfg.Log.Debug("cannot claim leadership", "error", err)
			pause(ctx, c.retry())
		}
		if won {
			return epoch, revision, nil
		}
		// Either the key is gone or the base changed: look again.
	}
}

func (c *candidacy) retry() time.Duration {
	return min(c.s.ttl/20, 200*time.Millisecond)
}

// look reads the line and the epoch base at one revision. named is that of the write
// that made this candidacy leader already, or 0. Foreign keys in the line, which do not
// decode or hang on no lease, are passed over.
func (c *candidacy) look(ctx context.Context) (first bool, named, revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout(c.s.ttl))
	defer cancel()
	resp, err := c.e.cfg.Client.Txn(ctx).Then(
		clientv3.OpGet(c.e.keys.line(), clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)),
		clientv3.OpGet(c.e.keys.epochBase()),
	).Commit()
	if err != nil {
		return false, 0, 0, fmt.Errorf("read election line: %w", err)
	}
	c.noteBase(resp.Responses[1].GetResponseRange().Kvs)
	first = true
	for _, kv := range resp.Responses[0].GetResponseRange().Kvs {
		if string(kv.Key) == c.key {
			if !c.owns(kv) {
				break
			}
			if first {
				named = c.named(kv)
			}
			return first, named, resp.Header.Revision, nil
		}
		if _, _, err := decode(kv); err != nil || kv.Lease == 0 {
			c.e.cfg.Log.Warn("foreign key in the election line passed over", "key", string(kv.Key))
			continue
		}
		first = false
	}
	return false, 0, 0, errGone
}

// owns reports whether this is still the key that the candidacy put.
func (c *candidacy) owns(kv *mvccpb.KeyValue) bool {
	return kv.CreateRevision == c.rev && kv.Lease == int64(c.s.id)
}

// claim writes the epoch into the own key, if that is still the same key and
// the epoch base is still the one that was read. Nothing older can have joined
// the line since it was read, because create revisions only grow. It can delete the
// only one ahead, who is dead, in the same step, on the condition that it is there.
func (c *candidacy) claim(ctx context.Context, epoch ids.Epoch, baseRev int64, dead *Candidate) (revision int64, won bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout(c.s.ttl))
	defer cancel()
	v := c.val
	v.Epoch, v.Since = epoch, c.e.cfg.Now().UnixMilli()
	data, err := json.Marshal(v)
	if err != nil {
		return 0, false, fmt.Errorf("encode candidate: %w", err)
	}
	conditions := append(c.mine(), clientv3.Compare(clientv3.ModRevision(c.e.keys.epochBase()), "=", baseRev))
	steps := []clientv3.Op{clientv3.OpPut(c.key, string(data), clientv3.WithLease(c.s.id))}
	if dead != nil {
		conditions = append(conditions, clientv3.Compare(clientv3.CreateRevision(dead.Key), "=", dead.Revision))
		steps = append(steps, clientv3.OpDelete(dead.Key))
	}
	failpoint.Before("election_claim")
	resp, err := c.e.cfg.Client.Txn(ctx).If(conditions...).Then(steps...).Commit()
	failpoint.After("election_claim")
	if err != nil {
		return 0, false, fmt.Errorf("claim leadership: %w", err)
	}
	return resp.Header.Revision, resp.Succeeded, nil
}

// succeed takes the place of a dead candidate, the only one ahead: its key goes and
// this one leads, in one step, which is one write of etcd instead of two and a read.
func (c *candidacy) succeed(ctx context.Context, dead Candidate) (bool, error) {
	epoch, baseRev, err := c.prize()
	if err != nil {
		return false, err
	}
	revision, won, err := c.claim(ctx, epoch, baseRev, &dead)
	if err != nil || !won {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch, c.revision = epoch, revision
	close(c.won) // once: the dead one's key can be deleted only once
	return true, nil
}

func (c *candidacy) succeeded() bool {
	select {
	case <-c.won:
		return true
	default:
		return false
	}
}

func (c *candidacy) mine() []clientv3.Cmp {
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.CreateRevision(c.key), "=", c.rev),
		clientv3.Compare(clientv3.LeaseValue(c.key), "=", c.s.id),
	}
}

// await returns when a key of the line is deleted, when this candidacy has
// succeeded a dead one or was named by the leader (then with the revision of that), when
// the watch breaks, after a TTL at the latest, or when ctx ends.
func (c *candidacy) await(ctx context.Context, revision int64) (named int64) {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), c.s.ttl)
	defer cancel()
	ended := make(chan struct{})
	defer func() { cancel(); <-ended }()
	go func() {
		defer close(ended)
		select {
		case <-c.won:
			cancel()
		case <-ctx.Done():
		}
	}()
	for resp := range c.e.cfg.Client.Watch(ctx, c.e.keys.line(), clientv3.WithPrefix(), clientv3.WithRev(revision)) {
		if err := resp.Err(); err != nil {
			pause(ctx, c.retry())
			return 0
		}
		deleted := false
		for _, ev := range resp.Events {
			switch {
			case ev.Type == clientv3.EventTypeDelete:
				deleted = true
			case string(ev.Kv.Key) == c.key && c.owns(ev.Kv):
				named = c.named(ev.Kv)
			}
		}
		if named > 0 || deleted {
			return named
		}
	}
	return 0
}

// guard watches the own key from the given revision on and returns when the key
// is known to be gone, or when ctx ends. While etcd does not answer it waits.
func (c *candidacy) guard(ctx context.Context, revision int64) {
	for ctx.Err() == nil {
		if c.watchOwn(ctx, revision) {
			return
		}
		// The watch broke, and may have missed the deletion: read the key.
		tctx, cancel := context.WithTimeout(ctx, tryTimeout(c.s.ttl))
		resp, err := c.e.cfg.Client.Get(tctx, c.key)
		cancel()
		if err != nil {
			pause(ctx, c.retry())
			continue
		}
		if len(resp.Kvs) == 0 || !c.owns(resp.Kvs[0]) {
			return
		}
		revision = resp.Header.Revision + 1
	}
}

// watchOwn reports whether it saw that the key is gone; otherwise the watch
// broke.
func (c *candidacy) watchOwn(ctx context.Context, revision int64) bool {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for resp := range c.e.cfg.Client.Watch(ctx, c.key, clientv3.WithRev(revision)) {
		if resp.Err() != nil {
			return false
		}
		for _, ev := range resp.Events {
			if ev.Type == clientv3.EventTypeDelete || !c.owns(ev.Kv) {
				return true
			}
		}
	}
	return false
}

// release takes the key out of the line and ends the lease. It tries for a TTL,
// after which the lease has run out by itself. Renewals must have stopped.
func (c *candidacy) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.s.ttl)
	defer cancel()
	for ctx.Err() == nil {
		tctx, cancelTry := context.WithTimeout(ctx, tryTimeout(c.s.ttl))
		failpoint.Before("election_leave")
		_, err := c.e.deleteKey(tctx, c.key, c.rev)
		failpoint.After("election_leave")
		cancelTry()
		if err == nil {
			break
		}
		c.e.cfg.Log.Debug("cannot delete own election key", "error", err)
		pause(ctx, c.retry())
	}
	c.s.revoke(ctx)
}

// deleteKey deletes a key of the line if it is still the one that was created
// at the given revision.
func (e *Elector) deleteKey(ctx context.Context, key string, revision int64) (bool, error) {
	resp, err := e.cfg.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", revision)).
		Then(clientv3.OpDelete(key)).
		Commit()
	if err != nil {
		return false, fmt.Errorf("delete election key %s: %w", key, err)
	}
	return resp.Succeeded, nil
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
