package reconcile

import (
	"context"
	"fmt"
	"time"

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
	Gone    func(ctx context.Context, w ledger.Worker) bool // proves that a worker's process is gone
}

// massShare and massFloor say when a pass of expiries is doubted.
const massFloor = 10

// Leases revokes the claims of lost workers.
type Leases struct {
	cfg     LeasesConfig
	seen    map[ids.Attempt]sighting
	grace   chan time.Duration
	nudge   chan struct{}
	quiet   time.Time // no expiry before
	doubted bool      // the last pass would have revoked more than half
}

type sighting struct {
	ends  time.Time
	since time.Time // first seen with this end, on this process's monotonic clock
}

// NewLeases makes a keeper that grants one lease of grace from its first pass.
func NewLeases(cfg LeasesConfig) *Leases {
	return &Leases{cfg: cfg, seen: map[ids.Attempt]sighting{}, grace: make(chan time.Duration, 1), nudge: make(chan struct{}, 1)}
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
	select {
	case k.nudge <- struct{}{}:
	default:
	}
}

// Run looks at the leases until ctx ends or the epoch is fenced, which it
// returns.
func (k *Leases) Run(ctx context.Context) error {
	k.quiet = time.Now().Add(k.cfg.Lease)
	every := min(max(k.cfg.Lease/20, 50*time.Millisecond), 250*time.Millisecond)
	t := time.NewTimer(0)
	defer t.Stop()
	down, idle := false, false
	for {
		select {
		case <-t.C:
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
		n, err := k.pass(ctx, time.Now())
		switch {
		case ledger.Fenced(err):
			return err
		case err != nil && ctx.Err() == nil:
			if !down {
				k.cfg.Log.Warn("leases can't be looked at", "error", err)
			}
			down = true
			k.quiet = time.Now().Add(k.cfg.Lease) // workers could not renew either
		case down:
			down = false
			k.cfg.Log.Info("leases are looked at again")
		}
		next := every
		if idle = n == 0; idle {
			next = max(every, time.Second)
		}
		t.Reset(next)
	}
}

// pass looks once and returns how many claims run. now carries this process's
// monotonic clock.
func (k *Leases) pass(ctx context.Context, now time.Time) (int, error) {
	leases, err := k.cfg.Ledger.Leases(ctx)
	if err != nil || len(leases) == 0 {
		clear(k.seen)
		return 0, err
	}
	clock, err := k.cfg.Ledger.Now(ctx)
	if err != nil {
		return len(leases), err
	}
	over := k.look(leases, clock, now)
	if now.Before(k.quiet) || len(over) == 0 {
		return len(leases), nil
	}
	if len(over) > massFloor && len(over)*2 > len(leases) && !k.doubted {
		k.doubted = true
		k.quiet = now.Add(k.cfg.Lease)
		k.cfg.Log.Error("more than half of the leases ran out at once; waiting one lease more before revoking", "over", len(over), "leases", len(leases))
		return len(leases), nil
	}
	k.doubted = false
	for _, a := range over {
		if _, err := k.expire(ctx, a, "lease over", nil); err != nil {
			return len(leases), err
		}
	}
	return len(leases), nil
}

// look notes what is seen and returns the claims whose lease is over on both
// clocks.
func (k *Leases) look(leases []ledger.Lease, clock, now time.Time) []ids.Attempt {
	current := make(map[ids.Attempt]sighting, len(leases))
	var over []ids.Attempt
	for _, l := range leases {
		s, known := k.seen[l.Attempt]
		if !known || !s.ends.Equal(l.Ends) {
			s = sighting{ends: l.Ends, since: now}
		}
		current[l.Attempt] = s
		if clock.After(l.Ends) && now.Sub(s.since) >= k.cfg.Lease {
			over = append(over, l.Attempt)
		}
	}
	k.seen = current
	return over
}

// Suspect looks whether the worker that holds a claim still lives, and revokes
// the claim when it is proven gone.
func (k *Leases) Suspect(ctx context.Context, a ids.Attempt) error {
	_, err := k.expire(ctx, a, "worker gone", func(s ledger.NodeState) (bool, error) {
		w, err := k.cfg.Ledger.Worker(ctx, ids.WorkerID(s.Worker))
		if err != nil {
			return false, err
		}
		return s.Attempt == a.N && k.cfg.Gone(ctx, w), nil
	})
	return err
}

// expire revokes the claim a node is under now, if sure says so.
func (k *Leases) expire(ctx context.Context, a ids.Attempt, cause string, sure func(ledger.NodeState) (bool, error)) (bool, error) {
	states, err := k.cfg.Ledger.Nodes(ctx, a.Flow, a.Cycle, []ids.NodeID{a.Node})
	if err != nil {
		return false, err
	}
	s := states[0]
	if sure != nil {
		if s.Status != task.Running {
			return false, nil
		}
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
	done, err := k.cfg.Ledger.Expire(ctx, k.cfg.Epoch, x)
	if err != nil {
		return false, fmt.Errorf("revoke %s: %w", x.Attempt, err)
	}
	if done {
		k.cfg.Log.Warn("claim revoked", "flow", a.Flow, "cycle", a.Cycle, "node", a.Node, "attempt", s.Attempt, "worker", s.Worker, "cause", cause)
	}
	return done, nil
}
