package reconcile

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

const (
	reoffer  = 25 * time.Millisecond // how long such an offer may stand unclaimed in no queue
	reoffers = 10                    // how often it is made again; then the audit looks after it
	copies   = 16                    // most offers made at once
)

// OfferLedger is what the keeper of such offers reads and writes.
type OfferLedger interface {
	Nodes(ctx context.Context, f ids.FlowID, n int64, nodes []ids.NodeID) ([]ledger.NodeState, error)
	OfferAgain(ctx context.Context, epoch ids.Epoch, a ids.Attempt, why string) (bool, error)
}

// OffersConfig configures Offers.
type OffersConfig struct {
	Ledger OfferLedger
	Plans  Plans
	Depths Depths
	Prefix string
	Epoch  ids.Epoch
	Log    hclog.Logger
}

// Offers looks after the offers that follow the loss of a frozen worker. Its process
// stands still, but the broker goes on handing messages to its free slots until
// heartbeats fail, and one of them may be the very offer that is to replace it. So
// while such an offer is dispatched, unclaimed and in no queue, it is made again, every
// time to the next slot in turn. The slots of a process are next to each other in turn,
// so it is made twice, then four times at once and so on: 64 frozen slots are behind it
// after six looks, and the offers that too many slots hear of are refused at the claim.
// What other offers use up at the same time is theirs in common.
type Offers struct {
	cfg  OffersConfig
	wake chan struct{}

	mu   sync.Mutex
	open map[ids.Attempt]*watched
}

type watched struct {
	dispatched bool // at the last look
	made       int
	looks      int
}

// NewOffers makes a keeper of no offers.
func NewOffers(cfg OffersConfig) *Offers {
	return &Offers{cfg: cfg, wake: make(chan struct{}, 1), open: map[ids.Attempt]*watched{}}
}

// Watch begins to look after the offer of an attempt.
func (o *Offers) Watch(a ids.Attempt) {
	o.mu.Lock()
	o.open[a] = &watched{}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Run looks until ctx ends or the epoch is fenced, which it returns. It sleeps while
// there is nothing to look after.
func (o *Offers) Run(ctx context.Context) error {
	t := time.NewTicker(reoffer)
	defer t.Stop()
	for {
		tick := t.C
		o.mu.Lock()
		if len(o.open) == 0 {
			tick = nil
		}
		o.mu.Unlock()
		select {
		case <-tick:
			if err := o.pass(ctx); ledger.Fenced(err) {
				return err
			}
		case <-o.wake:
			t.Reset(reoffer)
		case <-ctx.Done():
			return nil
		}
	}
}

func (o *Offers) pass(ctx context.Context) error {
	o.mu.Lock()
	open := make(map[ids.Attempt]*watched, len(o.open))
	for a, w := range o.open {
		open[a] = w
	}
	o.mu.Unlock()
	empty := map[string]bool{} // by queue, looked at once a pass
	for a, w := range open {
		done, err := o.look(ctx, a, w, len(open), empty)
		if err != nil {
			return err
		}
		if done {
			o.mu.Lock()
			delete(o.open, a)
			o.mu.Unlock()
		}
	}
	return nil
}

// look reports whether an offer needs no more looking after.
func (o *Offers) look(ctx context.Context, a ids.Attempt, w *watched, open int, empty map[string]bool) (bool, error) {
	if w.looks++; w.looks > 10*reoffers {
		return true, nil
	}
	states, err := o.cfg.Ledger.Nodes(ctx, a.Flow, a.Cycle, []ids.NodeID{a.Node})
	if err != nil {
		return false, err
	}
	s := states[0]
	switch {
	case s.Attempt != a.N || s.Status != task.Dispatched && s.Status != task.Ready || s.Blocker != "":
		return true, nil
	case s.Status == task.Ready, !w.dispatched:
		w.dispatched = s.Status == task.Dispatched
		return false, nil
	}
	p, err := o.cfg.Plans.OfCycle(ctx, a)
	if err != nil || p.Node(a.Node) == nil {
		return true, nil //nolint:nilerr // the audit looks after it
	}
	queue := taskqueue.Queue(o.cfg.Prefix, p.Node(a.Node).Pool)
	none, looked := empty[queue]
	if !looked {
		d, err := o.cfg.Depths.Depth(ctx, queue)
		none = err == nil && d.Ready == 0
		empty[queue] = none
	}
	if !none {
		return false, nil // it waits its turn
	}
	w.dispatched, w.made = false, w.made+1
	if w.made > reoffers {
		return true, nil
	}
	o.cfg.Log.Debug("offer is made again: a frozen worker may have it", "flow", a.Flow, "cycle", a.Cycle, "node", a.Node)
	for range max(1, min(copies, 1<<w.made)/open) {
		offered, err := o.cfg.Ledger.OfferAgain(ctx, o.cfg.Epoch, a, "swallowed")
		if err != nil || !offered {
			return false, err
		}
	}
	return false, nil
}
