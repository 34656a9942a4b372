// Package dispatch carries ready nodes from the outbox to their pools: publish,
// confirm, mark. It works in two stages joined by a channel, so that publishing
// never waits for a confirm: the first publishes all that is waiting and keeps
// the receipts; the second waits for receipts in their order and marks every
// offer that is confirmed by then with one script call.
//
// Under a backlog several nodes of a pool go in one message (package task): as many as a
// 2 × slots-th part of those that are ready now, 16 at most. So a worker that takes a
// message into each of its slots has no more than half of its fair share of what is ready.
// A lone node goes alone and at once, and so does each while it is not known how many slots
// there are, or one of the workers reads single tasks only. A message is one offer for the
// broker alone: its nodes have their outbox entries, and later their claims, each its own.
// A message that is lost or refused is published again, entry by entry as they are then.
//
// An offer whose receipt reports an error, or never comes, keeps its outbox
// entry and is published again at the reader's next pass. A message may thus be
// published twice; the second finds its attempt claimed and is dropped.
package dispatch

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/shared/hop"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Ledger is what dispatching writes.
type Ledger interface {
	Dispatched(ctx context.Context, epoch ids.Epoch, done []ledger.Entry) error
	Drop(ctx context.Context, epoch ids.Epoch, entryIDs ...string) error
	Hold(ctx context.Context, epoch ids.Epoch, e ledger.Entry, waitsFor, blocker string) error
	CheckEpoch(ctx context.Context, epoch ids.Epoch, publishes int) error
}

// Publisher offers messages.
type Publisher interface {
	Publish(ctx context.Context, queue, id string, body []byte) (*taskqueue.Receipt, error)
}

// Plans finds the plan of a cycle.
type Plans interface {
	OfCycle(ctx context.Context, a ids.Attempt) (*plan.Plan, error)
	// Prefetch makes OfCycle quick for all of these.
	Prefetch(ctx context.Context, attempts []ids.Attempt)
}

// Fleet knows what the live workers carry.
type Fleet interface {
	Carries(pool, nodeType string) bool
	// Room tells how many slots the workers of a pool have, and how many tasks of one
	// message each of them reads; 0 slots are not known.
	Room(pool string) (slots, pack int)
}

// Source hands out offers and takes them back.
type Source interface {
	Take(ctx context.Context, limit int) []ledger.Entry
	Len() int // of what is left
}

// window is how many receipts may be open at once.
const window = 4096

// The wait for one receipt is bounded, and the offer is then made again: a broker that
// lost the queue's leader may have lost the message. A receipt that does not come
// doubles the bound for what is published from then on, up to maxPatience, so that a
// broker that is only slow is not given ever more; a confirm brings it back.
const (
	minPatience = 5 * time.Second
	maxPatience = 30 * time.Second
)

// Config of a Dispatcher.
type Config struct {
	Ledger    Ledger
	Publisher Publisher
	Plans     Plans
	Fleet     Fleet
	Source    Source
	Done      func(entryIDs ...string) // gives entries back to the reader
	Epoch     ids.Epoch
	// Trusted says whether nobody else can have been elected by the passing of
	// time; nil = always. A broker knows no epoch, so while it is false nothing is
	// published unless the ledger has confirmed the epoch a moment before: a leader
	// that was stopped for longer than its lease, at any point, publishes nothing
	// when it wakes.
	Trusted  func() bool
	Prefix   string
	Log      hclog.Logger
	Offered  func(n int) // counts confirmed offers; may be nil
	HeldBack func(n int) // counts offers that a refusal by epoch kept from the broker; may be nil

	Partitions int // of the deployment, for the workers; 0 is 1
}

// confirmed is how long a confirmation of the epoch serves while nobody trusts
// the lease.
const confirmed = 20 * time.Millisecond

type offer struct {
	entries  []ledger.Entry
	receipt  *taskqueue.Receipt
	patience time.Duration // how long its receipt is waited for,
	until    time.Time     // which ends then
}

// Run dispatches until ctx ends or the epoch is fenced, which it returns.
func Run(ctx context.Context, cfg Config) error {
	g, ctx := errgroup.WithContext(ctx)
	open := make(chan offer, window)
	d := &dispatcher{Config: cfg, open: open, backs: make(chan refusal, window)}
	d.patience.Store(int64(minPatience))
	g.Go(func() error { defer close(open); return d.publish(ctx) })
	g.Go(func() error { return d.settle(ctx) })
	g.Go(func() error { d.giveBack(ctx); return nil })
	return g.Wait()
}

// breath is how long an offer waits that the broker refused: a queue in trouble
// refuses at once, and would be asked as fast as it can answer.
const breath = 100 * time.Millisecond

// refusal is what was not confirmed, and when it may be offered again.
type refusal struct {
	ids []string
	due time.Time
}

// giveBack returns refused entries to the reader when they have waited.
func (d *dispatcher) giveBack(ctx context.Context) {
	for {
		select {
		case r := <-d.backs:
			t := time.NewTimer(time.Until(r.due))
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
			}
			d.Done(r.ids...)
		case <-ctx.Done():
			return
		}
	}
}

type dispatcher struct {
	Config
	open     chan offer
	patience atomic.Int64 // set by settle
	backs    chan refusal
	refused  bool                                // the broker did not confirm what it got last; of settle
	down     bool                                // the last publish found no connection
	checked  time.Time                           // when the ledger last confirmed the epoch
	told     struct{ published, confirmed bool } // the first of this epoch
}

// mayPublish asks the ledger whether the epoch still holds, if that is in doubt.
func (d *dispatcher) mayPublish(ctx context.Context, waiting int) error {
	if d.Trusted == nil || d.Trusted() || time.Since(d.checked) < confirmed {
		return nil
	}
	asked := time.Now()
	if err := d.Ledger.CheckEpoch(ctx, d.Epoch, waiting); err != nil {
		return err
	}
	d.checked = asked
	return nil
}

// most is how many offers are marked with one script call, and linger the least time
// between two calls that are not full. An offer that comes alone is marked at once; in a
// stream of them a mark waits for others, since nobody waits for it: a node may be
// claimed, and may even end, before it is marked. What a crash leaves unmarked is
// offered again, and refused.
const (
	most   = 128
	linger = 10 * time.Millisecond
)

// settled is what became of offers whose receipts are there, or came too late.
type settled struct {
	confirmed []ledger.Entry
	back      []string
}

func (s *settled) add(o *offer) {
	if isDone(o.receipt) && o.receipt.Err() == nil {
		s.confirmed = append(s.confirmed, o.entries...)
	} else {
		s.back = append(s.back, idsOf(o.entries)...)
	}
}

// settle waits for the oldest open receipt, then takes along every later one
// that is there already or comes soon, and marks them together.
func (d *dispatcher) settle(ctx context.Context) error {
	var waiting *offer // read from the channel, its receipt still open
	var marked time.Time
	for {
		o := waiting
		if o == nil {
			next, more := <-d.open
			if !more {
				return nil
			}
			o = &next
		}
		if !d.await(ctx, o.receipt, o.until) {
			return nil
		}
		if isDone(o.receipt) {
			d.patience.Store(int64(minPatience))
		} else { // once for all that were published with the same patience
			d.patience.CompareAndSwap(int64(o.patience), int64(min(2*o.patience, maxPatience)))
		}
		var s settled
		s.add(o)
		waiting = d.gather(ctx, &s, marked.Add(linger))
		if err := d.mark(ctx, s.confirmed, s.back); err != nil {
			return err
		}
		marked = time.Now()
	}
}

// gather adds the next offers whose receipts are there, or come until an instant. It
// returns the one that it waited for in vain; nil when there is none.
func (d *dispatcher) gather(ctx context.Context, s *settled, until time.Time) *offer {
	var over <-chan time.Time
	for len(s.confirmed)+len(s.back) < most {
		if len(s.back) > 0 { // what was refused does not wait for others
			over = nil
		} else if left := time.Until(until); left > 0 && over == nil {
			t := time.NewTimer(left)
			defer t.Stop()
			over = t.C
		}
		o, there := d.soon(ctx, over)
		if o == nil || !there {
			return o
		}
		s.add(o)
	}
	return nil
}

// soon returns the next offer, nil when there is none, and whether its receipt is there.
// It waits for both until over; it does not wait when that is nil.
func (d *dispatcher) soon(ctx context.Context, over <-chan time.Time) (o *offer, there bool) {
	var next offer
	var more bool
	select {
	case next, more = <-d.open:
	default:
		if over == nil {
			return nil, false
		}
		select {
		case next, more = <-d.open:
		case <-over:
		case <-ctx.Done():
		}
	}
	if !more {
		return nil, false
	}
	if isDone(next.receipt) || over == nil {
		return &next, isDone(next.receipt)
	}
	select {
	case <-next.receipt.Done():
		return &next, true
	case <-over:
	case <-ctx.Done():
	}
	return &next, false
}

// await waits until the receipt is there or patience is at its end; false when
// ctx ended.
func (d *dispatcher) await(ctx context.Context, r *taskqueue.Receipt, until time.Time) bool {
	if isDone(r) {
		return true
	}
	patience := time.NewTimer(time.Until(until))
	defer patience.Stop()
	select {
	case <-r.Done():
	case <-patience.C:
	case <-ctx.Done():
		return false
	}
	return true
}

func isDone(r *taskqueue.Receipt) bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}

func (d *dispatcher) mark(ctx context.Context, confirmed []ledger.Entry, back []string) error {
	if len(back) > 0 {
		if !d.refused {
			d.refused = true
			d.Log.Warn("offers are not confirmed and will be made again", "count", len(back))
		}
		select {
		case d.backs <- refusal{back, time.Now().Add(breath)}:
		case <-ctx.Done():
		}
	}
	if len(confirmed) == 0 {
		return nil
	}
	if len(back) == 0 && d.refused {
		d.refused = false
		d.Log.Info("offers are confirmed again")
	}
	if !d.told.confirmed {
		d.told.confirmed = true
		d.Log.Debug("first offer confirmed")
	}
	for _, e := range confirmed {
		hop.Pass(hop.Confirmed, e.Attempt)
	}
	err := d.Ledger.Dispatched(ctx, d.Epoch, confirmed)
	entries := make([]string, len(confirmed))
	for i, e := range confirmed {
		hop.Pass(hop.Dispatched, e.Attempt)
		entries[i] = e.ID
	}
	d.Done(entries...)
	switch {
	case ledger.Fenced(err):
		return err
	case err != nil && ctx.Err() == nil:
		d.Log.Warn("offers can't be marked and will be made again", "count", len(confirmed), "error", err)
	case err == nil && d.Offered != nil:
		d.Offered(len(confirmed))
	}
	return nil
}
