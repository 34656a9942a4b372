package intake

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/hop"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/worker/internal/settle"
	"github.com/tradingflow/weather-station/worker/node"
)

// message is a message in hand.
type message struct {
	taskqueue.Delivery
	first sync.Once
	early early
}

// handle sees one message through. It has one task, as a rule.
func (s *server) handle(d taskqueue.Delivery) ending {
	tasks, err := task.DecodePack(d.Body())
	if err != nil && len(tasks) == 0 {
		s.Log.Error("message is no task and is parked", "error", err)
		s.end(d.Park())
		return ended
	}
	if err != nil {
		s.Log.Error("tasks of a message can't be read and are dropped", "error", err)
	}
	s.held = tasks[0].Attempt
	if !s.placed {
		d := s.lookout.patience()
		if !s.enterWithin(d) {
			s.crowded = s.taking.Err() == nil && d == patience // else none is wanted for it
			return requeue
		}
	}
	s.placed = false // the first task has it
	m := &message{Delivery: d}
	var how ending
	if len(tasks) == 1 {
		how = s.one(m, tasks[0])
	} else {
		how = s.several(m, tasks)
	}
	if m.early.end() {
		return ended
	}
	return how
}

// several runs the tasks of one message at the places that are free or become so soon,
// the first one at the slot's own. What is left then is offered again.
func (s *server) several(m *message, tasks []task.Task) ending {
	results := make(chan ending, len(tasks))
	see := func(t task.Task) { s.hands.Go(func() { results <- s.one(m, t) }) }
	see(tasks[0])
	over := time.NewTimer(patience)
	defer over.Stop()
	started := 1 + s.crew.enterAll(len(tasks)-1, func(i int) { see(tasks[i+1]) }, over.C, s.taking.Done())
	if started < len(tasks) {
		s.lookout.waited()
	}
	for _, t := range tasks[started:] {
		go func() { results <- s.offerAgain(t) }()
	}
	how := ack
	for range tasks {
		if r := <-results; r == requeue {
			how = requeue
		}
	}
	return how
}

// offerAgain has the leader offer a task of this message to another worker. The rest of
// the message goes on, so it can't be handed back.
func (s *server) offerAgain(t task.Task) ending {
	if s.reports.Err() != nil {
		return requeue
	}
	err := settle.Insist(s.reports, func() error { return s.Ledger.Decline(s.reports, t.Attempt, s.Worker, declineDelay) })
	log := s.about(t.Attempt)
	switch {
	case err == nil:
		log.Debug("no place for a task; it is offered again")
	case s.reports.Err() != nil:
		return requeue
	default:
		log.Debug("no place for a task, and it can't be offered again", "error", err)
	}
	return ack
}

// one sees one task through, and gives up the place that it was given.
func (s *server) one(m *message, t task.Task) ending {
	g, how := s.claim(m, t)
	if g == nil {
		s.crew.leave(nil)
		return how
	}
	return s.run(m, g)
}

// granted is a claim that was granted.
type granted struct {
	ledger.Claim
	handler node.Handler
	sent    time.Time // when it was asked for
	direct  bool      // with the report of its predecessor
	since   time.Time // when the first node of its line of direct hops was asked for

	held   context.Context //nolint:containedctx // of the claim, from when it is kept alive; nil before the attempt, as a rule
	drop   func()          // lets the claim go
	line   *line           // of the claims that came together; nil = none ever had to wait for a place
	passed <-chan struct{} // closed when a place of the line is its own; nil = it has one
}

// claim claims a task. If that is not granted, it says what is to become of the message.
func (s *server) claim(m *message, t task.Task) (*granted, ending) {
	hop.Pass(hop.Received, t.Attempt)
	if counts, err := s.heed(t); err != nil {
		return nil, s.unclaimed(err, t.Attempt)
	} else if !counts {
		s.about(t.Attempt).Warn("task is from before the number of partitions was changed; dropped", "partitions", t.Partitions)
		return nil, ack
	}
	g := &granted{handler: s.Registry.Lookup(t.Type)}
	if g.handler == nil {
		s.tell(t.Attempt, t.Type)
		err := s.insist(func() error { return s.Ledger.Decline(s.work, t.Attempt, s.Worker, declineDelay) })
		if err != nil {
			return nil, s.unclaimed(err, t.Attempt)
		}
		return nil, ack
	}
	q := ledger.ClaimRequest{Attempt: t.Attempt, Token: uuid.New(), Worker: s.Worker, Lease: s.Lease, Redelivered: m.Redelivered()}
	var refusal ledger.Refusal
	err := s.insist(func() (err error) {
		g.sent = time.Now()
		hop.Pass(hop.Claiming, t.Attempt)
		g.Claim, refusal, err = s.Ledger.Claim(s.work, q)
		return err
	})
	switch {
	case err != nil:
		return nil, s.unclaimed(err, t.Attempt)
	case refusal != ledger.Granted:
		if s.Log.IsDebug() {
			s.about(t.Attempt).Debug("claim refused", "why", refusal)
		}
		return nil, ack
	}
	hop.Pass(hop.Claimed, t.Attempt)
	g.since = g.sent
	return g, ack
}

// run sees a claimed attempt through, and the successors that are claimed with its report:
// one follows at the same place, others at places that are free, or at this one when it is. All that is under
// the same message, which is acked early when it takes longer than EarlyAck.
func (s *server) run(m *message, g *granted) ending {
	m.first.Do(func() { s.ackLate(m) })
	var others *company
	how := ack
	for g != nil {
		next, one := s.attempt(g)
		if one == requeue {
			how = requeue
		}
		if g = nil; len(next) > 0 && next[0].passed == nil {
			g, next = next[0], next[1:]
		}
		for _, x := range next {
			if others == nil {
				others = &company{}
			}
			others.Add(1)
			s.hands.Go(func() {
				defer others.Done()
				if s.beside(m, x) == requeue {
					others.requeue.Store(true)
				}
			})
		}
	}
	if others != nil {
		if others.Wait(); others.requeue.Load() {
			how = requeue
		}
	}
	return how
}

// company is what runs beside a line under the same message.
type company struct {
	sync.WaitGroup
	requeue atomic.Bool // the message is to be handed back for one of them
}

// attempt runs a claimed attempt, reports it, and leaves its place, unless a successor is
// to have it. It returns the claims that came with the report.
func (s *server) attempt(g *granted) (next []*granted, how ending) {
	if g.held == nil {
		g.held, g.drop = s.Claims.Hold(s.work, g.Attempt, g.Token, g.sent)
	}
	defer g.drop()
	began := time.Now()
	hop.Pass(hop.Started, g.Attempt)
	r := s.start(g.held, g.Claim, g.handler)
	hop.Pass(hop.Handled, g.Attempt)
	if r.Started {
		took := time.Since(began)
		s.brief.note(g.Node.Type, took)
		if s.Ran != nil {
			s.Ran(string(r.Status), took)
		}
	}
	q := s.wish(g, r)
	keeps := len(q.Nodes) > 0 && g.line.waits() == 0
	if !keeps {
		defer s.crew.report(s.reports.Done(), g.line)()
	}
	got, how := s.report(&g.Claim, r, q)
	hop.Pass(hop.Completed, g.Attempt)
	if keeps && len(got.Claims) == 0 {
		s.crew.leave(g.line)
	}
	return s.heirs(g, got, keeps), how
}

// next receives a message. A slot that found no place for its last one waits for a place,
// and keeps it for the next one for a while: not every message of a deep queue is to come
// here and go back.
func (s *server) next() (taskqueue.Delivery, error) {
	if s.crowded {
		s.crowded = false
		if !s.crew.enter(nil, s.taking.Done()) {
			return nil, s.taking.Err()
		}
		s.placed = true
		ctx, cancel := context.WithTimeout(s.taking, patience)
		d, err := s.slot.Receive(ctx)
		cancel()
		if err == nil {
			return d, nil
		}
		s.leave()
		if s.taking.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
	}
	return s.slot.Receive(s.taking)
}
