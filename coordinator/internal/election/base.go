package election

import (
	"context"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Surpass raises the epoch base when an epoch was seen that no leader elected from
// this etcd can have had: it is higher than the base and etcd's revision together.
// Then etcd's history is a younger one than that which the epoch came from, and
// every leadership would be fenced until its revisions had caught up. It reports
// whether it raised the base. An epoch that this etcd can have given is a
// successor's, and changes nothing.
//
// The transaction compares the base that was read, so that of several coordinators
// one raises it, and a base never goes down.
func (e *Elector) Surpass(ctx context.Context, seen ids.Epoch) (bool, error) {
	resp, err := e.cfg.Client.Get(ctx, e.keys.epochBase())
	if err != nil {
		return false, fmt.Errorf("read epoch base: %w", err)
	}
	base, err := parseBase(resp.Kvs)
	if err != nil {
		return false, err
	}
	if seen <= base+ids.Epoch(resp.Header.Revision) {
		return false, nil
	}
	var known int64
	if len(resp.Kvs) > 0 {
		known = resp.Kvs[0].ModRevision
	}
	txn, err := e.cfg.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(e.keys.epochBase()), "=", known)).
		Then(clientv3.OpPut(e.keys.epochBase(), strconv.FormatInt(int64(seen), 10))).
		Commit()
	if err != nil {
		return false, fmt.Errorf("raise epoch base: %w", err)
	}
	if txn.Succeeded {
		e.cfg.Log.Error("etcd's history is younger than the ledger's: epoch base raised", "from", int64(base), "to", int64(seen), "etcd_revision", resp.Header.Revision)
	}
	return txn.Succeeded, nil
}
