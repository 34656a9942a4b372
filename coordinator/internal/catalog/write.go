package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tradingflow/weather-station/shared/failpoint"
	"github.com/tradingflow/weather-station/shared/ids"
)

// putTries bounds the compare-and-set loop of Put.
const putTries = 16

// Put creates or replaces a flow. build is called with the current record, nil
// if there is none, and answers the wanted Document, Anchor, Past and AllowUnknown;
// the rest of its answer is ignored. It is called again when another writer was
// faster, so it must have no effects. Its error ends the Put unchanged.
//
// A document and options equal to the current ones write nothing: changed is
// false and rec is the current record. Errors: ErrTooLarge, ErrContended,
// *Unavailable, or those of build and ctx.
func (c *Catalog) Put(ctx context.Context, flow ids.FlowID, build func(old *Record) (Record, error)) (rec Record, changed bool, err error) {
	if _, err := ids.ParseFlowID(string(flow)); err != nil {
		return Record{}, false, err
	}
	for range putTries {
		old, mod, age, err := c.read(ctx, "put flow", flow)
		if err != nil {
			return Record{}, false, err
		}
		rec, err = build(old)
		if err != nil {
			return Record{}, false, err
		}
		if len(rec.Document) > MaxDocument {
			return Record{}, false, fmt.Errorf("%w: %d bytes; at most %d are allowed", ErrTooLarge, len(rec.Document), MaxDocument)
		}
		if !json.Valid(rec.Document) {
			return Record{}, false, errors.New("put flow: the document is not valid JSON")
		}
		now := time.UnixMilli(c.now().UnixMilli())
		rec.Flow, rec.UpdatedAt = flow, now
		if old != nil {
			if old.same(rec) {
				c.ownFlow(age, *old, mod)
				return *old, false, nil
			}
			rec.UID, rec.Revision, rec.CreatedAt = old.UID, old.Revision+1, old.CreatedAt
		} else {
			rec.UID, rec.Revision, rec.CreatedAt = uuid.New(), 1, now
		}
		rec.Anchor = time.UnixMilli(rec.Anchor.UnixMilli())
		h, _ := c.believed()
		rev, err := c.commit(ctx, rec, mod, clientv3.Compare(clientv3.Value(c.markerKey()), "=", h.ID))
		if err != nil {
			return Record{}, false, err
		}
		if rev > 0 {
			c.ownFlow(age, rec, rev)
			return rec, true, nil
		}
	}
	return Record{}, false, ErrContended
}

// commit writes a record if the flow's key still has the given modification
// revision and the guard holds. It answers 0 if not.
func (c *Catalog) commit(ctx context.Context, rec Record, mod int64, guard clientv3.Cmp) (revision int64, err error) {
	val, set, chunks, err := encode(rec, uuid.New)
	if err != nil {
		return 0, err
	}
	ops := []clientv3.Op{clientv3.OpPut(c.flowKey(rec.Flow), string(val))}
	all := c.chunksOf(rec.Flow)
	if set == nil {
		ops = append(ops, clientv3.OpDelete(all, clientv3.WithPrefix()))
	} else {
		mine := c.setKey(rec.Flow, set)
		ops = append(ops,
			clientv3.OpDelete(all, clientv3.WithRange(mine)),
			clientv3.OpDelete(clientv3.GetPrefixRangeEnd(mine), clientv3.WithRange(clientv3.GetPrefixRangeEnd(all))))
	}
	for n, chunk := range chunks {
		if _, err := call(ctx, "put flow", func(ctx context.Context) (*clientv3.PutResponse, error) {
			return c.client.Put(ctx, c.chunkKey(rec.Flow, set, n), string(chunk))
		}); err != nil {
			return 0, err
		}
	}
	failpoint.Before("catalog_put")
	resp, err := call(ctx, "put flow", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return c.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(c.flowKey(rec.Flow)), "=", mod), guard).
			Then(ops...).Commit()
	})
	failpoint.After("catalog_put")
	if err != nil {
		return 0, err
	}
	if resp.Succeeded {
		return resp.Header.Revision, nil
	}
	if set != nil {
		if _, err := call(ctx, "put flow", func(ctx context.Context) (*clientv3.DeleteResponse, error) {
			return c.client.Delete(ctx, c.setKey(rec.Flow, set), clientv3.WithPrefix())
		}); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// Delete removes a flow with its pause. It reports whether the flow existed.
func (c *Catalog) Delete(ctx context.Context, flow ids.FlowID) (existed bool, err error) {
	if _, err := ids.ParseFlowID(string(flow)); err != nil {
		return false, err
	}
	resp, age, err := c.guarded(ctx, "delete flow", nil, []clientv3.Op{
		clientv3.OpDelete(c.flowKey(flow)),
		clientv3.OpDelete(c.pauseKey(flow)),
		clientv3.OpDelete(c.chunksOf(flow), clientv3.WithPrefix()),
	}, nil)
	if err != nil {
		return false, err
	}
	existed = resp.Responses[0].GetResponseDeleteRange().Deleted > 0
	if existed {
		c.ownFlowDelete(age, flow, resp.Header.Revision)
	}
	if resp.Responses[1].GetResponseDeleteRange().Deleted > 0 {
		c.ownPauseDelete(age, flow, resp.Header.Revision)
	}
	return existed, nil
}

// Pause marks a flow as paused. changed is false if it was paused already.
// Errors: ErrNotFound, *Unavailable, or that of ctx.
func (c *Catalog) Pause(ctx context.Context, flow ids.FlowID) (changed bool, err error) {
	since := time.UnixMilli(c.now().UnixMilli())
	return c.setPaused(ctx, "pause flow", flow, since,
		clientv3.Compare(clientv3.CreateRevision(c.pauseKey(flow)), "=", 0),
		clientv3.OpPut(c.pauseKey(flow), strconv.FormatInt(since.UnixMilli(), 10)))
}

// Resume ends a pause. changed is false if the flow was not paused. Errors:
// ErrNotFound, *Unavailable, or that of ctx.
func (c *Catalog) Resume(ctx context.Context, flow ids.FlowID) (changed bool, err error) {
	return c.setPaused(ctx, "resume flow", flow, time.Time{},
		clientv3.Compare(clientv3.CreateRevision(c.pauseKey(flow)), ">", 0),
		clientv3.OpDelete(c.pauseKey(flow)))
}

// setPaused applies op if the flow exists and cond holds. A zero since means
// resumed.
func (c *Catalog) setPaused(ctx context.Context, what string, flow ids.FlowID, since time.Time, cond clientv3.Cmp, op clientv3.Op) (bool, error) {
	if _, err := ids.ParseFlowID(string(flow)); err != nil {
		return false, err
	}
	resp, age, err := c.guarded(ctx, what, []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(c.flowKey(flow)), ">", 0), cond},
		[]clientv3.Op{op}, []clientv3.Op{clientv3.OpGet(c.flowKey(flow), clientv3.WithKeysOnly())})
	switch {
	case err != nil:
		return false, err
	case !resp.Succeeded && resp.Responses[0].GetResponseRange().Count == 0:
		return false, fmt.Errorf("%s %s: %w", what, flow, ErrNotFound)
	case !resp.Succeeded:
		return false, nil
	case since.IsZero():
		c.ownPauseDelete(age, flow, resp.Header.Revision)
	default:
		c.ownPause(age, flow, since, resp.Header.Revision)
	}
	return true, nil
}

// permanent reports whether a repetition of the request must fail again.
func permanent(err error) bool {
	if errors.Is(err, rpctypes.ErrRequestTooLarge) || errors.Is(err, rpctypes.ErrPermissionDenied) {
		return true
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
		return true
	}
	return false
}
