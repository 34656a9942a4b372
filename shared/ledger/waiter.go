package ledger

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// shortWait bounds a blocking read that can't be ended from outside.
const shortWait = 50 * time.Millisecond

// overdue is how long after its time a blocking read is asked to end.
const overdue = 500 * time.Millisecond

// unblockEvery is how often a read is asked to end: the first request may come
// before the read has begun to wait.
const unblockEvery = 5 * time.Millisecond

// waiter is the connection whose blocking reads end with their context. The
// client library does not interrupt a read, and a leader that hands over must
// not sit one out; so the read is unblocked by the server, by its client id.
type waiter struct {
	mu   sync.Mutex
	conn *redis.Conn
	id   int64
}

// wait reads streams, ending early with ctx.
func (l *Ledger) wait(ctx context.Context, args *redis.XReadArgs) ([]redis.XStream, error) {
	single, ok := l.blocking.(*redis.Client)
	if !ok || l.server.Embedded {
		return l.waitInParts(ctx, args)
	}
	l.waiter.mu.Lock()
	defer l.waiter.mu.Unlock()
	if err := l.waiter.open(ctx, single); err != nil {
		return nil, err
	}
	done, ended := make(chan struct{}), make(chan struct{})
	// Redis counts the time of a blocked read by a clock that may be set back.
	bounded, cancel := context.WithTimeout(ctx, args.Block+overdue)
	defer cancel()
	stop := context.AfterFunc(bounded, func() { // no goroutine for a read that ends by itself
		defer close(ended)
		l.unblock(ctx, l.waiter.id, done)
	})
	streams, err := l.waiter.conn.XRead(context.WithoutCancel(ctx), args).Result()
	close(done)
	if !stop() {
		<-ended
	}
	if err != nil && !isNil(err) { // the connection may be gone, and its id with it
		l.waiter.close()
	}
	return streams, err
}

// waitInParts is wait for servers whose reads can't be unblocked.
func (l *Ledger) waitInParts(ctx context.Context, args *redis.XReadArgs) ([]redis.XStream, error) {
	end := time.Now().Add(args.Block)
	for {
		args.Block = max(min(time.Until(end), shortWait), time.Millisecond)
		streams, err := l.blocking.XRead(ctx, args).Result()
		if !isNil(err) || ctx.Err() != nil || !time.Now().Before(end) {
			return streams, err
		}
	}
}

// unblock asks for the end of a client's read until it is over.
func (l *Ledger) unblock(ctx context.Context, id int64, done <-chan struct{}) {
	t := time.NewTicker(unblockEvery)
	defer t.Stop()
	for {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		// An error means that redis is away; the read then ends by itself.
		_ = l.rdb.ClientUnblock(call, id).Err()
		cancel()
		select {
		case <-done:
			return
		case <-t.C:
		}
	}
}

func (w *waiter) open(ctx context.Context, c *redis.Client) error {
	if w.conn != nil {
		return nil
	}
	conn := c.Conn()
	id, err := conn.ClientID(ctx).Result()
	if err != nil {
		_ = conn.Close() // nothing was asked on it
		return err
	}
	w.conn, w.id = conn, id
	return nil
}

func (w *waiter) close() {
	if w.conn != nil {
		_ = w.conn.Close() // what it had to say is read
		w.conn = nil
	}
}
