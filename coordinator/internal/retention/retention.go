// Package retention keeps the ledger small: of each flow it archives the ended
// cycles past the newest few and removes those past the newest many. It works
// when some more cycles have ended and once over all flows at the start of a leadership, a
// flow at a time, beside the work and never in its way: where cycles are short, a pass
// for each would cost as much as the cycle, and ten in one pass share its round
// trips and scripts. So of a flow up to Slack cycles more than it keeps may be there. Running cycles
// count but are never touched. Both steps may be repeated and survive a leader's death in the
// middle: a half-archived cycle is finished by the next pass. Cycles are done together; where that fails of
// more than an outage, each by itself, so that one whose records can't be read or written keeps no other. It is tried again
// every five seconds.
package retention

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
)

// Defaults of Config.
const (
	DefaultDetailed = 10
	DefaultKept     = 100
	DefaultSlack    = 10
)

// together is how many cycles are read, archived or removed at once.
const together = 16

// Ledger is what retention reads and writes.
type Ledger interface {
	Flow(ctx context.Context, f ids.FlowID) (ledger.FlowState, error)
	CycleNumbers(ctx context.Context, f ids.FlowID) ([]int64, error)
	CyclesAt(ctx context.Context, f ids.FlowID, numbers []int64) ([]ledger.CycleState, error)
	ArchiveCycles(ctx context.Context, epoch ids.Epoch, cycles []ledger.CycleState, nodes [][]ids.NodeID) error
	DeleteArchived(ctx context.Context, epoch ids.Epoch, f ids.FlowID, numbers []int64) (others []int64, err error)
	DeleteCycles(ctx context.Context, epoch ids.Epoch, f ids.FlowID, numbers []int64, nodes [][]ids.NodeID) error
	PurgeFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, entry string) (int64, error)
}

// Plans finds a revision's plan.
type Plans interface {
	Of(ctx context.Context, c ledger.CycleState) (*plan.Plan, error)
}

// Config of a Keeper.
type Config struct {
	Ledger   Ledger
	Plans    Plans
	Epoch    ids.Epoch
	Detailed int // newest cycles of a flow that keep their records whole
	Kept     int // newest cycles of a flow that are kept at all
	Slack    int // cycles that may be there beyond either bound before a pass is made; 0 = 10, or the lower bound if that is less
	Log      hclog.Logger
}

// Keeper works through flows one after another.
type Keeper struct {
	cfg  Config
	wake chan struct{}

	purging sync.Mutex // one purge at a time

	mu      sync.Mutex
	waiting map[ids.FlowID]struct{}
	order   []ids.FlowID
	failed  []ids.FlowID         // to be tried again later
	floor   map[ids.FlowID]int64 // cycles below are archived already
	spare   map[ids.FlowID]int   // cycles that may end before a pass finds something to do
}

// New makes a keeper.
func New(cfg Config) *Keeper {
	if cfg.Detailed <= 0 {
		cfg.Detailed = DefaultDetailed
	}
	if cfg.Kept <= 0 {
		cfg.Kept = DefaultKept
	}
	if cfg.Slack <= 0 {
		cfg.Slack = min(DefaultSlack, cfg.Detailed, cfg.Kept)
	}
	return &Keeper{cfg: cfg, wake: make(chan struct{}, 1), waiting: map[ids.FlowID]struct{}{}, floor: map[ids.FlowID]int64{}, spare: map[ids.FlowID]int{}}
}

// Detailed is how many cycles of a flow stay whole: a flow that has made no more
// needs no pass.
func (k *Keeper) Detailed() int { return min(k.cfg.Detailed, k.cfg.Kept) }

// Ended hears that a cycle of a flow has ended, and asks for a pass when there may be
// something to do.
func (k *Keeper) Ended(f ids.FlowID) {
	k.mu.Lock()
	left := k.spare[f]
	if left > 0 {
		k.spare[f] = left - 1
	}
	k.mu.Unlock()
	if left == 0 {
		k.Tidy(f)
	}
}

// Tidy asks for a pass over these flows.
func (k *Keeper) Tidy(flows ...ids.FlowID) {
	k.mu.Lock()
	for _, f := range flows {
		if _, there := k.waiting[f]; !there {
			k.waiting[f] = struct{}{}
			k.order = append(k.order, f)
		}
	}
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *Keeper) next() (ids.FlowID, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.order) == 0 {
		return "", false
	}
	f := k.order[0]
	k.order = k.order[1:]
	delete(k.waiting, f)
	return f, true
}

// Run tidies until ctx ends or the epoch is fenced, which it returns.
func (k *Keeper) Run(ctx context.Context) error {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-k.wake:
		case <-again.C:
			k.mu.Lock()
			flows := k.failed
			k.failed = nil
			k.mu.Unlock()
			k.Tidy(flows...)
		case <-ctx.Done():
			return nil
		}
		for f, ok := k.next(); ok && ctx.Err() == nil; f, ok = k.next() {
			err := k.flow(ctx, f)
			if ledger.Fenced(err) {
				return err
			}
			if err != nil && ctx.Err() == nil {
				k.putOff(f, err)
				again.Reset(patience)
			}
		}
	}
}

// patience is how long a flow whose pass failed waits for the next one.
const patience = 5 * time.Second

func (k *Keeper) putOff(f ids.FlowID, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.failed) == 0 { // the others fail of the same, most likely
		k.cfg.Log.Warn("old cycles are left for a later pass", "flow", f, "error", err)
	}
	k.failed = append(k.failed, f)
}

func (k *Keeper) flow(ctx context.Context, f ids.FlowID) error {
	k.spares(f, 0) // who ends meanwhile may have been met running
	all, err := k.cfg.Ledger.CycleNumbers(ctx, f)
	if err != nil {
		return err
	}
	var faults []error
	past, whole := max(len(all)-k.cfg.Kept, 0), true
	for page := range slices.Chunk(all[:past], together) {
		done, err := k.eraseApart(ctx, f, page, ledger.CycleState.Ended)
		if ends(err) {
			return err
		}
		faults = append(faults, err)
		whole = whole && done == len(page)
	}
	old, floor := all[past:max(len(all)-k.cfg.Detailed, past)], k.archivedBelow(f)
	for page := range slices.Chunk(slices.DeleteFunc(old, func(n int64) bool { return n < floor }), together) {
		done, err := apart(page, func(page []int64) (int, error) { return k.archive(ctx, f, page) })
		if ends(err) {
			return err
		}
		faults = append(faults, err)
		if whole && done > 0 {
			k.archived(f, page[done-1])
		}
		whole = whole && done == len(page) // one that still runs is looked at again, and all after it
	}
	if whole { // else the next end may be of one that was passed over
		k.spares(f, max(k.Detailed()-len(all), 0)+k.cfg.Slack-1)
	}
	return errors.Join(faults...)
}

// archivedBelow remembers how far a flow is archived, so that a pass reads only
// the cycles that are new to it.
func (k *Keeper) archivedBelow(f ids.FlowID) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.floor[f]
}

// spares remembers how many cycles more a flow may have before there is something to do.
func (k *Keeper) spares(f ids.FlowID, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n > 0 {
		k.spare[f] = n
	} else {
		delete(k.spare, f)
	}
}

func (k *Keeper) archived(f ids.FlowID, n int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.floor[f] = n + 1
}

// archive archives those cycles that have ended. It reports for how many of them, from
// the first on, nothing is left to be done.
func (k *Keeper) archive(ctx context.Context, f ids.FlowID, numbers []int64) (done int, err error) {
	cycles, err := k.cfg.Ledger.CyclesAt(ctx, f, numbers)
	if err != nil {
		return 0, err
	}
	done = len(cycles)
	var todo []ledger.CycleState
	var nodes [][]ids.NodeID
	for i, c := range cycles {
		switch {
		case c.UUID == uuid.Nil, c.Archived:
		case !c.Ended():
			done = min(done, i)
		default:
			of, err := k.nodes(ctx, c)
			if err != nil {
				return 0, fmt.Errorf("cycle %d: %w", c.Cycle, err)
			}
			todo, nodes = append(todo, c), append(nodes, of)
		}
	}
	if len(todo) == 0 {
		return done, nil
	}
	return done, k.cfg.Ledger.ArchiveCycles(ctx, k.cfg.Epoch, todo, nodes)
}

// eraseApart erases a page of cycles apart.
func (k *Keeper) eraseApart(ctx context.Context, f ids.FlowID, page []int64, may func(ledger.CycleState) bool) (done int, err error) {
	return apart(page, func(page []int64) (int, error) {
		all, err := k.erase(ctx, f, page, may)
		if !all {
			return 0, err
		}
		return len(page), err
	})
}

// erase removes those cycles that are archived, or gone but for their number, and of the others those that
// may go. It reports whether these were all.
func (k *Keeper) erase(ctx context.Context, f ids.FlowID, numbers []int64, may func(ledger.CycleState) bool) (all bool, err error) {
	others, err := k.cfg.Ledger.DeleteArchived(ctx, k.cfg.Epoch, f, numbers)
	if err != nil {
		return false, err
	}
	cycles, err := k.cfg.Ledger.CyclesAt(ctx, f, others)
	if err != nil {
		return false, err
	}
	var old []int64
	var nodes [][]ids.NodeID
	for i, c := range cycles {
		if c.UUID != uuid.Nil && !may(c) {
			continue
		}
		var of []ids.NodeID
		if c.UUID != uuid.Nil && !c.Archived {
			if of, err = k.nodes(ctx, c); err != nil {
				return false, fmt.Errorf("cycle %d: %w", c.Cycle, err)
			}
		}
		old, nodes = append(old, others[i]), append(nodes, of)
	}
	if len(old) == 0 {
		return len(others) == 0, nil
	}
	return len(old) == len(others), k.cfg.Ledger.DeleteCycles(ctx, k.cfg.Epoch, f, old, nodes)
}

// nodes lists the nodes a cycle has records of. A plan that is gone leaves none
// to be found.
func (k *Keeper) nodes(ctx context.Context, c ledger.CycleState) ([]ids.NodeID, error) {
	p, err := k.cfg.Plans.Of(ctx, c)
	if errors.Is(err, ledger.ErrGone) {
		k.cfg.Log.Error("plan of a kept cycle is missing", "flow", c.Flow, "cycle", c.Cycle, "revision", c.Revision)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]ids.NodeID, len(p.Nodes))
	for i := range p.Nodes {
		out[i] = p.Nodes[i].ID
	}
	return out, nil
}
