package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// askTimeout is how long one question is waited for. Meanwhile no other is asked.
const askTimeout = time.Second

// answer is what the broker said of a pool's queue.
type answer struct {
	pool  *pool
	ready int
	err   error
	at    time.Time
}

// ask asks for the depth of a pool's queue, if it is time.
func (d *dispatcher) ask(ctx context.Context, p *pool) {
	if d.Depths == nil || !p.window.ask(time.Now()) {
		return
	}
	d.asking.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		depth, err := d.Depths.Depth(ctx, p.queue)
		if errors.Is(err, taskqueue.ErrUnroutable) { // the next message has it declared again
			depth, err = taskqueue.Depth{}, nil
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.heard = append(d.heard, answer{p, depth.Ready, err, time.Now()})
		d.wake()
	})
}

// listen looks at the answers that have come.
func (d *dispatcher) listen() {
	d.mu.Lock()
	heard := d.heard
	d.heard = nil
	d.mu.Unlock()
	for _, a := range heard {
		if a.err != nil {
			a.pool.window.failed(a.at)
			continue
		}
		a.pool.window.answer(a.ready, a.at)
		if a.pool.mute {
			a.pool.mute = false
			d.Log.Info("the broker tells again how many messages wait", "queue", a.pool.queue)
		}
	}
}

// until ends when there is something to do for what is held back. While nothing is, it is
// ctx: then answers can wait.
func (d *dispatcher) until(ctx context.Context) (until context.Context, stop func()) {
	var at time.Time
	for _, p := range d.pools {
		if wake := p.window.wake(); p.turns.count > 0 && (at.IsZero() || wake.Before(at)) {
			at = wake
		}
	}
	if at.IsZero() {
		return ctx, func() {}
	}
	until, cancel := context.WithDeadline(ctx, at)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wake = cancel
	if len(d.heard) > 0 {
		cancel()
	}
	return until, cancel
}
