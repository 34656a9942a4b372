package dispatch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

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
	// Room tells how many slots the workers of a pool have, how many workers they are, and how many
	// tasks of one message each of them reads; 0 slots are not known.
	Room(pool string) (slots, workers, pack int)
}

// Depths tells how many messages wait in a queue.
type Depths interface {
	Depth(ctx context.Context, queue string) (taskqueue.Depth, error)
}

// Source hands out offers and takes them back.
type Source interface {
	Take(ctx context.Context, limit int) []ledger.Entry
	Len() int // of what is left
}

// receipts is how many may be open at once.
const receipts = 4096

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
	Depths    Depths // nil: nobody can tell, and everything is offered at once
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
	pool     *pool
	entries  []ledger.Entry
	receipt  *taskqueue.Receipt
	patience time.Duration // how long its receipt is waited for,
	until    time.Time     // which ends then
}

// Run dispatches until ctx ends or the epoch is fenced, which it returns.
func Run(ctx context.Context, cfg Config) error {
	g, ctx := errgroup.WithContext(ctx)
	open := make(chan offer, receipts)
	d := &dispatcher{Config: cfg, open: open, backs: make(chan refusal, receipts), wake: func() {}}
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
	pools    []*pool                             // of publish
	told     struct{ published, confirmed bool } // the first of this epoch

	asking sync.WaitGroup
	mu     sync.Mutex
	heard  []answer // to questions, not looked at yet
	wake   func()   // has publish look at them
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
