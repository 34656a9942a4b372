package catalog

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// NumberError says that a deployment has another number of partitions than this
// coordinator is set to.
type NumberError struct {
	Key           string
	Recorded, Set int
}

func (e *NumberError) Error() string {
	return fmt.Sprintf("this deployment has %d partitions (etcd, key %s) and this coordinator is set to %d: set STATION_PARTITIONS to %d, or change the number while nothing runs, as deploy/SCALE.md tells",
		e.Recorded, e.Key, e.Set, e.Recorded)
}

// SettlePartitions records the number of partitions where etcd has none, and returns a
// *NumberError where it has another. A deployment that has a catalog and no number is
// older than partitions and has one. A coordinator that has been admitted before writes
// its number all the same: then etcd has lost it, and its catalog is a restored one.
// Errors: *NumberError, *Unavailable, or that of ctx.
func SettlePartitions(ctx context.Context, client *clientv3.Client, prefix string, partitions int, admitted bool) error {
	prefix = strings.TrimRight(prefix, "/")
	key, marker := prefix+"/partitions", prefix+"/catalog"
	recorded, err := recordedPartitions(ctx, client, key)
	if err == nil && recorded == 0 {
		none := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}
		if partitions > 1 && !admitted {
			none = append(none, clientv3.Compare(clientv3.CreateRevision(marker), "=", 0))
		}
		var resp *clientv3.TxnResponse
		resp, err = call(ctx, "record the number of partitions", func(ctx context.Context) (*clientv3.TxnResponse, error) {
			return client.Txn(ctx).If(none...).Then(clientv3.OpPut(key, strconv.Itoa(partitions))).Commit()
		})
		if err == nil && resp.Succeeded {
			return nil
		}
		if err == nil {
			recorded, err = recordedPartitions(ctx, client, key)
		}
	}
	if err != nil {
		return err
	}
	if recorded = max(recorded, 1); recorded != partitions {
		return &NumberError{Key: key, Recorded: recorded, Set: partitions}
	}
	return nil
}

// recordedPartitions returns 0 when there is no number.
func recordedPartitions(ctx context.Context, client *clientv3.Client, key string) (int, error) {
	resp, err := call(ctx, "read the number of partitions", func(ctx context.Context) (*clientv3.GetResponse, error) {
		return client.Get(ctx, key)
	})
	if err != nil || len(resp.Kvs) == 0 {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(resp.Kvs[0].Value)))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("key %s holds %.20q; it needs the number of partitions", key, resp.Kvs[0].Value)
	}
	return n, nil
}
