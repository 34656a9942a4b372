package ledger

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// node is the server that holds the ledger's keys. A cluster client sends a
// command without a key to any server, which then tells of itself.
func (l *Ledger) node(ctx context.Context) (redis.Cmdable, error) {
	if cluster, ok := l.rdb.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, l.prefix)
	}
	return l.rdb, nil
}

// info asks the ledger's server about itself.
func (l *Ledger) info(ctx context.Context, sections ...string) (string, error) {
	node, err := l.node(ctx)
	if err != nil {
		return "", err
	}
	return node.Info(ctx, sections...).Result()
}
