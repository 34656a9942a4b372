package intake

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/failpoint"
	"github.com/tradingflow/weather-station/shared/hop"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
	"github.com/tradingflow/weather-station/worker/internal/claims"
	"github.com/tradingflow/weather-station/worker/internal/hands"
	"github.com/tradingflow/weather-station/worker/internal/once"
	"github.com/tradingflow/weather-station/worker/internal/settle"
	"github.com/tradingflow/weather-station/worker/node"
)

// Ledger grants claims.
type Ledger interface {
	Claim(ctx context.Context, q ledger.ClaimRequest) (ledger.Claim, ledger.Refusal, error)
	Decline(ctx context.Context, a ids.Attempt, w ids.WorkerID, delay time.Duration) error
}

// Source makes slots.
type Source interface {
	Slot(queue string) (taskqueue.Slot, error)
}

// Claims keeps claims alive.
type Claims interface {
	Hold(ctx context.Context, a ids.Attempt, token uuid.UUID, sent time.Time) (context.Context, func())
}

// Once keeps at-most-once nodes from being started twice.
type Once interface {
	// Take returns nil when the claim may start its node and once.ErrTaken when
	// another may have. Any other error says that it is not known, as ctx ended or
	// stop was closed first.
	Take(ctx context.Context, c ledger.Claim, stop <-chan struct{}) error
}

// declineDelay is how long an offer waits that met a worker without its type.
const declineDelay = 250 * time.Millisecond

// ErrDraining is the cause for which attempts end when the worker stops and its
// grace is over.
var ErrDraining = errors.New("worker is shutting down")

// ErrKilled is the cause for which everything ends when the worker's death is played.
var ErrKilled = errors.New("worker was killed")

// Config of an Intake.
type Config struct {
	Ledger   Ledger
	Source   Source
	Claims   Claims
	Once     Once
	Runner   *attempt.Runner
	Settler  *settle.Settler
	Registry *node.Registry
	Queue    string
	Worker   ids.WorkerID
	Slots    int
	Lease    time.Duration
	EarlyAck time.Duration   // time of work after which a message is acked
	Grace    time.Duration   // time that attempts get to finish after a stop
	Killed   <-chan struct{} // closed when all is to end at once, unreported; nil = never
	Log      hclog.Logger
	Ran      func(status string, took time.Duration) // counts attempts; may be nil

	Ahead      Ahead         // nil = no message waits here for a place, but with others
	Partitions Partitions    // nil = nobody asks
	QueueOnly  bool          // every node is taken from the queue
	Brief      time.Duration // nodes of types that take no longer may come several with one report; 0 = none
}

// lastWords is how long reporting goes on after the grace: the patience with
// handlers, and time for the ledger to answer.
const lastWords = attempt.Patience + 3*time.Second

// Run takes tasks until ctx ends, then lets what runs finish within the grace,
// ends the rest and hands it back. It returns an error when the source ended by
// itself.
func Run(ctx context.Context, cfg Config) error {
	taking, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	work, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	reports, hush := context.WithCancelCause(context.WithoutCancel(ctx))
	defer hush(nil)
	over := make(chan struct{})
	var watch sync.WaitGroup
	defer watch.Wait()
	defer close(over)
	watch.Go(func() {
		select {
		case <-cfg.Killed:
			hush(ErrKilled) // first: an attempt that ends now reports nothing
			end(ErrKilled)
			stop(ErrKilled)
		case <-over:
		}
	})
	var pool hands.Pool
	defer pool.Close()
	runner := *cfg.Runner
	runner.Go = pool.Go
	cfg.Runner = &runner
	var slots sync.WaitGroup
	var declined sync.Map
	crew, n, brief := newCrew(cfg.Slots), cfg.Slots, &brevity{most: cfg.Brief}
	var ahead *lookout
	if cfg.Ahead != nil {
		ahead, n = newLookout(cfg.Ahead, cfg.Queue, cfg.Slots, crew.deep, cfg.Log), 2*n
		crew.brisk = ahead.brisk
		looking, end := context.WithCancel(taking)
		defer end()
		watch.Go(func() { ahead.run(looking) })
	}
	for range n {
		slot, err := cfg.Source.Slot(cfg.Queue)
		if err != nil {
			stop(err)
			break
		}
		s := &server{Config: cfg, slot: slot, declined: &declined, crew: crew, brief: brief, lookout: ahead, hands: &pool, taking: taking, work: work, reports: reports}
		slots.Go(func() {
			if err := s.serve(); err != nil {
				stop(err) // without its source no slot can go on
			}
		})
	}
	done := make(chan struct{})
	go func() { slots.Wait(); close(done) }()
	if !within(done, taking.Done(), nil) {
		cfg.Log.Info("draining: nothing new is taken", "grace", cfg.Grace)
		grace := time.NewTimer(cfg.Grace)
		defer grace.Stop()
		if !within(done, nil, grace.C) {
			cfg.Log.Warn("grace is over; what still runs is handed back")
			end(ErrDraining)
			last := time.NewTimer(lastWords)
			defer last.Stop()
			if !within(done, nil, last.C) {
				hush(ErrDraining)
				<-done
			}
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(taking)
}

// within reports whether done comes before the others.
func within(done, stop <-chan struct{}, over <-chan time.Time) bool {
	select {
	case <-done:
		return true
	case <-stop:
	case <-over:
	}
	return false
}

// server serves one slot.
type server struct {
	Config
	slot     taskqueue.Slot
	held     ids.Attempt // of the message in hand
	declined *sync.Map   // node types, of all slots
	crew     *crew       // of all slots
	brief    *brevity    // of all slots
	lookout  *lookout    // of all slots; nil = none
	hands    *hands.Pool // of all slots
	placed   bool        // the slot has a place for its message
	crowded  bool        // it found none for the last one

	taking  context.Context //nolint:containedctx // its end stops the taking of tasks,
	work    context.Context //nolint:containedctx // later this one's the attempts,
	reports context.Context //nolint:containedctx // and at last this one's their reports
}

func (s *server) serve() error {
	defer func() {
		if err := s.slot.Close(); err != nil {
			s.Log.Debug("slot can't be closed", "error", err)
		}
	}()
	for {
		d, err := s.next()
		if err != nil {
			if s.taking.Err() != nil {
				return nil
			}
			return err
		}
		how := requeue // it came as taking ended, or all else, which comes first when death is played
		if s.taking.Err() == nil && s.reports.Err() == nil {
			how = s.handle(d)
		}
		s.leave()
		switch how {
		case ack:
			s.end(d.Ack())
			hop.Pass(hop.Acked, s.held)
		case requeue:
			s.end(d.Requeue())
		case ended:
		}
	}
}

// ending is what is to become of a message.
type ending int

const (
	ack     ending = iota // its work is done, or there was none
	requeue               // another worker is to have it
	ended                 // it is ended already
)

// end passes over what is to be expected: a delivery whose connection is gone is
// delivered again, and refused by the ledger then.
func (s *server) end(err error) {
	if err != nil && !errors.Is(err, taskqueue.ErrStale) {
		s.Log.Debug("message can't be ended", "error", err)
	}
}

// about makes the logger of one attempt. Most attempts have nothing to tell, and a
// logger costs more than all else that is done here for one.
func (s *server) about(a ids.Attempt) hclog.Logger {
	return s.Log.With("flow", a.Flow, "cycle", a.Cycle, "node", a.Node, "attempt", a.N)
}

// tell says once per type that it is declined: offers come again and again.
func (s *server) tell(a ids.Attempt, nodeType string) {
	level := hclog.Warn
	if _, again := s.declined.LoadOrStore(nodeType, true); again {
		level = hclog.Debug
	}
	s.about(a).Log(level, "node type is not carried here; declined", "type", nodeType)
}

// insist asks the ledger until it answers or taking ends. A call that is out by
// then is let finish, since its effect would not be known otherwise.
func (s *server) insist(do func() error) error { return settle.Insist(s.taking, do) }

// unclaimed decides about a task that the ledger gave no answer for.
func (s *server) unclaimed(err error, a ids.Attempt) ending {
	if s.taking.Err() != nil {
		return requeue
	}
	// Handed back, it would come again at once and fail again. If the claim was
	// granted all the same, its lease runs out; if not, the node is offered again.
	s.about(a).Error("task can't be claimed", "error", err)
	return ack
}

// start runs the attempt, if it may. An at-most-once node needs its once-key.
func (s *server) start(held context.Context, c ledger.Claim, h node.Handler) attempt.Report {
	if c.Node.Delivery == plan.AtMostOnce {
		failpoint.Before("once_key")
		err := s.Once.Take(held, c, s.taking.Done())
		failpoint.After("once_key")
		switch {
		case errors.Is(err, once.ErrTaken):
			return attempt.Report{Outcome: task.Outcome{Status: task.Unknown, Error: err.Error()}}
		case err != nil && held.Err() == nil:
			return attempt.Unstarted(err)
		}
	}
	return s.Runner.Run(held, c, h)
}

// report tells the ledger what an attempt came to and says what is to become of
// its message. next is the claims of successors, those of q that were granted.
func (s *server) report(c *ledger.Claim, r attempt.Report, q ledger.Next) (next settle.Next, how ending) {
	var err error
	switch {
	case r.Status == task.Unknown:
		err = s.Settler.EndUnknown(s.reports, c, r.Error)
	case r.Class != task.Abandoned || errors.Is(r.Cause, claims.ErrCancelled):
		next, err = s.Settler.Report(s.reports, c, r, q)
	case r.Started && c.Node.Delivery == plan.AtMostOnce:
		// It must not be started again: the leader ends it as unknown when the
		// lease is over, or sooner: the message that another worker gets makes it
		// look whether this one lives.
		s.about(c.Attempt).Warn("at-most-once node was interrupted and is left to the leader", "cause", r.Cause)
		if errors.Is(r.Cause, ErrDraining) {
			return settle.Next{}, requeue
		}
	default:
		err = s.Settler.Release(s.reports, c, r.Started)
	}
	switch {
	case err == nil:
		return next, ack
	case s.reports.Err() != nil:
		s.about(c.Attempt).Error("worker ends before the ledger took the result; the node's lease will run out", "status", r.Status, "error", err)
		return settle.Next{}, requeue
	}
	s.about(c.Attempt).Error("result can't be reported; the node's lease will run out", "status", r.Status, "error", err)
	return settle.Next{}, ack
}
