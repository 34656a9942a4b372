package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Wait is Open for a process that may start before Redis does: it tries again
// while Redis can't be reached, until ctx ends. A Redis on which the protocol
// can't be kept is refused at once.
func Wait(ctx context.Context, cfg Config, log hclog.Logger) (*Ledger, error) {
	return wait(ctx, log, func() (*Ledger, error) { return Open(ctx, cfg) })
}

// WaitSet is Wait for OpenSet.
func WaitSet(ctx context.Context, cfg Config, partitions int, log hclog.Logger) (*Set, error) {
	return wait(ctx, log, func() (*Set, error) { return OpenSet(ctx, cfg, partitions) })
}

func wait[T any](ctx context.Context, log hclog.Logger, open func() (*T, error)) (*T, error) {
	t := time.NewTicker(250 * time.Millisecond)
	defer t.Stop()
	for told := false; ; told = true {
		l, err := open()
		if !errors.Is(err, ErrUnavailable) {
			return l, err
		}
		if !told {
			log.Warn("redis can't be reached yet", "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}
