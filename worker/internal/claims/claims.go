// Package claims keeps a worker process's claims alive. One heartbeat renews all
// of them; its answers end the attempts whose claim is lost or whose cycle is
// ending.
//
// # Fencing oneself
//
// A claim is good as long as the leader may not revoke it: from the instant the
// last heartbeat that succeeded was sent, one lease long. When that time less a
// margin has passed on this process's monotonic clock, the attempt's context
// ends, whether or not anything was heard: the worker can no longer prove that
// the attempt is its own. Its result is still offered to the ledger, which
// decides by the token. A process that was stopped finds the time over when it
// wakes and ends its attempts before its next heartbeat is answered.
package claims

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Causes for which the context of an attempt ends.
var (
	// ErrLost: the claim is another's by now, or can't be proven own.
	ErrLost = errors.New("claim lost")
	// ErrCancelled: the cycle is ending.
	ErrCancelled = errors.New("cycle is ending")
)

// Ledger renews claims.
type Ledger interface {
	Heartbeat(ctx context.Context, w ids.WorkerID, lease time.Duration, claims []ledger.HeldClaim) ([]ledger.Beat, error)
}

// Config of a Keeper.
type Config struct {
	Ledger Ledger
	Worker ids.WorkerID
	Lease  time.Duration
	Log    hclog.Logger
	// Partition returns the partition of a flow: each has a heartbeat of its own, so that
	// none waits for the server of another. nil = there is one.
	Partition func(f ids.FlowID) int
}

// Keeper holds the claims of a process.
type Keeper struct {
	cfg Config

	mu     sync.Mutex
	woke   time.Time // when the first claim came after a time without any
	claims map[key]*claim
	beats  map[int]*beats // by partition
	wake   chan struct{}
}

// beats is the heartbeats of a partition.
type beats struct {
	sent time.Time // the last one
	out  bool      // it still waits for its answer
	down bool      // it failed
}

// key names a claim: those that came with one report have the same token.
type key struct {
	token uuid.UUID
	node  ids.NodeID
}

type claim struct {
	held   ledger.HeldClaim
	until  time.Time // end of the time it is proven own
	fenced bool      // that time is over; its attempt was ended
	lost   bool      // the ledger said so; it is not renewed any more
	cancel context.CancelCauseFunc
}

// NewKeeper makes a keeper of no claims.
func NewKeeper(cfg Config) *Keeper {
	return &Keeper{cfg: cfg, claims: map[key]*claim{}, beats: map[int]*beats{}, wake: make(chan struct{}, 1)}
}

// margin is how long before the end of its lease a claim counts as lost.
func (k *Keeper) margin() time.Duration { return k.cfg.Lease / 10 }

// Hold keeps a claim that was asked for at sent. The context it returns ends
// with ErrLost or ErrCancelled as its cause, and has ended already if the claim
// took so long that it can't be proven own. drop gives the claim up: until then
// it is renewed, also when its context has ended, so that a result may be held.
func (k *Keeper) Hold(ctx context.Context, a ids.Attempt, token uuid.UUID, sent time.Time) (held context.Context, drop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	k.mu.Lock()
	c := &claim{held: ledger.HeldClaim{Attempt: a, Token: token}, until: sent.Add(k.cfg.Lease - k.margin()), cancel: cancel}
	k.claims[key{token, a.Node}] = c
	first := len(k.claims) == 1
	k.fence(c, time.Now())
	k.mu.Unlock()
	if first {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
	return ctx, func() {
		k.mu.Lock()
		delete(k.claims, key{token, a.Node})
		k.mu.Unlock()
		cancel(nil)
	}
}

// Busy returns the number of claims.
func (k *Keeper) Busy() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.claims)
}

// Run renews claims until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	every := k.cfg.Lease / 5
	check := time.NewTicker(max(k.cfg.Lease/20, 10*time.Millisecond))
	check.Stop()
	defer check.Stop()
	var out sync.WaitGroup
	defer out.Wait()
	idle := true
	for {
		var tick <-chan time.Time
		if !idle {
			tick = check.C
		}
		select {
		case <-tick:
		case <-k.wake:
			if idle {
				idle = false
				k.rested(time.Now())
				check.Reset(max(k.cfg.Lease/20, 10*time.Millisecond))
			}
			continue
		case <-ctx.Done():
			return nil
		}
		now := time.Now()
		held := k.look(now)
		if len(held) == 0 {
			idle = k.Busy() == 0
			if idle {
				check.Stop()
			}
			continue
		}
		for p, due := range k.due(held, now, every) {
			out.Go(func() { k.beat(ctx, p, due, now) })
		}
	}
}

// rested begins the time to the next heartbeat of every partition.
func (k *Keeper) rested(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range k.beats {
		b.sent = now
	}
	k.woke = now
}

// due returns the claims to renew now by partition, and notes that their heartbeats are
// sent. One that waits for its answer is followed by none.
func (k *Keeper) due(held []ledger.HeldClaim, now time.Time, every time.Duration) map[int][]ledger.HeldClaim {
	k.mu.Lock()
	defer k.mu.Unlock()
	due := map[int][]ledger.HeldClaim{}
	for _, c := range held {
		p := 0
		if k.cfg.Partition != nil {
			p = k.cfg.Partition(c.Flow)
		}
		b := k.beats[p]
		if b == nil {
			b = &beats{sent: k.woke}
			k.beats[p] = b
		}
		if !b.out && now.Sub(b.sent) >= every {
			due[p] = append(due[p], c)
		}
	}
	for p := range due {
		k.beats[p].sent, k.beats[p].out = now, true
	}
	return due
}

// look ends the attempts whose time is over and returns the claims to renew.
func (k *Keeper) look(now time.Time) []ledger.HeldClaim {
	k.mu.Lock()
	defer k.mu.Unlock()
	held := make([]ledger.HeldClaim, 0, len(k.claims))
	for _, c := range k.claims {
		k.fence(c, now)
		if !c.lost {
			held = append(held, c.held)
		}
	}
	return held
}

// fence ends an attempt whose time is over; the caller holds mu.
func (k *Keeper) fence(c *claim, now time.Time) {
	if c.fenced || !now.After(c.until) {
		return
	}
	c.fenced = true
	c.cancel(ErrLost)
	k.cfg.Log.Warn("claim can't be proven own any more; its attempt is ended", "flow", c.held.Flow, "cycle", c.held.Cycle,
		"node", c.held.Node, "attempt", c.held.N)
}

func (k *Keeper) beat(ctx context.Context, p int, held []ledger.HeldClaim, sent time.Time) {
	bounded, cancel := context.WithTimeout(ctx, k.cfg.Lease/2)
	defer cancel()
	answers, err := k.cfg.Ledger.Heartbeat(bounded, k.cfg.Worker, k.cfg.Lease, held)
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.beats[p]
	b.out = false
	if err != nil {
		if !b.down && ctx.Err() == nil {
			k.cfg.Log.Warn("heartbeat failed", "claims", len(held), "error", err)
		}
		b.down = true
		return
	}
	if b.down {
		k.cfg.Log.Info("heartbeats are answered again")
	}
	b.down = false
	for i, answer := range answers {
		c := k.claims[key{held[i].Token, held[i].Node}]
		if c == nil { // dropped meanwhile
			continue
		}
		switch answer {
		case ledger.Lost:
			c.lost = true
			c.cancel(ErrLost)
		case ledger.Cancel:
			c.until = sent.Add(k.cfg.Lease - k.margin())
			c.cancel(ErrCancelled)
		case ledger.Renewed:
			c.until = sent.Add(k.cfg.Lease - k.margin())
		}
	}
}
