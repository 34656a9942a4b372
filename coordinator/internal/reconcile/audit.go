package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Bounds of the time within which what is lost is repaired.
const (
	DefaultWithin = 5 * time.Second
	MinWithin     = 2 * time.Second
)

// parts of the bound: four looks fit into it, and leave one for the repair itself
// to take effect.
const parts = 5

// idleLook is the least time between looks while no cycle is open.
const idleLook = time.Second

// share of the time that looking may take: a look that took long is followed by
// a pause so many times longer.
const share = 4

// CycleLedger is what the audit reads and writes of open cycles.
type CycleLedger interface {
	Cycle(ctx context.Context, f ids.FlowID, n int64) (ledger.CycleState, error)
	Nodes(ctx context.Context, f ids.FlowID, n int64, nodes []ids.NodeID) ([]ledger.NodeState, error)
	Joins(ctx context.Context, f ids.FlowID, n int64) (map[string]string, error)
	ReadPosted(ctx context.Context) (ledger.Posted, error)
	Protections(ctx context.Context, c ledger.ActiveCycle, revision int64, nodes []ledger.NodeState) (ledger.Protection, error)
}

// Mender makes the repairs of a cycle.
type Mender interface {
	MendNode(ctx context.Context, epoch ids.Epoch, a ids.Attempt, status, repair string, lease time.Duration) (bool, error)
	MendDeadlineOf(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle, due time.Time) (bool, error)
	MendCounts(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle, seen int64, counters map[string]int, joins []ledger.JoinFix) (bool, error)
	Sweep(ctx context.Context, epoch ids.Epoch, e ledger.Entry, status, reason string, nodes []ids.NodeID) error
	WritePlan(ctx context.Context, p *plan.Plan) error
	OfferAgain(ctx context.Context, epoch ids.Epoch, a ids.Attempt, why string) (bool, error)
}

// ListLedger is what the audit reads and mends of the lists that lead to cycles
// and flows.
type ListLedger interface {
	Active(ctx context.Context) ([]ledger.ActiveCycle, error)
	Progresses(ctx context.Context, cycles []ledger.ActiveCycle) ([]ledger.Progress, error)
	Closing(ctx context.Context, before time.Time) ([]ledger.ActiveCycle, error)
	MendActive(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle) (bool, error)
	MendClosed(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle) (bool, error)
}

// FlowLedger is what the audit reads and mends of flows.
type FlowLedger interface {
	FlowIDs(ctx context.Context) ([]ids.FlowID, error)
	LookAtFlows(ctx context.Context, revisions map[ids.FlowID]int64) (map[ids.FlowID]ledger.FlowLook, map[ids.FlowID]bool, error)
	MendFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, seen string) (bool, error)
	MendPurge(ctx context.Context, epoch ids.Epoch, f ids.FlowID) (bool, error)
}

// AuditLedger is what the audit reads and writes.
type AuditLedger interface {
	Now(ctx context.Context) (time.Time, error)
	NoteRepair(ctx context.Context, epoch ids.Epoch, a ids.Attempt, kind, cause string) error
	CycleLedger
	Mender
	ListLedger
	FlowLedger
}

// Depths tells how many messages wait in a queue.
type Depths interface {
	Depth(ctx context.Context, queue string) (taskqueue.Depth, error)
}

// Flow is a flow that the ledger has to have.
type Flow struct {
	UID      uuid.UUID
	Revision int64
	Fields   int64 // of the stored plan
}

// Flows knows the flows that the ledger has to have.
type Flows interface {
	Len() int // about so many
	Names() []ids.FlowID
	Has(f ids.FlowID) bool
	Get(f ids.FlowID) (Flow, bool)
	// Restore writes what the ledger lacks of a flow.
	Restore(ctx context.Context, f ids.FlowID) error
}

// AuditConfig configures an Audit.
type AuditConfig struct {
	Ledger AuditLedger
	Plans  Plans
	Flows  Flows
	Depths Depths
	Prefix string
	Epoch  ids.Epoch
	Lease  time.Duration
	Within time.Duration // what is lost is put back within it; DefaultWithin when 0
	Log    hclog.Logger
	Mended func(kind string) // counts repairs; may be nil
}

// Audit repairs what a store has lost.
type Audit struct {
	cfg    AuditConfig
	look   time.Duration // between looks at cycles that stand still
	whole  chan struct{}
	hurry  chan struct{}
	nudge  chan struct{}
	losses losses
	last   map[cycleKey]int64 // completed nodes at the last look
	queues map[string]*queueWatch
	flawed map[ids.FlowID]string // what was wrong with a flow when it was looked at last
	round  []ids.FlowID          // flows that are yet to be looked at in this round
	entire int                   // so many looks at every flow are due at once
	begun  bool                  // the first look at everything was made
	slow   bool                  // looking takes so long that the bound is not kept, and that was told
}

type cycleKey struct {
	flow ids.FlowID
	n    int64
}

// NewAudit makes an audit.
func NewAudit(cfg AuditConfig) *Audit {
	if cfg.Within <= 0 {
		cfg.Within = DefaultWithin
	}
	return &Audit{
		cfg: cfg, look: cfg.Within / parts, whole: make(chan struct{}, 1), hurry: make(chan struct{}, 1), nudge: make(chan struct{}, 1),
		losses: losses{bell: make(chan struct{}, 1)},
		last:   map[cycleKey]int64{}, queues: map[string]*queueWatch{},
	}
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// Whole asks for an audit of everything now.
func (a *Audit) Whole() { ring(a.whole) }

// Hurry says that a worker was lost without a word: offers that it took into its
// slots are made again now.
func (a *Audit) Hurry() { ring(a.hurry) }

// Nudge says that offers went out: an idle audit looks at them soon.
func (a *Audit) Nudge() { ring(a.nudge) }

// Run audits until ctx ends or the epoch is fenced, which it returns. It begins
// with everything; then every look is at what stands still, and every second one
// at everything.
func (a *Audit) Run(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	all, hurry, idle := true, false, false
	for {
		select {
		case <-t.C:
		case <-a.hurry:
			hurry = true
		case <-a.whole:
			all, a.entire = true, 2 // what a flow lacks must be lacking at both
			a.forgetQueues()        // their times may be of a history that Redis has lost
		case <-a.losses.bell:
			idle = false
			t.Reset(settling)
			continue
		case <-a.nudge:
			if idle && a.look < idleLook {
				idle = false
				t.Reset(a.look)
			}
			continue
		case <-ctx.Done():
			return nil
		}
		began := time.Now()
		open, err := a.pass(ctx, all, hurry)
		if ledger.Fenced(err) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			a.cfg.Log.Warn("audit is put off", "error", err)
			a.forgetQueues() // workers may have been cut off too: look twice again
		}
		next := max(a.look, share*time.Since(began))
		a.tellSlow(next)
		if idle = open == 0 && err == nil; idle {
			next = max(next, idleLook)
		}
		all, hurry = err != nil && all || err == nil && !all, false
		t.Reset(next)
	}
}

// tellSlow says when the bound is given up, and when it is kept again.
func (a *Audit) tellSlow(next time.Duration) {
	slow := next > 2*a.look
	if slow == a.slow {
		return
	}
	if a.slow = slow; slow {
		a.cfg.Log.Warn("so many cycles are open that what is lost may be put back later than promised", "within", a.cfg.Within, "look", next.Round(time.Millisecond))
	} else {
		a.cfg.Log.Info("what is lost is put back in time again", "within", a.cfg.Within)
	}
}

// pass audits all running cycles and flows, or the cycles that made no progress
// since the last pass. A cycle that can't be audited holds up no other. It
// returns how many cycles are open.
func (a *Audit) pass(ctx context.Context, all, hurry bool) (open int, err error) {
	queues := a.losses.take()
	defer func() {
		if err != nil {
			a.losses.add(queues)
		}
	}()
	active, err := a.cfg.Ledger.Active(ctx)
	if err != nil {
		return 0, err
	}
	l := &looks{all: all, hurry: hurry}
	if l.clock, err = a.cfg.Ledger.Now(ctx); err != nil {
		return 0, err
	}
	l.lost = lost(queues, l.clock)
	if err := a.lookAtQueues(ctx, l); err != nil {
		return 0, err
	}
	progress, err := a.cfg.Ledger.Progresses(ctx, active)
	if err != nil {
		return 0, err
	}
	seen := make(map[cycleKey]int64, len(active))
	var faults []error
	for i, c := range active {
		if !progress[i].Open {
			faults = append(faults, a.stray(ctx, c))
			continue
		}
		key := cycleKey{c.Flow, c.Cycle}
		before, known := a.last[key]
		seen[key] = progress[i].Completed
		if !all && !hurry && len(queues) == 0 && (!known || before != progress[i].Completed) {
			continue
		}
		err = a.cycle(ctx, c, l)
		if ledger.Fenced(err) || errors.Is(err, ledger.ErrUnavailable) || ctx.Err() != nil {
			return len(active), err
		}
		if ignoreGone(err) != nil {
			faults = append(faults, fmt.Errorf("audit %s/%d: %w", c.Flow, c.Cycle, err))
		}
	}
	a.last = seen
	if all {
		a.endWatches()
		faults = append(faults, a.closed(ctx, l.clock))
		// A new leader has what waits to do before it looks through very many flows, which
		// the mirror does just then.
		if a.begun || a.entire > 0 || a.cfg.Flows == nil || a.cfg.Flows.Len() <= crowd {
			faults = append(faults, a.flows(ctx, active))
		}
		a.begun = true
	}
	return len(active), fenceFirst(faults)
}

// fenceFirst joins errors, but for a refusal by epoch, which is returned alone.
func fenceFirst(faults []error) error {
	for _, err := range faults {
		if ledger.Fenced(err) {
			return err
		}
	}
	return errors.Join(faults...)
}

func (a *Audit) note(f ids.FlowID, n int64, node ids.NodeID, kind string) {
	a.cfg.Log.Warn("repaired", "kind", kind, "flow", f, "cycle", n, "node", node)
	a.mended(kind)
}

func (a *Audit) mended(kind string) {
	if a.cfg.Mended != nil {
		a.cfg.Mended(kind)
	}
}
