package ledger

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Head is where the journal stands, and what stands beside it.
type Head struct {
	Kept, Written int64  // entries there are, and ever were; Written is 0 where the server does not tell
	Deleted       string // id of the newest record that somebody took out, "" = none; what the cap drops is not taken out
	Epoch         ids.Epoch
	Clock         Clock
}

// Head reads where the journal stands.
func (l *Ledger) Head(ctx context.Context) (Head, error) {
	var h Head
	epoch, err := l.rdb.Get(ctx, l.key("epoch")).Result()
	if err != nil && !isNil(err) {
		return h, fmt.Errorf("read epoch: %w", classify(err))
	}
	h.Epoch = ids.Epoch(number(epoch))
	if h.Clock, err = l.ReadClock(ctx); err != nil {
		return h, err
	}
	if h.Kept, err = l.rdb.XLen(ctx, l.key("journal")).Result(); err != nil {
		return h, fmt.Errorf("read journal: %w", classify(err))
	}
	if l.server.Embedded || h.Kept == 0 {
		return h, nil
	}
	info, err := l.rdb.XInfoStream(ctx, l.key("journal")).Result()
	if redis.IsPermissionError(err) {
		return h, nil // the rest can be told without
	}
	if err != nil {
		return h, fmt.Errorf("read journal: %w", classify(err))
	}
	h.Kept, h.Written = info.Length, info.EntriesAdded
	if info.MaxDeletedEntryID != "0-0" {
		h.Deleted = info.MaxDeletedEntryID
	}
	return h, nil
}
