package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// History is the past of an etcd, as far as it was seen.
type History struct {
	ID       string // the catalog's marker; "" = none
	Revision int64
	Term     uint64 // raft term
}

// follows reports whether h can be a later look at the same etcd.
func (h History) follows(before History) bool {
	return h.ID != "" && h.ID == before.ID && h.Revision >= before.Revision && h.Term >= before.Term
}

var (
	errRestoring = errors.New("the flow catalog is being restored")
	errAnother   = errors.New("etcd's history is another one")
)

// look reads etcd's marker, revision and term.
func (c *Catalog) look(ctx context.Context) (History, error) {
	resp, err := call(ctx, "look at etcd's history", func(ctx context.Context) (*clientv3.GetResponse, error) {
		return c.client.Get(ctx, c.markerKey())
	})
	if err != nil {
		return History{}, err
	}
	h := History{Revision: resp.Header.Revision, Term: resp.Header.RaftTerm}
	if len(resp.Kvs) > 0 {
		h.ID = string(resp.Kvs[0].Value)
	}
	return h, nil
}

// believed returns the history that is believed, and its age.
func (c *Catalog) believed() (History, int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.history, c.age
}

// admit makes sure that etcd's history is the one that is believed, and restores
// the catalog when it is another.
func (c *Catalog) admit(ctx context.Context) error {
	select {
	case c.admitting <- struct{}{}:
		defer func() { <-c.admitting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	h, err := c.look(ctx)
	if err != nil {
		return err
	}
	if before, _ := c.believed(); !c.goesOn(h) {
		if before.ID != "" {
			c.log.Error("etcd's history is another one: nothing it says is believed before the flows are restored",
				"marker", h.ID, "revision", h.Revision, "term", h.Term, "seen_revision", before.Revision, "seen_term", before.Term)
		}
		if h, err = c.restore(ctx, h, before); err != nil {
			return fmt.Errorf("restore flows: %w", err)
		}
	}
	c.believe(h)
	c.adopt(ctx, h)
	return nil
}

// believe notes a history. What memory has is of an earlier one if this is new,
// and any revision of this one is later.
func (c *Catalog) believe(h History) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken || !h.follows(c.history) {
		c.age++
		renew(c.flows)
		renew(c.pauses)
		c.flowsSeen, c.pausesSeen = 0, 0
	}
	if c.history.ID == "" {
		close(c.answers)
	}
	c.history, c.broken = h, false
}

// goesOn reports whether a look shows the history that is believed. One that does
// not is remembered until the catalog is restored: a young etcd grows, by elections
// alone, and at the next look it may be past the revision that gave it away.
func (c *Catalog) goesOn(h History) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = c.broken || c.history.ID != "" && !h.follows(c.history)
	return !c.broken && h.follows(c.history)
}

// renew makes every entry older than any revision.
func renew[K comparable, T any](m map[K]entry[T]) {
	for k, e := range m {
		if e.rev = 0; e.present {
			m[k] = e
		} else {
			delete(m, k)
		}
	}
}

// tellEvery bounds how long a ledger that was emptied does not know its catalog.
const tellEvery = 15 * time.Second

// adopt tells the ledger how far etcd was seen. A ledger that is away is told
// later.
func (c *Catalog) adopt(ctx context.Context, h History) {
	if c.copies == nil || h == c.adopted && time.Since(c.told) < tellEvery {
		return
	}
	if err := c.copies.Adopt(ctx, h); err != nil {
		c.log.Debug("the ledger can't be told of its catalog now", "error", err)
		return
	}
	c.adopted, c.told = h, time.Now()
}

// still looks whether the history goes on. It is called once a second.
func (c *Catalog) still(ctx context.Context) error {
	select {
	case c.admitting <- struct{}{}:
		defer func() { <-c.admitting }()
	case <-ctx.Done():
		return nil
	}
	h, err := c.look(ctx)
	if err != nil {
		return nil //nolint:nilerr // etcd is away: the watch says so
	}
	if !c.goesOn(h) {
		return errAnother
	}
	c.believe(h)
	c.adopt(ctx, h)
	return nil
}

// gaveAway notes that an answer is none of the history of that age.
func (c *Catalog) gaveAway(age int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = c.broken || age == c.age
}

// guarded makes a transaction that is believed only while etcd's history is the
// known one. It returns the history's age too, for what becomes of the answer.
func (c *Catalog) guarded(ctx context.Context, op string, conds []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, int, error) {
	h, age := c.believed()
	if h.ID == "" {
		if _, err := call(ctx, op, func(ctx context.Context) (struct{}, error) { return struct{}{}, c.admit(ctx) }); err != nil {
			return nil, 0, err
		}
		h, age = c.believed()
	}
	resp, err := call(ctx, op, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return c.client.Txn(ctx).
			If(append(conds, clientv3.Compare(clientv3.Value(c.markerKey()), "=", h.ID))...).
			Then(then...).
			Else(append(otherwise, clientv3.OpGet(c.markerKey()))...).Commit()
	})
	if err != nil {
		return nil, 0, err
	}
	now := History{ID: h.ID, Revision: resp.Header.Revision, Term: resp.Header.RaftTerm}
	if !resp.Succeeded {
		now.ID = ""
		if kvs := resp.Responses[len(otherwise)].GetResponseRange().Kvs; len(kvs) > 0 {
			now.ID = string(kvs[0].Value)
		}
	}
	if !now.follows(h) {
		c.gaveAway(age)
		return nil, 0, &Unavailable{Op: op, Err: errRestoring}
	}
	return resp, age, nil
}

// mark writes a new marker where there is none.
func (c *Catalog) newMarker(ctx context.Context) (History, error) {
	id := uuid.NewString()
	resp, err := call(ctx, "mark catalog", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return c.client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(c.markerKey()), "=", 0)).
			Then(clientv3.OpPut(c.markerKey(), id)).Commit()
	})
	if err != nil {
		return History{}, err
	}
	if !resp.Succeeded {
		return History{}, fmt.Errorf("mark catalog: %w", ErrContended)
	}
	return History{ID: id, Revision: resp.Header.Revision, Term: resp.Header.RaftTerm}, nil
}
