package coordinator

import (
	"context"
	"sync"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// A load of very many flows goes on when the first offers of a leader are out, or when it is
// plain that this coordinator does not lead yet.
const (
	afterElection = 100 * time.Millisecond
	anyway        = 400 * time.Millisecond
)

// calmed returns what waits until this coordinator has started but for its flows. It listens to
// cfg.Elected.
func calmed(cfg *Config) func(ctx context.Context) {
	led := make(chan struct{})
	leads, told := sync.OnceFunc(func() { close(led) }), cfg.Elected
	cfg.Elected = func(epoch ids.Epoch) {
		leads()
		if told != nil {
			told(epoch)
		}
	}
	return func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, anyway)
		defer cancel()
		select {
		case <-led:
			ctx, cancel := context.WithTimeout(ctx, afterElection)
			defer cancel()
			<-ctx.Done()
		case <-ctx.Done():
		}
	}
}
