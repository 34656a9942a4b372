package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/ledger/memory/mutant"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// keeper keeps the claims of a worker process, as package claims of the worker
// does.
type keeper struct {
	claims     []*ownClaim
	deliveries []*delivery
}

// ownClaim is a claim that a process holds.
type ownClaim struct {
	ledger.HeldClaim
	until           time.Time // it is proven own until then
	lost, cancelled bool
}

func (w *world) addWorker() {
	w.born++
	p := &process{name: fmt.Sprintf("w%d", w.born)}
	k := &keeper{}
	w.held[p] = k
	w.workers = append(w.workers, p)
	w.spawn(p, "beat", func(a *actor) { w.beat(port{w, a}, k) })
	for i := range 1 + w.rng.IntN(2) {
		w.spawn(p, fmt.Sprint("slot", i+1), func(a *actor) { (&slot{port{w, a}, k}).serve() })
	}
}

// gone reports whether a worker's process is proven gone.
func (w *world) gone(id ids.WorkerID) bool {
	for _, p := range w.workers {
		if p.name == string(id) {
			return p.dead
		}
	}
	return true
}

// crashWorker ends a worker; the broker delivers again what it held, and somebody
// starts another.
func (w *world) crashWorker(p *process) {
	w.crash(p)
	w.dropConnection(p)
	w.held[p].claims = nil
	w.addWorker()
}

// dropConnection gives every message that a worker holds back to the queue.
func (w *world) dropConnection(p *process) bool {
	k := w.held[p]
	any := false
	for _, d := range k.deliveries {
		any = any || d.held
		w.broker.back(d)
	}
	k.deliveries = nil
	return any
}

// beat renews the claims of a process.
func (w *world) beat(p port, k *keeper) {
	id := ids.WorkerID(p.a.proc.name)
	var announced time.Time
	for {
		if w.now.Sub(announced) >= lease {
			announced = w.now
			_ = p.BeatWorker(bg, ledger.Worker{ID: id, Pool: plan.DefaultPool, Types: []string{"noop"}}, 3*lease) // the next beat comes soon
		}
		var claims []ledger.HeldClaim
		var of []*ownClaim
		for _, c := range k.claims {
			if !c.lost {
				claims, of = append(claims, c.HeldClaim), append(of, c)
			}
		}
		if len(claims) > 0 {
			sent := w.now
			beats, err := p.Heartbeat(bg, id, lease, claims)
			for i, b := range beats {
				if err != nil {
					break
				}
				if b == ledger.Lost {
					of[i].lost = true
					continue
				}
				of[i].until = sent.Add(lease * 9 / 10)
				of[i].cancelled = of[i].cancelled || b == ledger.Cancel
			}
		}
		if len(k.claims) == 0 {
			p.a.await(&w.scheduler, lease, func() bool { return len(k.claims) > 0 })
		}
		p.a.sleep(&w.scheduler, lease/5)
	}
}

// slot takes one message at a time and sees it through: claim, once-key, run,
// settle, ack.
type slot struct {
	port
	k *keeper
}

func (s *slot) serve() {
	for {
		s.a.await(&s.w.scheduler, time.Hour, func() bool { return len(s.w.broker.waiting) > 0 })
		if len(s.w.broker.waiting) == 0 {
			continue
		}
		i := 0
		if s.w.rng.IntN(3) == 0 { // not in the order of publishing
			i = s.w.rng.IntN(len(s.w.broker.waiting))
		}
		d := s.w.broker.take(i)
		s.k.deliveries = append(s.k.deliveries, d)
		s.w.trace(s.a, "takes %s redelivered=%t", d.Attempt, d.redelivered)
		s.handle(d)
		s.a.step()
		s.w.broker.ack(d)
		s.k.deliveries = slices.DeleteFunc(s.k.deliveries, func(x *delivery) bool { return x == d })
	}
}

// insist repeats a call until the ledger answers.
func (s *slot) insist(do func() error) error {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := do()
		if !errors.Is(err, ledger.ErrUnavailable) {
			return err
		}
		s.a.sleep(&s.w.scheduler, pause)
	}
}

func (s *slot) handle(d *delivery) {
	if s.w.fault(faultDeclined) {
		_ = s.insist(func() error { return s.Decline(bg, d.Attempt, ids.WorkerID(s.a.proc.name), 250*time.Millisecond) }) // a refusal has nowhere to go
		return
	}
	q := ledger.ClaimRequest{Attempt: d.Attempt, Token: s.w.token(), Worker: ids.WorkerID(s.a.proc.name), Lease: lease, Redelivered: d.redelivered}
	var c ledger.Claim
	var refusal ledger.Refusal
	var sent time.Time
	err := s.insist(func() (err error) {
		sent = s.w.now
		c, refusal, err = s.Claim(bg, q)
		return err
	})
	if err != nil || refusal != ledger.Granted {
		s.w.check.refused(s.a, q, refusal)
		return
	}
	held := []*ownClaim{s.hold(c, sent)}
	for line := []ledger.Claim{c}; len(line) > 0; line, held = line[1:], held[1:] {
		next, asked := s.see(d, line[0], held[0])
		for _, n := range next { // from now on its lease is renewed, also while it waits for those before it
			line, held = append(line, n), append(held, s.hold(n, asked))
		}
		if len(line) > 1 { // without a message: that one was for its own task
			s.a.step()
			s.w.broker.ack(d)
			s.w.trace(s.a, "goes on with %s", line[1].Attempt)
		}
	}
}

// hold keeps a claim alive that was asked for at sent.
func (s *slot) hold(c ledger.Claim, sent time.Time) *ownClaim {
	h := &ownClaim{HeldClaim: ledger.HeldClaim{Attempt: c.Attempt, Token: c.Token}, until: sent.Add(lease * 9 / 10)}
	s.k.claims = append(s.k.claims, h)
	return h
}

// see sees a claim through and returns those of successors that came with its report, asked for at
// asked.
func (s *slot) see(d *delivery, c ledger.Claim, h *ownClaim) (next []ledger.Claim, asked time.Time) {
	defer func() { s.k.claims = slices.DeleteFunc(s.k.claims, func(x *ownClaim) bool { return x == h }) }()
	if c.Node.Delivery == plan.AtMostOnce && !s.mayStart(c, h) {
		return nil, asked
	}
	return s.run(d, c, h)
}

// mayStart gets the node's once-key. Another's means that the node may have been
// started before: it ends unknown. A claim that is lost meanwhile is let go.
func (s *slot) mayStart(c ledger.Claim, h *ownClaim) bool {
	if mutant.Active == mutant.RedisClaim {
		return true
	}
	intent := ids.IntentID(c.Occasion, c.Node.ID).String()
	for {
		s.a.step()
		if s.over(h) {
			s.handBack(c, false)
			return false
		}
		lost, twice := s.w.fault(faultOnceLost), s.w.rng.IntN(2) == 0
		if !lost || twice {
			if s.w.etcd.once[intent] == "" {
				s.w.etcd.once[intent] = c.Token.String()
			}
		}
		if !lost {
			break
		}
		s.a.sleep(&s.w.scheduler, 100*time.Millisecond)
	}
	if s.w.etcd.once[intent] == c.Token.String() {
		return true
	}
	s.w.trace(s.a, "%s: once-key is another's", c.Attempt)
	_ = s.insist(func() error { // a refusal has nowhere to go
		return s.EndUnknown(bg, ledger.Doubt{Attempt: c.Attempt, Token: c.Token, Plan: s.w.plan.Node(c.Node.ID), OnFailure: c.OnFailure, Why: "its once-key is another's"})
	})
	return false
}

// over reports whether an attempt's context has ended.
func (s *slot) over(h *ownClaim) bool { return h.lost || h.cancelled || s.w.now.After(h.until) }

func (s *slot) handBack(c ledger.Claim, started bool) {
	_ = s.insist(func() error { // a refusal has nowhere to go
		err := s.Release(bg, c.Attempt, c.Token, started)
		if errors.Is(err, ledger.ErrEnding) {
			_, err = s.Fail(bg, s.failure(c, task.Abandoned))
		}
		return err
	})
}

func (s *slot) failure(c ledger.Claim, class task.Class) ledger.Failure {
	f := ledger.Failure{Attempt: c.Attempt, Token: c.Token, Plan: s.w.plan.Node(c.Node.ID), Class: class, Error: "boom", OnFailure: c.OnFailure}
	if class == task.Retryable && c.Node.Retry.Enabled && c.Node.Delivery != plan.AtMostOnce {
		f.Retries, f.Delay = c.Node.Retry.MaxRetries, c.Node.Retry.Backoff
	}
	return f
}

// run runs the handler and reports what it came to.
func (s *slot) run(d *delivery, c ledger.Claim, h *ownClaim) (next []ledger.Claim, asked time.Time) {
	s.a.step()
	w := s.w
	w.check.started(s.a, c)
	took := w.upTo(300 * time.Millisecond)
	if w.rng.IntN(12) == 0 {
		took = w.upTo(2 * lease)
	}
	ends := w.now.Add(took)
	if took > lease && w.rng.IntN(2) == 0 { // the message of a long node is acked early
		w.broker.ack(d)
	}
	for w.now.Before(ends) && !s.over(h) {
		s.a.await(&w.scheduler, min(ends.Sub(w.now), lease/20), func() bool { return h.lost || h.cancelled })
	}
	dice := w.rng.IntN(100)
	asked = w.now
	switch {
	case s.over(h) && dice < 70: // most handlers heed their context; a result is a result all the same
		switch {
		case h.cancelled && !h.lost:
			s.report(c, failed, task.Abandoned, ledger.Next{})
		case c.Node.Delivery == plan.AtMostOnce: // left to the leader
		default:
			s.handBack(c, true)
		}
	case dice < 8:
		s.report(c, failed, task.Retryable, ledger.Next{})
	case dice < 11:
		s.report(c, failed, task.Permanent, ledger.Next{})
	case dice < 13:
		s.report(c, stopped, "", ledger.Next{})
	default:
		next = s.report(c, succeeded, "", s.wish(c))
	}
	return next, asked
}

// wish asks for successors that may be claimed with the report, half of the times.
func (s *slot) wish(c ledger.Claim) (q ledger.Next) {
	if s.w.rng.IntN(2) == 0 {
		return q
	}
	q = ledger.Next{Token: s.w.token(), Worker: ids.WorkerID(s.a.proc.name), Lease: lease, Most: 1 + s.w.rng.IntN(3)}
	for _, n := range s.w.plan.Node(c.Node.ID).Successors {
		if n.Direct != "" {
			q.Nodes = append(q.Nodes, n.Target)
		}
	}
	return q
}

type ending int

const (
	succeeded ending = iota
	stopped
	failed
)

// report tells the ledger until it has answered, and returns the claims of successors that
// were wished for and granted.
func (s *slot) report(c ledger.Claim, how ending, class task.Class, q ledger.Next) (next []ledger.Claim) {
	n := s.w.plan.Node(c.Node.ID)
	dead := 0
	if s.w.rng.IntN(6) == 0 {
		dead = s.w.rng.Int()
	}
	done := ledger.Completion{Attempt: c.Attempt, Token: c.Token, Plan: n, Status: task.Succeeded,
		Outputs: map[string]json.RawMessage{"out": json.RawMessage("1")}, Decided: func(i int) ledger.Result {
			if dead>>i&1 == 1 {
				return ledger.Dead
			}
			return ledger.Live
		}}
	if how == stopped {
		done.Status, done.Reason, done.Outputs = task.Stopped, "enough", nil
	}
	err := s.insist(func() (err error) { // a refusal has nowhere to go
		if how == failed {
			_, err = s.Fail(bg, s.failure(c, class))
			return err
		}
		next, err = s.CompleteNext(bg, done, q)
		return err
	})
	if err == nil {
		s.w.check.unanswered(s.a, c.Attempt, q, next)
	}
	return next
}

// addUser adds somebody who starts cycles by hand, cancels, pauses and resumes.
func (w *world) addUser() {
	if w.rng.IntN(2) == 0 {
		return
	}
	p := &process{name: "user"}
	w.spawn(p, "user", func(a *actor) {
		u := port{w, a}
		for i := range w.rng.IntN(4) {
			a.sleep(&w.scheduler, w.upTo(3*interval))
			if w.healing {
				return
			}
			w.asks(u, i)
		}
	})
}

// asks does one thing by hand, once: an answer that is lost is lost.
func (w *world) asks(u port, i int) {
	switch w.rng.IntN(4) {
	case 0:
		key := fmt.Sprint("key", i)
		_, _ = u.StartCycle(bg, 0, ledger.Start{Plan: w.plan, TriggerKey: key, Occasion: ids.Occasion(w.plan.UID, key), Overlap: w.rng.IntN(2) == 0})
	case 1, 2:
		_, _ = u.CancelCycle(bg, 0, flow, int64(1+w.rng.IntN(3)), uuid.Nil, ledger.CauseCancelled)
	default:
		w.etcd.paused = true
		_, _ = u.PauseFlow(bg, flow)
		u.a.sleep(&w.scheduler, w.upTo(lease))
		w.etcd.paused = false
		for {
			if _, err := u.ResumeFlow(bg, flow); !errors.Is(err, ledger.ErrUnavailable) {
				return // what etcd says is mirrored again when the ledger has lost it
			}
			u.a.sleep(&w.scheduler, 50*time.Millisecond)
		}
	}
}
