package catalog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Copy is a flow as the ledger has it.
type Copy struct {
	Record
	Paused   bool
	PausedAt time.Time
}

// Copies is the ledger's copy of the catalog.
type Copies interface {
	// Origin returns the history that the ledger's flows come from.
	Origin(ctx context.Context) (History, error)
	// Adopt notes the history that they come from now.
	Adopt(ctx context.Context, h History) error
	// Flows returns every flow that is not being deleted.
	Flows(ctx context.Context) ([]Copy, error)
	// Deleted tells which incarnations were deleted.
	Deleted(ctx context.Context, uids []uuid.UUID) (map[uuid.UUID]bool, error)
	// Restored tells people what was done.
	Restored(ctx context.Context, what string, flows, removed int) error
}

// found is a flow as etcd has it.
type found struct {
	rec    Record
	mod    int64
	bad    bool // can't be read
	paused bool
}

// restoration is what was done so far, in one try or several.
type restoration struct {
	rebuilt      bool // there was no marker
	put, removed int
}

// restore makes a catalog of another history the one that the ledger and this
// process know, if they know another. It returns the history to believe.
func (c *Catalog) restore(ctx context.Context, h, before History) (History, error) {
	if c.copies == nil {
		if h.ID != "" {
			return h, nil
		}
		return c.newMarker(ctx)
	}
	origin, err := c.copies.Origin(ctx)
	if err != nil {
		return h, err
	}
	if before.ID == "" && (h.follows(origin) || h.ID != "" && origin.ID == "") {
		return h, nil
	}
	c.made.rebuilt = c.made.rebuilt || h.ID == ""
	put, removed, err := c.merge(ctx, h)
	c.made.put, c.made.removed = c.made.put+put, c.made.removed+removed
	if err != nil {
		return h, err
	}
	now := h
	if h.ID == "" {
		now, err = c.newMarker(ctx)
	} else {
		now, err = c.look(ctx)
		if err == nil && now.ID != h.ID {
			err = errAnother // once more
		}
	}
	if err != nil {
		return h, err
	}
	if err := c.copies.Adopt(ctx, now); err != nil {
		return h, err
	}
	made := c.made
	c.made = restoration{}
	if made.put+made.removed == 0 && (h.ID != "" || origin.ID == "") { // somebody else did it, or a new catalog
		return now, nil
	}
	what := "etcd was restored from an older state"
	if made.rebuilt {
		what = "etcd was rebuilt"
	}
	c.log.Warn("flow catalog restored", "because", what, "flows", made.put, "removed", made.removed)
	if err := c.copies.Restored(ctx, what, made.put, made.removed); err != nil {
		c.log.Warn("the restoration can't be noted", "error", err)
	}
	return now, nil
}

// wanted lists the flows that there were, by what the ledger and this process
// know.
func (c *Catalog) wanted(ctx context.Context) (map[ids.FlowID]Copy, error) {
	copies, err := c.copies.Flows(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[ids.FlowID]Copy, len(copies))
	for _, x := range copies {
		out[x.Flow] = x
	}
	var own []Copy
	var uids []uuid.UUID
	c.mu.RLock()
	for f, e := range c.flows {
		if !e.present {
			continue
		}
		x, known := out[f]
		switch {
		case known && x.UID == e.val.UID && x.Revision <= e.val.Revision: // it knows more of the same
			x.Record = e.val.Record()
			out[f] = x
		case !known:
			p := c.pauses[f]
			own, uids = append(own, Copy{Record: e.val.Record(), Paused: p.present, PausedAt: p.val}), append(uids, e.val.UID)
		}
	}
	c.mu.RUnlock()
	deleted, err := c.copies.Deleted(ctx, uids)
	if err != nil {
		return nil, err
	}
	for _, x := range own {
		if !deleted[x.UID] {
			out[x.Flow] = x
		}
	}
	return out, nil
}

// merge writes into etcd what it lacks.
func (c *Catalog) merge(ctx context.Context, h History) (put, removed int, err error) {
	wanted, err := c.wanted(ctx)
	if err != nil {
		return 0, 0, err
	}
	have, err := c.inventory(ctx)
	if err != nil {
		return 0, 0, err
	}
	guard := clientv3.Compare(clientv3.CreateRevision(c.markerKey()), "=", 0)
	if h.ID != "" {
		guard = clientv3.Compare(clientv3.Value(c.markerKey()), "=", h.ID)
	}
	for f, x := range wanted {
		now := have[f]
		if now.bad || now.rec.UID != x.UID || now.rec.Revision < x.Revision {
			rev, err := c.commit(ctx, x.Record, now.mod, guard)
			if err != nil {
				return put, removed, err
			}
			if rev == 0 {
				return put, removed, fmt.Errorf("restore %s: %w", f, ErrContended)
			}
			put++
		}
		if now.paused == x.Paused {
			continue
		}
		op := clientv3.OpDelete(c.pauseKey(f))
		if x.Paused {
			op = clientv3.OpPut(c.pauseKey(f), strconv.FormatInt(x.PausedAt.UnixMilli(), 10))
		}
		if err := c.only(ctx, guard, op); err != nil {
			return put, removed, err
		}
	}
	var uids []uuid.UUID
	for _, x := range have {
		uids = append(uids, x.rec.UID)
	}
	deleted, err := c.copies.Deleted(ctx, uids)
	if err != nil {
		return put, removed, err
	}
	for f, x := range have {
		if _, kept := wanted[f]; kept || !deleted[x.rec.UID] {
			continue
		}
		if err := c.only(ctx, guard, clientv3.OpDelete(c.flowKey(f)), clientv3.OpDelete(c.pauseKey(f)),
			clientv3.OpDelete(c.chunksOf(f), clientv3.WithPrefix())); err != nil {
			return put, removed, err
		}
		removed++
	}
	return put, removed, nil
}

// only makes changes if the guard holds.
func (c *Catalog) only(ctx context.Context, guard clientv3.Cmp, ops ...clientv3.Op) error {
	resp, err := call(ctx, "restore flows", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return c.client.Txn(ctx).If(guard).Then(ops...).Commit()
	})
	if err == nil && !resp.Succeeded {
		err = fmt.Errorf("restore flows: %w", ErrContended)
	}
	return err
}

// inventory reads every flow that etcd has.
func (c *Catalog) inventory(ctx context.Context) (map[ids.FlowID]found, error) {
	out := map[ids.FlowID]found{}
	err := c.each(ctx, c.flowsKey(), 0, nil, func(key string, kv *keyValue) error {
		f, err := ids.ParseFlowID(key[len(c.flowsKey()):])
		if err != nil {
			return nil //nolint:nilerr // not ours
		}
		rec, err := c.assemble(ctx, "restore flows", f, kv)
		var bad *unreadable
		if err != nil && !errors.As(err, &bad) && !errors.Is(err, errReplaced) {
			return err
		}
		out[f] = found{rec: rec, mod: kv.ModRevision, bad: err != nil}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, c.each(ctx, c.pausesKey(), 0, nil, func(key string, _ *keyValue) error {
		f := ids.FlowID(key[len(c.pausesKey()):])
		x := out[f]
		x.paused = true
		out[f] = x
		return nil
	})
}
