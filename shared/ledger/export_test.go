package ledger

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Node is the server that holds the ledger's keys, to look and spoil behind the
// ledger's back.
func (l *Ledger) Node(ctx context.Context) (redis.Cmdable, error) { return l.node(ctx) }
