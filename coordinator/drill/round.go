package drill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
)

// cleanUp bounds what is done after the drill was interrupted, doubtful the
// removal of a canary that was perhaps never taken.
const (
	cleanUp  = time.Minute
	doubtful = 3 * time.Second
)

// round is one fault from the canary's first tick to its deletion.
type round struct {
	*observer
	out     Round
	phase   time.Duration // between a slot and the fault
	names   Names
	victim  int64 // cycle whose longer node the worker ran; 0 = none
	worker  api.Worker
	began   time.Time
	at      time.Time // when the fault took effect
	healed  bool
	proofs  []string
	fences  map[string]int64 // before the fault, by address
	slots   api.Slots
	records []api.JournalRecord // of the canary
	proof   *api.Proof
	reasons []string
}

func newRound(cfg *Config, number int, phase time.Duration) *round {
	id := canaryID()
	return &round{observer: &observer{cfg: cfg, flow: id, down: map[string]bool{}, cycles: map[int64]*seen{}},
		out: Round{Number: number, Canary: id}, phase: phase}
}

func (r *round) fail(format string, args ...any) {
	r.reasons = append(r.reasons, fmt.Sprintf(format, args...))
}

// run makes the round. What goes wrong is noted among the reasons.
func (r *round) run(ctx context.Context) {
	r.began = time.Now()
	doc, err := canary(r.flow, r.cfg.Interval, true)
	if err != nil {
		r.fail("%v", err)
		return
	}
	_, err = r.cfg.Flows.Register(ctx, doc, client.RegisterOptions{ContentType: "application/json"})
	if err != nil {
		r.fail("the canary can't be registered: %v", err)
		r.remove(ctx, doubtful) // without an answer, it may have been taken
		return
	}
	defer r.remove(ctx, cleanUp)
	if err := r.cfg.alone(ctx, r.flow); err != nil { // one that began at the same time
		r.fail("%v", err)
		return
	}
	r.cfg.say("round %d: canary %s every %s", r.out.Number, r.flow, r.cfg.Interval)
	if !r.until(ctx, "the canary ticks", func() bool { return r.leader.ID != "" && r.completed(r.began) >= 2 }) || !r.choose(ctx) {
		return
	}
	if !r.strike(ctx) {
		return
	}
	r.settle(ctx)
}

// choose finds whom to hit, at the round's own distance from a slot.
func (r *round) choose(ctx context.Context) bool {
	if r.cfg.Fences != nil {
		r.fences = r.refusals(ctx)
	}
	if newest := r.newest(); newest != nil && !newest.Slot.IsZero() {
		next := newest.Slot.Add((time.Since(newest.Slot.Time)/r.cfg.Interval + 1) * r.cfg.Interval)
		if !pause(ctx, time.Until(next.Add(r.phase))) {
			r.fail("stopped before the fault")
			return false
		}
	}
	if r.cfg.Fault.hitsWorker() {
		if !r.until(ctx, "a worker runs the canary's longer node", func() bool {
			r.names.Worker, r.victim = r.running(ctx)
			return r.names.Worker != ""
		}) {
			return false
		}
		if workers, err := r.cfg.Fleet.Workers(ctx); err == nil {
			if i := r.listed(workers); i >= 0 {
				r.worker = workers[i]
			}
		}
	}
	r.names.Leader, r.epoch = r.leader.ID, r.leader.Epoch
	r.names.Server, r.names.Delay = r.cfg.Server, r.cfg.Delay
	for i, part := range r.cfg.Between {
		if strings.Contains(part, "{worker}") && r.names.Worker == "" {
			r.names.Worker, _ = r.running(ctx)
		}
		r.names.Between[i] = strings.NewReplacer("{leader}", r.names.Leader, "{worker}", r.names.Worker).Replace(part)
	}
	r.out.Leader, r.out.Epoch, r.out.Worker = r.names.Leader, r.epoch, r.names.Worker
	return true
}

func (r *round) newest() (newest *seen) {
	for _, c := range r.cycles {
		if newest == nil || c.Cycle > newest.Cycle {
			newest = c
		}
	}
	return newest
}

func (r *round) listed(workers []api.Worker) int {
	return slices.IndexFunc(workers, func(w api.Worker) bool { return w.WorkerID == r.names.Worker })
}

// strike injects the fault, waits for recovery and heals. Whatever happens, it
// heals.
func (r *round) strike(ctx context.Context) bool {
	f := r.cfg.Fault
	r.cfg.say("round %d: %s (leader %s, epoch %d%s)", r.out.Number, f, r.names.Leader, r.epoch, ifSome(", worker ", r.names.Worker))
	defer r.heal(ctx)
	var e Evidence
	err := r.during(ctx, func(ctx context.Context) (err error) {
		e, err = r.cfg.Target.Inject(ctx, f, r.names)
		return err
	})
	if err != nil {
		r.fail("fault was not injected: %v", err)
		return false
	}
	r.at, r.out.InjectedAt = e.At, api.At(e.At)
	if e.Proof != "" {
		r.proofs = append(r.proofs, e.Proof)
	}
	switch {
	case f.lasts():
		for end := r.at.Add(r.cfg.Pause); time.Now().Before(end) && ctx.Err() == nil; {
			r.look(ctx)
			r.prove(ctx)
			pause(ctx, min(r.cfg.Poll, time.Until(end)))
		}
		r.heal(ctx)
	case f.server() != "", f == ServerKill && !strings.Contains(r.cfg.Server, "-"):
		r.heal(ctx)
	}
	recovered := r.until(ctx, "cycles that start after the fault complete again", func() bool {
		r.prove(ctx)
		_, completed := r.firsts(r.at)
		victim := r.cycles[r.victim]
		return !completed.IsZero() && (!f.hitsLeader() || !r.changed.IsZero() || f.pauses() && r.healed) &&
			(victim == nil || victim.over())
	})
	if !recovered {
		return false
	}
	r.cfg.say("round %d: recovered", r.out.Number)
	r.heal(ctx)
	since := time.Now()
	return r.until(ctx, fmt.Sprintf("%d cycles complete after recovery", r.cfg.After), func() bool {
		r.prove(ctx)
		return r.completed(since) >= r.cfg.After
	})
}

// prove looks in the API for what shows the fault.
func (r *round) prove(ctx context.Context) {
	if len(r.proofs) > 0 || r.at.IsZero() {
		return
	}
	f := r.cfg.Fault
	switch {
	case f.hitsLeader():
		if !r.changed.IsZero() {
			r.proofs = append(r.proofs, fmt.Sprintf("epoch %d of %s follows epoch %d of %s", r.leader.Epoch, r.leader.ID, r.epoch, r.names.Leader))
		}
	case f.hitsWorker():
		workers, err := r.cfg.Fleet.Workers(ctx)
		if err != nil {
			return
		}
		i := r.listed(workers)
		switch c := r.cycles[r.victim]; {
		case i < 0:
			r.proofs = append(r.proofs, r.names.Worker+" is gone from the list of workers")
		case !r.worker.StartedAt.IsZero() && workers[i].StartedAt.After(r.worker.StartedAt.Time):
			r.proofs = append(r.proofs, r.names.Worker+" was started again")
		case c != nil && c.lost > 0:
			r.proofs = append(r.proofs, fmt.Sprintf("cycle %d lost the worker of a node", r.victim))
		}
	case f.server() != "" && r.down[f.server()]:
		r.proofs = append(r.proofs, f.server()+" was seen down")
	}
}

// heal undoes the fault, once, also when ctx has ended.
func (r *round) heal(ctx context.Context) {
	if r.healed {
		return
	}
	r.healed = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(cleanUp, r.cfg.Deadline))
	defer cancel()
	if err := r.during(ctx, func(ctx context.Context) error { return r.cfg.Target.Heal(ctx, r.cfg.Fault, r.names) }); err != nil {
		r.fail("the cluster could not be healed: %v", err)
		return
	}
	r.out.HealedAt = api.At(time.Now())
}

// settle takes the canary's slots away, waits until nothing of it runs, pauses
// it, and has the round verified.
func (r *round) settle(ctx context.Context) {
	doc, err := canary(r.flow, r.cfg.Interval, false)
	if err != nil {
		r.fail("%v", err)
		return
	}
	r.until(ctx, "the canary's slots end", func() bool {
		_, err := r.cfg.Flows.Register(ctx, doc, client.RegisterOptions{ContentType: "application/json"})
		r.note(err)
		return err == nil
	})
	r.until(ctx, "no cycle of the canary runs", func() bool {
		f, err := r.cfg.Flows.Flow(ctx, r.flow)
		r.note(err)
		r.slots = f.Slots
		return err == nil && f.ActiveCycles == 0
	})
	r.until(ctx, "the canary is paused", func() bool {
		_, err := r.cfg.Flows.PauseFlow(ctx, r.flow)
		r.note(err)
		return err == nil
	})
	r.look(ctx)
	r.readJournal(ctx)
	if r.cfg.Fences != nil {
		for address, n := range r.refusals(ctx) {
			before, known := r.fences[address]
			if known && n >= before {
				n -= before // else it counts from its own start
			}
			r.out.Fenced += n
		}
	}
	proof, err := r.cfg.Verifier.Verify(ctx, client.VerifyOptions{From: api.At(r.began).String()})
	if err != nil {
		r.fail("the journal can't be verified: %v", err)
		return
	}
	r.proof = &proof
}

func (r *round) note(err error) {
	if err != nil {
		r.lastFail = err
	}
}

// remove deletes the canary, also when ctx has ended.
func (r *round) remove(ctx context.Context, within time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		err = r.cfg.Flows.DeleteFlow(ctx, r.flow)
		var problem *client.Problem
		if err == nil || errors.As(err, &problem) && problem.Status == http.StatusNotFound {
			return
		}
		pause(ctx, 10*r.cfg.Poll)
	}
	r.fail("the canary could not be removed; if it is there, remove it by 'stationctl flow delete %s': %v", r.flow, err)
}

func (r *round) refusals(ctx context.Context) map[string]int64 {
	out := map[string]int64{}
	cluster, err := r.cfg.Fleet.Cluster(ctx)
	if err != nil {
		return out
	}
	for _, m := range cluster.Members {
		if n, err := r.cfg.Fences.Refused(ctx, m.Address); err == nil {
			out[m.Address] = n
		}
	}
	return out
}

// until looks until done; false after the deadline, with the reason noted.
func (r *round) until(ctx context.Context, what string, done func() bool) bool {
	for end := time.Now().Add(r.cfg.Deadline); ; {
		r.look(ctx)
		switch {
		case ctx.Err() != nil:
			r.fail("stopped while waiting until %s", what)
			return false
		case done():
			return true
		case time.Now().After(end) && r.lastFail != nil:
			r.fail("waited %s until %s; the last call failed: %v", r.cfg.Deadline, what, r.lastFail)
			return false
		case time.Now().After(end):
			r.fail("waited %s until %s", r.cfg.Deadline, what)
			return false
		}
		pause(ctx, r.cfg.Poll)
	}
}

// during looks on while f runs, so that nothing is missed.
func (r *round) during(ctx context.Context, f func(context.Context) error) error {
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-time.After(r.cfg.Poll):
			r.look(ctx)
		}
	}
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func ifSome(label, text string) string {
	if text == "" {
		return ""
	}
	return label + text
}
