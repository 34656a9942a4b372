// Package intake takes tasks and sees each through: claim, run, settle, ack. One
// goroutine serves one slot, and a slot holds one message, so a worker never has
// a message that another could work on.
//
// # In which order, and why
//
// The claim comes before anything runs, with a token made here, so that asking
// again after a lost answer is harmless. The result goes to the ledger before
// the message is acked: a worker that dies in between leaves a message that is
// delivered again, and whose claim is refused because the node is done. While
// Redis is away nothing is acked or handed back; the slot waits with its message
// and its result. A node that runs long is acked early: from then on its lease
// protects it.
package intake

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
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

// declineDelay is how long an offer waits that met a worker without its type.
const declineDelay = 250 * time.Millisecond

// ErrDraining is the cause for which attempts end when the worker stops and its
// grace is over.
var ErrDraining = errors.New("worker is shutting down")

// Config of an Intake.
type Config struct {
	Ledger   Ledger
	Source   Source
	Claims   Claims
	Runner   *attempt.Runner
	Settler  *settle.Settler
	Registry *node.Registry
	Queue    string
	Worker   ids.WorkerID
	Slots    int
	Lease    time.Duration
	EarlyAck time.Duration // run time after which a message is acked
	Grace    time.Duration // time that attempts get to finish after a stop
	Log      hclog.Logger
	Ran      func(status string, took time.Duration) // counts attempts; may be nil
}

// Run takes tasks until ctx ends, then lets what runs finish within the grace,
// ends the rest and hands it back.
func Run(ctx context.Context, cfg Config) error {
	// Work outlives the end of intake by the grace.
	work, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	var slots sync.WaitGroup
	fault := make(chan error, cfg.Slots)
	for range cfg.Slots {
		slot, err := cfg.Source.Slot(cfg.Queue)
		if err != nil {
			end(ErrDraining)
			slots.Wait()
			return err
		}
		slots.Go(func() {
			s := &server{Config: cfg, slot: slot, work: work}
			if err := s.serve(ctx); err != nil {
				fault <- err
			}
		})
	}
	done := make(chan struct{})
	go func() { slots.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		cfg.Log.Info("draining: nothing new is taken", "grace", cfg.Grace)
		t := time.NewTimer(cfg.Grace)
		defer t.Stop()
		select {
		case <-done:
		case <-t.C:
			cfg.Log.Warn("grace is over; what still runs is handed back")
			end(ErrDraining)
			<-done
		}
	}
	select {
	case err := <-fault:
		return err
	default:
		return nil
	}
}

// server serves one slot.
type server struct {
	Config
	slot taskqueue.Slot
	work context.Context //nolint:containedctx // the life of the work, longer than serve's
}

func (s *server) serve(ctx context.Context) error {
	defer func() {
		if err := s.slot.Close(); err != nil {
			s.Log.Debug("slot can't be closed", "error", err)
		}
	}()
	for {
		d, err := s.slot.Receive(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		switch s.handle(s.work, d) {
		case ack:
			s.end(d.Ack())
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

// handle sees one message through.
func (s *server) handle(ctx context.Context, d taskqueue.Delivery) ending {
	t, err := task.Decode(d.Body())
	if err != nil {
		s.Log.Error("message is no task and is parked", "error", err)
		s.end(d.Park())
		return ended
	}
	h := s.Registry.Lookup(t.Type)
	if h == nil {
		s.Log.Warn("node type is not carried here; declined", "type", t.Type, "flow", t.Flow, "node", t.Node)
		err := settle.Insist(ctx, func() error { return s.Ledger.Decline(ctx, t.Attempt, s.Worker, declineDelay) })
		if err != nil && ctx.Err() != nil {
			return requeue
		}
		return ack
	}
	q := ledger.ClaimRequest{Attempt: t.Attempt, Token: uuid.New(), Worker: s.Worker, Lease: s.Lease, Redelivered: d.Redelivered()}
	var claim ledger.Claim
	var refusal ledger.Refusal
	var sent time.Time
	err = settle.Insist(ctx, func() (err error) {
		sent = time.Now()
		claim, refusal, err = s.Ledger.Claim(ctx, q)
		return err
	})
	if err != nil && ctx.Err() != nil {
		return requeue
	}
	if err != nil { // not of the passing kind: if it was granted all the same, its lease runs out
		s.Log.Error("task can't be claimed", "flow", t.Flow, "cycle", t.Cycle, "node", t.Node, "error", err)
		return ack
	}
	if refusal != ledger.Granted {
		s.Log.Debug("claim refused", "flow", t.Flow, "cycle", t.Cycle, "node", t.Node, "attempt", t.N, "why", refusal)
		return ack
	}
	return s.run(ctx, d, claim, h, sent)
}

func (s *server) run(ctx context.Context, d taskqueue.Delivery, c ledger.Claim, h node.Handler, sent time.Time) ending {
	held, drop := s.Claims.Hold(ctx, c.Attempt, c.Token, sent)
	defer drop()
	stop := s.ackLate(ctx, d)
	began := time.Now()
	r := s.Runner.Run(held, c, h)
	done := stop()
	if s.Ran != nil {
		s.Ran(string(r.Status), time.Since(began))
	}
	// What follows must be heard even while the worker stops; it is bounded by
	// the lease, after which the ledger refuses it anyway.
	report, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(s.Lease, 10*time.Second))
	defer cancel()
	if r.Class == task.Abandoned && errors.Is(context.Cause(ctx), ErrDraining) {
		if c.Node.Delivery == plan.AtMostOnce {
			// It was started and must not be started again: the leader ends it as
			// unknown once this worker is gone.
			s.Log.Warn("at-most-once node is left to the leader", "flow", c.Flow, "cycle", c.Cycle, "node", c.Attempt.Node)
			return requeue
		}
		if err := s.Settler.Release(report, c); err != nil {
			s.Log.Warn("claim can't be handed back; its lease will run out", "node", c.Attempt.Node, "error", err)
		}
		return done
	}
	if err := s.Settler.Report(report, c, r); err != nil {
		s.Log.Error("result can't be reported; the node's lease will run out", "flow", c.Flow, "cycle", c.Cycle, "node", c.Attempt.Node, "error", err)
	}
	return done
}

// ackLate acks the message early if the attempt runs longer than EarlyAck. The
// function it returns ends the wait and says what is left to do with it.
func (s *server) ackLate(ctx context.Context, d taskqueue.Delivery) (stop func() ending) {
	ctx, cancel := context.WithCancel(ctx)
	left := make(chan ending, 1)
	go func() {
		t := time.NewTimer(s.EarlyAck)
		defer t.Stop()
		select {
		case <-t.C:
			s.end(s.slot.AckEarly(context.WithoutCancel(ctx), d))
			left <- ended
		case <-ctx.Done():
			left <- ack
		}
	}()
	return func() ending { cancel(); return <-left }
}
