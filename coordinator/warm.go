package coordinator

import (
	"context"

	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// warm keeps the way to the queue of every pool that a flow names open, on leader
// and standby alike: a standby that is elected publishes at once.
func warm(ctx context.Context, flows *registry.Registry, queue Queue, prefix string) error {
	changes := flows.Subscribe()
	defer changes.Close()
	known := map[string]bool{}
	prepare := func(f *registry.Flow) {
		if f == nil {
			return
		}
		for _, pool := range f.Pools() {
			if !known[pool] {
				known[pool] = true
				queue.Prepare(taskqueue.Queue(prefix, pool))
			}
		}
	}
	flows.Each(func(f *registry.Flow) bool { prepare(f); return true })
	for {
		select {
		case <-changes.Ready():
			for _, id := range changes.Take() {
				prepare(flows.Get(id))
			}
		case <-ctx.Done():
			return nil
		}
	}
}
