package ledger

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Holders returns the worker that holds each of these claims; "" for none.
func (l *Ledger) Holders(ctx context.Context, claims []ids.Attempt) ([]ids.WorkerID, error) {
	out := make([]ids.WorkerID, 0, len(claims))
	for part := range slices.Chunk(claims, 1000) {
		pipe := l.rdb.Pipeline()
		holders := make([]*redis.StringCmd, len(part))
		for i, c := range part {
			holders[i] = pipe.HGet(ctx, l.nodeKey(c.Flow, c.Cycle, c.Node), "worker")
		}
		if _, err := pipe.Exec(ctx); err != nil && !isNil(err) {
			return nil, fmt.Errorf("read holders of claims: %w", classify(err))
		}
		for _, h := range holders {
			out = append(out, ids.WorkerID(h.Val()))
		}
	}
	return out, nil
}
