package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// LeaseLedger is what the keeper of leases reads and writes.
type LeaseLedger interface {
	Now(ctx context.Context) (time.Time, error)
	Leases(ctx context.Context) ([]ledger.Lease, error)
	Nodes(ctx context.Context, f ids.FlowID, n int64, nodes []ids.NodeID) ([]ledger.NodeState, error)
	Expire(ctx context.Context, epoch ids.Epoch, x ledger.Expiry) (bool, error)
	Worker(ctx context.Context, id ids.WorkerID) (ledger.Worker, error)
}

// Plans finds the plan of a cycle.
type Plans interface {
	OfCycle(ctx context.Context, a ids.Attempt) (*plan.Plan, error)
}

// LeasesConfig configures Leases.
type LeasesConfig struct {
	Ledger  LeaseLedger
	Plans   Plans
	Epoch   ids.Epoch
	Lease   time.Duration
	MaxLost int // losses that a node survives
	Log     hclog.Logger
	Once    Once
	Blocks  Blocks
	Gone    func(ctx context.Context, w ledger.Worker) bool // proves that a worker's process is gone
	Revoked func()                                          // a claim was revoked; may be nil
	Frozen  func(next ids.Attempt)                          // its lease alone revoked one; the attempt that follows; may be nil
	// Holders tells which worker holds each of these claims.
	Holders func(ctx context.Context, claims []ids.Attempt) ([]ids.WorkerID, error)
}

const (
	massFloor = 10          // more than so many expiries in one pass, and more than half of all, are doubted
	batch     = 64          // claims revoked before the leases are read again
	maxJump   = time.Second // by how much Redis's clock may run off this process's between two passes
)

// Leases revokes the claims of lost workers.
type Leases struct {
	cfg     LeasesConfig
	seen    map[ids.Attempt]sighting
	grace   chan time.Duration
	nudge   chan struct{}
	doubts  *doubts
	quiet   time.Time // no expiry before
	doubted bool      // a pass would have revoked more than half; until none is over any more
	clock   time.Time // Redis's at the last pass, and this process's then
	at      time.Time
}

type sighting struct {
	ends  time.Time
	since time.Time // first seen with this end, on this process's monotonic clock
}

// NewLeases makes a keeper that grants one lease of grace from its first pass.
func NewLeases(cfg LeasesConfig) *Leases {
	return &Leases{cfg: cfg, seen: map[ids.Attempt]sighting{}, grace: make(chan time.Duration, 1), nudge: make(chan struct{}, 1), doubts: newDoubts(cfg)}
}

// Grace asks that no claim is revoked for one lease from now.
func (k *Leases) Grace() {
	select {
	case k.grace <- k.cfg.Lease:
	default:
	}
}

// Nudge says that claims are about to be made, so that the first of them is seen
// soon: how long a lease has stood unchanged counts from when it is first seen.
func (k *Leases) Nudge() {
	signal(k.nudge)
}

// Run looks at the leases until ctx ends or the epoch is fenced, which it
// returns.
func (k *Leases) Run(ctx context.Context) error {
	k.quiet = time.Now().Add(k.cfg.Lease)
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	asking.Go(func() { k.doubts.run(ctx) })
	every := min(max(k.cfg.Lease/20, 50*time.Millisecond), 250*time.Millisecond)
	t := time.NewTimer(0)
	defer t.Stop()
	down, idle := false, false
	for {
		select {
		case <-t.C:
		case <-k.doubts.answered:
		case d := <-k.grace:
			k.quiet = time.Now().Add(d)
			continue
		case <-k.nudge:
			if idle {
				idle = false
				t.Reset(every)
			}
			continue
		case <-ctx.Done():
			return nil
		}
		began := time.Now()
		n, next, err := k.pass(ctx, began)
		if time.Since(began) > max(k.cfg.Lease/5, time.Second) {
			k.quiet = time.Now().Add(k.cfg.Lease) // Redis stood still, and the workers could not renew
		}
		switch {
		case ledger.Fenced(err):
			return err
		case err != nil && ctx.Err() == nil:
			if !down {
				k.cfg.Log.Warn("leases can't be looked at", "error", err)
			}
			down = true
			if errors.Is(err, ledger.ErrUnavailable) {
				k.quiet = time.Now().Add(k.cfg.Lease) // workers could not renew either
			}
		case down:
			down = false
			k.cfg.Log.Info("leases are looked at again")
		}
		next = min(next, every)
		if idle = n == 0 && err == nil; idle {
			next = max(every, time.Second)
		}
		t.Reset(next)
	}
}

// pass looks once. It returns how many claims run and when the next of them can
// be over. now carries this process's monotonic clock.
func (k *Leases) pass(ctx context.Context, now time.Time) (int, time.Duration, error) {
	leases, err := k.cfg.Ledger.Leases(ctx)
	if err != nil || len(leases) == 0 {
		clear(k.seen)
		if err == nil {
			k.doubts.keep(nil)
		}
		k.doubted, k.clock = false, time.Time{}
		return 0, k.cfg.Lease, err
	}
	clock, err := k.cfg.Ledger.Now(ctx)
	if err != nil {
		return len(leases), k.cfg.Lease, err
	}
	k.watchClock(clock, now)
	over, next := k.look(leases, clock, now)
	k.doubts.keep(over)
	over = slices.DeleteFunc(over, k.doubts.waits) // they are asked about, and hold up no other
	if len(over) == 0 {
		k.doubted = false
	}
	if now.Before(k.quiet) || len(over) == 0 {
		return len(leases), next, nil
	}
	if len(over) > massFloor && len(over)*2 > len(leases) && !k.doubted && !k.oneWorker(ctx, over) {
		k.doubted = true
		k.quiet = now.Add(k.cfg.Lease)
		k.cfg.Log.Error("more than half of the leases ran out at once; waiting one lease more before revoking", "over", len(over), "leases", len(leases))
		return len(leases), next, nil
	}
	var faults []error // of single claims: they don't hold up the others
	for _, a := range over[:min(len(over), batch)] {
		_, err := k.expire(ctx, a, ledger.LeaseOver, k.asked, func(s ledger.NodeState) (bool, error) {
			// A claim made since the lease was read has a lease of its own.
			return s.StartedAt.Add(k.cfg.Lease).Before(clock) || s.StartedAt.After(clock.Add(k.cfg.Lease)), nil
		})
		if ledger.Fenced(err) || errors.Is(err, ledger.ErrUnavailable) || ctx.Err() != nil {
			return len(leases), next, err
		}
		if err != nil {
			faults = append(faults, err)
			delete(k.seen, a) // its turn comes again after the others'
		}
	}
	if len(over) > batch { // read the leases anew first: some may have been renewed meanwhile
		next = 0
	}
	return len(leases), next, errors.Join(faults...)
}

// oneWorker reports whether all these claims are one worker's: that one is lost then,
// and nothing else is broken.
func (k *Leases) oneWorker(ctx context.Context, over []ids.Attempt) bool {
	holders, err := k.cfg.Holders(ctx, over)
	return err == nil && len(slices.Compact(holders)) == 1
}

// watchClock grants grace when Redis's clock was set: what it says of the ends of
// leases is wrong until the workers have renewed them.
func (k *Leases) watchClock(clock, now time.Time) {
	if !k.clock.IsZero() {
		jump := clock.Sub(k.clock) - now.Sub(k.at)
		if jump > maxJump || jump < -maxJump {
			k.quiet = now.Add(k.cfg.Lease)
			k.cfg.Log.Warn("the clock of redis jumped; no claim is revoked for one lease", "by", jump.Round(time.Millisecond))
		}
	}
	k.clock, k.at = clock, now
}

// look notes what is seen. It returns the claims whose lease is over on both
// clocks, and when the next can be.
func (k *Leases) look(leases []ledger.Lease, clock, now time.Time) (over []ids.Attempt, next time.Duration) {
	current := make(map[ids.Attempt]sighting, len(leases))
	next = k.cfg.Lease
	for _, l := range leases {
		s, known := k.seen[l.Attempt]
		if !known || l.Ends.After(s.ends) {
			s.since = now
		}
		s.ends = l.Ends // an earlier end is a suspicion, no sign of life
		current[l.Attempt] = s
		left := max(k.cfg.Lease-now.Sub(s.since), l.Ends.Sub(clock)+time.Millisecond)
		if l.Ends.After(clock.Add(k.cfg.Lease + maxJump)) { // a clock set back: no lease ends that late
			left = k.cfg.Lease - now.Sub(s.since)
		}
		if left <= 0 {
			over = append(over, l.Attempt)
		} else {
			next = min(next, left)
		}
	}
	k.seen = current
	return over, next
}

// Suspect looks whether the worker that holds a claim still lives, and revokes
// the claim when it is proven gone.
func (k *Leases) Suspect(ctx context.Context, a ids.Attempt) error {
	_, err := k.expire(ctx, a, workerGone, k.ask, func(s ledger.NodeState) (bool, error) {
		if s.Attempt != a.N {
			return false, nil
		}
		w, err := k.cfg.Ledger.Worker(ctx, ids.WorkerID(s.Worker))
		if err != nil {
			return false, err
		}
		return k.cfg.Gone(ctx, w), nil
	})
	return err
}

// asking finds out whether a lost at-most-once node was started; known is false
// when it has no answer yet.
type asking func(ctx context.Context, lease, a ids.Attempt, token uuid.UUID, claimed time.Time) (unstarted, known bool, err error)

// ask waits for the answer.
func (k *Leases) ask(ctx context.Context, _, a ids.Attempt, _ uuid.UUID, claimed time.Time) (unstarted, known bool, err error) {
	unstarted, err = k.cfg.Once.Unstarted(ctx, a, claimed)
	return unstarted, err == nil, ignoreGone(err)
}

// asked does not.
func (k *Leases) asked(_ context.Context, lease, a ids.Attempt, token uuid.UUID, claimed time.Time) (unstarted, known bool, err error) {
	unstarted, known = k.doubts.ask(lease, a, token, claimed)
	return unstarted, known, nil
}

// expire revokes the claim a node is under now, if sure says so. That of an
// at-most-once node waits until it is known whether the node was started.
func (k *Leases) expire(ctx context.Context, a ids.Attempt, cause string, ask asking, sure func(ledger.NodeState) (bool, error)) (bool, error) {
	states, err := k.cfg.Ledger.Nodes(ctx, a.Flow, a.Cycle, []ids.NodeID{a.Node})
	if err != nil {
		return false, err
	}
	s := states[0]
	if s.Status == task.Running { // otherwise the script removes what is left of the lease
		yes, err := sure(s)
		if err != nil || !yes {
			return false, ignoreGone(err)
		}
	}
	p, err := k.cfg.Plans.OfCycle(ctx, a)
	x := ledger.Expiry{Attempt: a, MaxLost: k.cfg.MaxLost, Cause: cause, Plan: &plan.Node{}}
	switch {
	case err == nil && p.Node(a.Node) != nil:
		x.Plan, x.OnFailure = p.Node(a.Node), p.OnFailure
	case err != nil && ignoreGone(err) != nil:
		return false, err
	}
	x.N = s.Attempt
	x.Token = parseToken(s.Token)
	if s.Status == task.Running && x.Plan.Delivery == plan.AtMostOnce && k.cfg.Once != nil {
		var known bool
		if x.Unstarted, known, err = ask(ctx, a, x.Attempt, x.Token, s.StartedAt); err != nil || !known {
			return false, err
		}
	}
	done, err := k.cfg.Ledger.Expire(ctx, k.cfg.Epoch, x)
	if err != nil {
		return false, fmt.Errorf("revoke %s: %w", x.Attempt, err)
	}
	if done {
		k.cfg.Log.Warn("claim revoked", "flow", a.Flow, "cycle", a.Cycle, "node", a.Node, "attempt", s.Attempt, "worker", s.Worker, "cause", cause,
			"unstarted", x.Unstarted)
		if k.cfg.Revoked != nil {
			k.cfg.Revoked()
		}
		if k.cfg.Frozen != nil && cause == ledger.LeaseOver {
			a.N = s.Attempt + 1
			k.cfg.Frozen(a)
		}
	}
	return done, nil
}
