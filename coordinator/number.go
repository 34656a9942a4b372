package coordinator

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/shared/process"
)

// number keeps the number of partitions in etcd. Nobody is elected here before etcd has
// agreed to it.
type number struct {
	etcd       *clientv3.Client
	prefix     string
	partitions int
	agreed     chan struct{}
	agree      func()
}

func newNumber(etcd *clientv3.Client, prefix string, partitions int) *number {
	n := &number{etcd: etcd, prefix: prefix, partitions: partitions, agreed: make(chan struct{})}
	n.agree = sync.OnceFunc(func() { close(n.agreed) })
	return n
}

const (
	numberFirst = time.Second     // that a start waits for an answer
	numberAgain = 5 * time.Second // until the number is looked at again: etcd may have lost it
	numberRetry = 200 * time.Millisecond
)

// settle asks once. It fails only when there is another number, or nonsense.
func (n *number) settle(ctx context.Context) (settled bool, err error) {
	admitted := false
	select {
	case <-n.agreed:
		admitted = true
	default:
	}
	err = catalog.SettlePartitions(ctx, n.etcd, n.prefix, n.partitions, admitted)
	var away *catalog.Unavailable
	if errors.As(err, &away) || ctx.Err() != nil {
		return false, nil
	}
	if err != nil {
		return false, &process.UsageError{Err: err}
	}
	n.agree()
	return true, nil
}

// first asks before anything is begun. An etcd that does not answer is asked later.
func (n *number) first(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, numberFirst)
	defer cancel()
	_, err := n.settle(ctx)
	return err
}

func (n *number) run(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
		settled, err := n.settle(ctx)
		if err != nil {
			return err
		}
		if settled {
			t.Reset(numberAgain)
		} else {
			t.Reset(numberRetry)
		}
	}
}
