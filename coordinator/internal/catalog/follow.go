package catalog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Pages of the load. The first is so small that its answer is below 32 MiB when all
// records are as large as one key may be; the next ones grow as long as the records that
// came are small, because etcd 3.4 goes through all keys that are left for each page: a
// hundred thousand flows in pages of 32 kept it busy for half a minute.
const (
	page      = 32
	mostPage  = 2048
	pageBytes = 8 << 20
)

// many is how many flows make the first load wait (see Config.Calm).
const many = 2000

// nextPage is how many records to ask for after an answer.
func nextPage(asked int64, got []*keyValue) int64 {
	most := 1
	for _, kv := range got {
		most = max(most, len(kv.Value))
	}
	return max(page, min(4*asked, mostPage, int64(pageBytes/most)))
}

// Run loads all records and follows changes until ctx ends; then it returns nil.
// After a break it loads again. Only one call may run at a time.
func (c *Catalog) Run(ctx context.Context) error {
	away := false
	for ctx.Err() == nil {
		var revision int64
		err := c.admit(ctx)
		if err == nil {
			revision, err = c.load(ctx)
		}
		if err == nil {
			if away {
				away = false
				c.log.Info("flow catalog is up to date again")
			}
			err = c.follow(ctx, revision+1)
		}
		if ctx.Err() != nil {
			break
		}
		if !away {
			away = true
			c.log.Warn("flow catalog is not followed at present", "error", err)
		}
		wait(ctx, 200*time.Millisecond)
	}
	return nil
}

// load reads all records and pauses at one revision and drops from memory what
// is no longer there.
func (c *Catalog) load(ctx context.Context) (revision int64, err error) {
	c.beginLoad()
	calm := c.calm
	c.calm = nil
	for _, prefix := range []string{c.flowsKey(), c.pausesKey()} {
		err := c.each(ctx, prefix, revision, calm, func(key string, kv *keyValue) error {
			defer c.see(key)
			return c.apply(ctx, kv)
		}, &revision)
		if err != nil {
			return 0, err
		}
	}
	if h, age := c.believed(); revision < h.Revision {
		c.gaveAway(age)
		return 0, errAnother
	}
	c.finishLoad(revision)
	return revision, nil
}

type keyValue = mvccpb.KeyValue

// each reads every key under a prefix, at one revision if one is given, and tells
// the revision of the first answer to whom it concerns. When there are many it
// calls calm, which may be nil, after the first page.
func (c *Catalog) each(ctx context.Context, prefix string, revision int64, calm func(ctx context.Context), do func(key string, kv *keyValue) error, at ...*int64) error {
	type answer struct {
		resp *clientv3.GetResponse
		err  error
	}
	end := clientv3.GetPrefixRangeEnd(prefix)
	ask := func(from string, limit int64, first func(ctx context.Context)) <-chan answer {
		got := make(chan answer, 1)
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(limit)}
		if revision > 0 {
			opts = append(opts, clientv3.WithRev(revision))
		}
		go func() {
			if first != nil {
				first(ctx)
			}
			resp, err := call(ctx, "load flows", func(ctx context.Context) (*clientv3.GetResponse, error) {
				return c.client.Get(ctx, from, opts...)
			})
			got <- answer{resp, err}
		}()
		return got
	}
	limit := int64(page)
	for next := ask(prefix, limit, nil); next != nil; {
		a := <-next
		if next = nil; a.err != nil {
			return a.err
		}
		kvs := a.resp.Kvs
		if revision == 0 {
			revision = a.resp.Header.Revision
			for _, r := range at {
				*r = revision
			}
		}
		if a.resp.More { // etcd reads the next page while this one is worked on
			limit = nextPage(limit, kvs)
			var first func(ctx context.Context)
			if a.resp.Count > many { // of this page and what is left
				first, calm = calm, nil
			}
			next = ask(string(kvs[len(kvs)-1].Key)+"\x00", limit, first)
		}
		for _, kv := range kvs {
			if err := do(string(kv.Key), kv); err != nil {
				if next != nil {
					<-next
				}
				return err
			}
		}
	}
	return nil
}

// glance is how often etcd's history is looked at: a watch alone would wait for
// ever behind a revision that a young etcd has yet to reach.
const glance = time.Second

// follow applies changes until a watch breaks or ctx ends.
func (c *Catalog) follow(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithRev(revision)}
	flows := c.client.Watch(ctx, c.flowsKey(), opts...)
	pauses := c.client.Watch(ctx, c.pausesKey(), opts...)
	again := time.NewTicker(glance)
	defer again.Stop()
	for {
		var (
			resp clientv3.WatchResponse
			ok   bool
		)
		select {
		case resp, ok = <-flows:
		case resp, ok = <-pauses:
		case <-again.C:
			if err := c.still(ctx); err != nil {
				return err
			}
			continue
		}
		if !ok {
			return errors.New("watch ended")
		}
		if err := resp.Err(); err != nil {
			return fmt.Errorf("watch flows: %w", err)
		}
		for _, ev := range resp.Events {
			if ev.Type == clientv3.EventTypeDelete {
				c.applyDelete(string(ev.Kv.Key), ev.Kv.ModRevision)
				continue
			}
			if err := c.apply(ctx, ev.Kv); err != nil {
				return err
			}
		}
	}
}

// apply takes one key's value into memory. What cannot be read is passed over;
// an error means that etcd is away.
func (c *Catalog) apply(ctx context.Context, kv *mvccpb.KeyValue) error {
	key := string(kv.Key)
	if name, ok := strings.CutPrefix(key, c.pausesKey()); ok {
		flow, err := ids.ParseFlowID(name)
		if err != nil {
			c.skip(key, err)
			return nil
		}
		ms, err := strconv.ParseInt(string(kv.Value), 10, 64)
		if err != nil { // a pause holds, whatever is written in it
			c.skip(key, err)
		}
		c.setPause(flow, time.UnixMilli(ms), kv.ModRevision)
		return nil
	}
	flow, err := ids.ParseFlowID(strings.TrimPrefix(key, c.flowsKey()))
	if err != nil {
		c.skip(key, err)
		return nil
	}
	rec, err := c.assemble(ctx, "load flows", flow, kv)
	var bad *unreadable
	switch {
	case errors.As(err, &bad):
		c.skip(key, bad)
	case errors.Is(err, errReplaced): // the event of the newer record follows
	case err != nil:
		return err
	default:
		c.setFlow(rec, kv.ModRevision)
	}
	return nil
}

func (c *Catalog) applyDelete(key string, revision int64) {
	if name, ok := strings.CutPrefix(key, c.pausesKey()); ok {
		c.forgetPause(ids.FlowID(name), revision)
		return
	}
	c.forgetFlow(ids.FlowID(strings.TrimPrefix(key, c.flowsKey())), revision)
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
