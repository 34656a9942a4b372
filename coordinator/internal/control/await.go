package control

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// lookAgain is how often a cycle is looked at whose end another coordinator may
// hear of, and lookRarely when this one is the leader: many may wait, and each look costs
// as much as the cycle itself.
const (
	lookAgain  = 200 * time.Millisecond
	lookRarely = time.Second
)

// Endings passes the ends of cycles, as this coordinator hears of them while it
// leads, to those who wait for one. The zero Endings is ready.
type Endings struct {
	mu      sync.Mutex
	waiting map[ids.FlowID]map[chan *ledger.CycleState]struct{}
}

// Ended tells that a cycle has ended. It does not wait: who misses it looks.
func (e *Endings) Ended(c ledger.CycleState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting[c.Flow]) == 0 {
		return
	}
	shared := new(c)
	for heard := range e.waiting[c.Flow] {
		select {
		case heard <- shared:
		default:
		}
	}
}

// listen returns what is heard of a flow until stop is called. What is heard belongs to
// all who listen.
func (e *Endings) listen(f ids.FlowID) (heard chan *ledger.CycleState, stop func()) {
	heard = make(chan *ledger.CycleState, 16)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting == nil {
		e.waiting = map[ids.FlowID]map[chan *ledger.CycleState]struct{}{}
	}
	if e.waiting[f] == nil {
		e.waiting[f] = map[chan *ledger.CycleState]struct{}{}
	}
	e.waiting[f][heard] = struct{}{}
	return heard, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if delete(e.waiting[f], heard); len(e.waiting[f]) == 0 {
			delete(e.waiting, f)
		}
	}
}

// RunCycle is StartCycle that answers when the cycle has ended, or with the cycle
// as it stands when it has not ended within wait. The leader is told of the end; another
// coordinator looks for it.
func (c *Control) RunCycle(ctx context.Context, id ids.FlowID, key string, wait time.Duration) (api.CycleSummary, error) {
	heard, stop := c.cfg.Endings.listen(id) // before the start: the end may be there before its answer
	defer stop()
	s, err := c.StartCycle(ctx, id, key)
	if err != nil || api.CycleEnded(s.Status) {
		return s, err
	}
	own, err := uuid.Parse(s.UUID)
	if err != nil {
		return s, err
	}
	p, began := c.of(id), time.Now()
	next := time.NewTimer(min(wait, p.patience())) // one timer for both: each that is set may wake a thread
	defer next.Stop()
	for {
		select {
		case e := <-heard:
			if e.UUID == own {
				return cycleSummary(*e, e.CompletedAt), nil
			}
		case <-next.C:
			left := wait - time.Since(began)
			if left <= 0 {
				return c.summary(ctx, id, s.Cycle)
			}
			if e, err := p.Ledger.Cycle(ctx, id, s.Cycle); err != nil {
				return s, translate(err, cycleName(id, s.Cycle))
			} else if e.Ended() {
				return cycleSummary(e, e.CompletedAt), nil
			}
			next.Reset(min(left, p.patience()))
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

// patience is how long the end of a cycle may go unheard of before it is looked for.
func (p *Part) patience() time.Duration {
	if p.Leads != nil && p.Leads() {
		return lookRarely
	}
	return lookAgain
}
