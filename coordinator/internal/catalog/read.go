package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/ids"
)

// errReplaced says that a record's chunks are gone: a newer record exists.
var errReplaced = errors.New("record's chunks are gone")

// GetFresh reads a flow from etcd, linearizably. Errors: ErrNotFound,
// *Unavailable, one for a record that cannot be read, or that of ctx.
func (c *Catalog) GetFresh(ctx context.Context, flow ids.FlowID) (Record, error) {
	rec, mod, age, err := c.fetch(ctx, "get flow", flow)
	if err != nil {
		return Record{}, err
	}
	if rec == nil {
		return Record{}, fmt.Errorf("get flow %s: %w", flow, ErrNotFound)
	}
	c.ownFlow(age, *rec, mod)
	return *rec, nil
}

// PausedFresh reads from etcd, linearizably, whether a flow is paused and since
// when. Errors: *Unavailable, or that of ctx.
func (c *Catalog) PausedFresh(ctx context.Context, flow ids.FlowID) (since time.Time, paused bool, err error) {
	resp, _, err := c.guarded(ctx, "get pause", nil, []clientv3.Op{clientv3.OpGet(c.pauseKey(flow))}, nil)
	if err != nil {
		return time.Time{}, false, err
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return time.Time{}, false, nil
	}
	ms, err := strconv.ParseInt(string(kvs[0].Value), 10, 64)
	if err != nil { // a pause holds, whatever is written in it
		return time.Time{}, true, nil //nolint:nilerr // shown without its time
	}
	return time.UnixMilli(ms), true, nil
}

// atOnce is how many flows one transaction of Current asks for: etcd takes 128 operations
// unless it is told otherwise.
const atOnce = 60

// Current tells, linearizably, for which of these flows memory has what etcd has, pauses
// included. It reads no documents, so it suits many flows. Errors: *Unavailable, or that
// of ctx.
func (c *Catalog) Current(ctx context.Context, flows []ids.FlowID) (map[ids.FlowID]bool, error) {
	out := make(map[ids.FlowID]bool, len(flows))
	for some := range slices.Chunk(flows, atOnce) {
		ops := make([]clientv3.Op, 0, 2*len(some))
		for _, f := range some {
			ops = append(ops, clientv3.OpGet(c.flowKey(f), clientv3.WithKeysOnly()), clientv3.OpGet(c.pauseKey(f), clientv3.WithKeysOnly()))
		}
		resp, age, err := c.guarded(ctx, "compare flows", nil, ops, nil)
		if err != nil {
			return nil, err
		}
		revision := func(n int) int64 {
			if kvs := resp.Responses[n].GetResponseRange().Kvs; len(kvs) > 0 {
				return kvs[0].ModRevision
			}
			return 0
		}
		c.mu.RLock()
		for i, f := range some {
			out[f] = age == c.age && is(c.flows, f, revision(2*i)) && is(c.pauses, f, revision(2*i+1))
		}
		c.mu.RUnlock()
	}
	return out, nil
}

// is reports whether memory has a key as of a modification revision; 0 = not at all.
func is[T any](m map[ids.FlowID]entry[T], flow ids.FlowID, rev int64) bool {
	e := m[flow]
	return e.present == (rev > 0) && (rev == 0 || e.rev == rev)
}

// read is fetch for writers: a record that cannot be read counts as none, so
// that it can be replaced.
func (c *Catalog) read(ctx context.Context, op string, flow ids.FlowID) (*Record, int64, int, error) {
	rec, mod, age, err := c.fetch(ctx, op, flow)
	var bad *unreadable
	if errors.As(err, &bad) {
		c.skip(c.flowKey(flow), bad)
		return nil, mod, age, nil
	}
	return rec, mod, age, err
}

// unreadable is a value that is not a record.
type unreadable struct{ err error }

func (u *unreadable) Error() string { return u.err.Error() }
func (u *unreadable) Unwrap() error { return u.err }

// fetch reads a flow's record and its key's modification revision, nil and 0 if
// there is none, and the age of the history that says so.
func (c *Catalog) fetch(ctx context.Context, op string, flow ids.FlowID) (*Record, int64, int, error) {
	get := func(opts ...clientv3.OpOption) ([]*keyValue, int, error) {
		resp, age, err := c.guarded(ctx, op, nil, []clientv3.Op{clientv3.OpGet(c.flowKey(flow), opts...)}, nil)
		if err != nil {
			return nil, 0, err
		}
		return resp.Responses[0].GetResponseRange().Kvs, age, nil
	}
	for {
		kvs, age, err := get()
		if err != nil || len(kvs) == 0 {
			return nil, 0, age, err
		}
		rec, err := c.assemble(ctx, op, flow, kvs[0])
		if errors.Is(err, errReplaced) {
			again, _, err := get(clientv3.WithKeysOnly())
			if err != nil {
				return nil, 0, age, err
			}
			if len(again) == 0 || again[0].ModRevision != kvs[0].ModRevision {
				continue
			}
			return nil, kvs[0].ModRevision, age, &unreadable{errReplaced}
		}
		if err != nil {
			return nil, kvs[0].ModRevision, age, err
		}
		return &rec, kvs[0].ModRevision, age, nil
	}
}

// assemble decodes a record and fetches its chunks, if it has any. Errors:
// *unreadable, errReplaced, or those of call.
func (c *Catalog) assemble(ctx context.Context, op string, flow ids.FlowID, kv *mvccpb.KeyValue) (Record, error) {
	s, err := decode(flow, kv.Value)
	if err != nil {
		return Record{}, &unreadable{err}
	}
	if s.Chunks == nil {
		return s.record(), nil
	}
	var packed bytes.Buffer
	for n := range s.Chunks.Count { // one by one: answers have a size limit as well
		resp, err := call(ctx, op, func(ctx context.Context) (*clientv3.GetResponse, error) {
			return c.client.Get(ctx, c.chunkKey(flow, s.Chunks, n))
		})
		if err != nil {
			return Record{}, err
		}
		if len(resp.Kvs) == 0 {
			return Record{}, errReplaced
		}
		packed.Write(resp.Kvs[0].Value)
	}
	if packed.Len() != s.Chunks.Size {
		return Record{}, &unreadable{fmt.Errorf("chunks hold %d bytes instead of %d", packed.Len(), s.Chunks.Size)}
	}
	whole, err := decode(flow, packed.Bytes())
	if err != nil {
		return Record{}, &unreadable{err}
	}
	if whole.Chunks != nil || whole.UID != s.UID || whole.Revision != s.Revision {
		return Record{}, &unreadable{errors.New("chunks hold another record")}
	}
	return whole.record(), nil
}

func (c *Catalog) skip(key string, err error) {
	c.skipped.Add(1)
	c.log.Error("unreadable value passed over", "key", key, "error", err)
}
