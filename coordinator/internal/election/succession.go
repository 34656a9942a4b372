package election

import (
	"context"
	"encoding/json"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/failpoint"
	"github.com/tradingflow/weather-station/shared/ids"
)

// handOver makes another candidate leader in place of this candidacy, which leads, and
// reports whether that is known to be done. The leading function may still run.
func (c *candidacy) handOver(ctx context.Context, to string) bool {
	next, before := c.successor(to)
	if next == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout(c.s.ttl))
	defer cancel()
	failpoint.Before("election_hand_over")
	done, err := c.name(ctx, *next, before)
	failpoint.After("election_hand_over")
	switch {
	case err != nil:
		c.e.cfg.Log.Warn("successor can't be named, leadership ends first", "successor", next.ID, "error", err)
	case !done:
		c.e.cfg.Log.Info("line has changed, leadership ends first", "successor", next.ID)
	default:
		c.e.cfg.Log.Info("successor named", "successor", next.ID)
	}
	return done && err == nil
}

// successor is the candidate of an instance, or the next in line behind this candidacy,
// which is the first; nil when there is none. Before it stand those who are passed over.
// A view that shows a key shows all that are ahead of it.
func (c *candidacy) successor(to string) (next *Candidate, before []Candidate) {
	c.e.view.mu.Lock()
	defer c.e.view.mu.Unlock()
	m := c.e.view.now.Members
	if len(m) < 2 || m[0].Key != c.key || m[0].Revision != c.rev {
		return nil, nil
	}
	for i := 1; i < len(m); i++ {
		if to == "" || m[i].Instance == to {
			return &m[i], m[1:i]
		}
	}
	return &m[1], nil // it left meanwhile
}

// name is the transaction of a hand-over. The keys of those who are passed over go: a
// key that is older than the leader's would lead.
func (c *candidacy) name(ctx context.Context, next Candidate, before []Candidate) (bool, error) {
	c.mu.Lock()
	base, baseRev, bad := c.base, c.baseRev, c.baseBad
	c.mu.Unlock()
	if bad != nil {
		return false, bad
	}
	v := value{ID: next.ID, Presence: next.Presence, Instance: next.Instance, Info: next.Info, Joined: next.Joined.UnixMilli(),
		Epoch: base + ids.Epoch(next.Revision), Since: c.e.cfg.Now().UnixMilli()}
	data, err := json.Marshal(v)
	if err != nil {
		return false, fmt.Errorf("encode successor: %w", err)
	}
	conditions := append(c.mine(),
		clientv3.Compare(clientv3.CreateRevision(next.Key), "=", next.Revision),
		clientv3.Compare(clientv3.ModRevision(c.e.keys.epochBase()), "=", baseRev))
	steps := []clientv3.Op{clientv3.OpDelete(c.key), clientv3.OpPut(next.Key, string(data), clientv3.WithIgnoreLease())}
	for _, b := range before {
		steps = append(steps, clientv3.OpDelete(b.Key))
	}
	resp, err := c.e.cfg.Client.Txn(ctx).If(conditions...).Then(steps...).Commit()
	if err != nil {
		return false, fmt.Errorf("name successor: %w", err)
	}
	return resp.Succeeded, nil
}

// named returns the revision of the write that made this candidacy leader, if its key
// holds the epoch that it would have claimed; else 0. Who raised the base meanwhile, or
// has not heard of that, looks again and claims.
func (c *candidacy) named(kv *mvccpb.KeyValue) int64 {
	_, l, err := decode(kv)
	if err != nil || l == nil {
		return 0
	}
	if epoch, _, err := c.prize(); err != nil || l.Epoch != epoch {
		return 0
	}
	return kv.ModRevision
}
