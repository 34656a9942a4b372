package intake

import (
	"context"

	"github.com/tradingflow/weather-station/shared/task"
)

// Partitions takes over how many partitions there are, and reports whether a task that
// carries a number counts.
type Partitions interface {
	Heed(ctx context.Context, partitions int) (counts bool, err error)
}

// heed makes sure that the ledger of the task's partition is the one that is asked.
func (s *server) heed(t task.Task) (counts bool, err error) {
	if s.Partitions == nil {
		return true, nil
	}
	err = s.insist(func() (err error) {
		counts, err = s.Partitions.Heed(s.work, t.Partitions)
		return err
	})
	return counts, err
}
