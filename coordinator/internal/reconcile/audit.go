package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/advance"
	"github.com/tradingflow/weather-station/coordinator/internal/progress"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// AuditLedger is what the audit reads and writes.
type AuditLedger interface {
	Now(ctx context.Context) (time.Time, error)
	Active(ctx context.Context) ([]ledger.ActiveCycle, error)
	Cycle(ctx context.Context, f ids.FlowID, n int64) (ledger.CycleState, error)
	Nodes(ctx context.Context, f ids.FlowID, n int64, nodes []ids.NodeID) ([]ledger.NodeState, error)
	Joins(ctx context.Context, f ids.FlowID, n int64) (map[string]string, error)
	ReadPosted(ctx context.Context) (ledger.Posted, error)
	Protections(ctx context.Context, c ledger.ActiveCycle, nodes []ledger.NodeState) (leases, timers map[ids.NodeID]bool, err error)
	MendNode(ctx context.Context, epoch ids.Epoch, a ids.Attempt, status, repair string, lease time.Duration) (bool, error)
	MendCounts(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle, seen int64, counters map[string]int, joins []ledger.JoinFix) (bool, error)
	Sweep(ctx context.Context, epoch ids.Epoch, e ledger.Entry, status, reason string, nodes []ids.NodeID) error
	OfferAgain(ctx context.Context, epoch ids.Epoch, a ids.Attempt, why string) (bool, error)
}

// Depths tells how many messages wait in a queue.
type Depths interface {
	Depth(ctx context.Context, queue string) (taskqueue.Depth, error)
}

// AuditConfig configures an Audit.
type AuditConfig struct {
	Ledger AuditLedger
	Plans  Plans
	Depths Depths
	Prefix string
	Epoch  ids.Epoch
	Lease  time.Duration
	Every  time.Duration // between audits of everything; a minute when 0
	Look   time.Duration // between looks at cycles that stand still; 5 s when 0
	Log    hclog.Logger
	Mended func(kind string) // counts repairs; may be nil
}

// Audit repairs what a store has lost.
type Audit struct {
	cfg   AuditConfig
	whole chan struct{}
	hurry chan struct{}
	last  map[cycleKey]int64 // completed nodes at the last look
	empty map[string]emptyLook
}

type cycleKey struct {
	flow ids.FlowID
	n    int64
}

// NewAudit makes an audit.
func NewAudit(cfg AuditConfig) *Audit {
	if cfg.Every <= 0 {
		cfg.Every = time.Minute
	}
	if cfg.Look <= 0 {
		cfg.Look = 5 * time.Second
	}
	return &Audit{cfg: cfg, whole: make(chan struct{}, 1), hurry: make(chan struct{}, 1), last: map[cycleKey]int64{}, empty: map[string]emptyLook{}}
}

// Whole asks for an audit of everything now.
func (a *Audit) Whole() {
	select {
	case a.whole <- struct{}{}:
	default:
	}
}

// Hurry says that a worker was lost without a word: offers that it took into its
// slots are made again now.
func (a *Audit) Hurry() {
	select {
	case a.hurry <- struct{}{}:
	default:
	}
}

// Run audits until ctx ends or the epoch is fenced, which it returns. It begins
// with everything.
func (a *Audit) Run(ctx context.Context) error {
	look := time.NewTicker(a.cfg.Look)
	defer look.Stop()
	var audited time.Time
	hurry := false
	for {
		now := time.Now()
		all := now.Sub(audited) >= a.cfg.Every
		err := a.pass(ctx, all, hurry)
		switch {
		case ledger.Fenced(err):
			return err
		case err != nil && ctx.Err() == nil:
			a.cfg.Log.Warn("audit is put off", "error", err)
			clear(a.empty) // workers may have been cut off too: look twice again
		case all:
			audited = now
		}
		hurry = false
		select {
		case <-look.C:
		case <-a.hurry:
			hurry = true
		case <-a.whole:
			audited = time.Time{}
		case <-ctx.Done():
			return nil
		}
	}
}

// pass audits all running cycles, or those that made no progress since the last
// pass. A cycle that can't be audited holds up no other.
func (a *Audit) pass(ctx context.Context, all, hurry bool) error {
	active, err := a.cfg.Ledger.Active(ctx)
	if err != nil {
		return err
	}
	l := &looks{queues: map[string]error{}, idle: map[string]bool{}, hurry: hurry}
	if l.clock, err = a.cfg.Ledger.Now(ctx); err != nil {
		return err
	}
	seen := make(map[cycleKey]int64, len(active))
	var faults []error
	for _, c := range active {
		s, err := a.cfg.Ledger.Cycle(ctx, c.Flow, c.Cycle)
		if ignoreGone(err) != nil {
			return err
		}
		if err != nil || s.UUID != c.UUID || s.Ended() {
			continue
		}
		key := cycleKey{c.Flow, c.Cycle}
		before, known := a.last[key]
		seen[key] = s.Completed
		if !all && !hurry && (!known || before != s.Completed) {
			continue
		}
		err = a.cycle(ctx, c, l)
		if ledger.Fenced(err) || errors.Is(err, ledger.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		if ignoreGone(err) != nil {
			faults = append(faults, fmt.Errorf("audit %s/%d: %w", c.Flow, c.Cycle, err))
		}
	}
	a.last = seen
	return errors.Join(faults...)
}

// view is what one audit of a cycle read.
type view struct {
	cycle  ledger.CycleState
	states []ledger.NodeState
	found  progress.Findings
}

// cycle audits one cycle. What looks wrong is read a second time, from the start:
// the first time may have caught the middle of a step, and what is repaired is
// counted.
func (a *Audit) cycle(ctx context.Context, c ledger.ActiveCycle, l *looks) error {
	p, err := a.cfg.Plans.OfCycle(ctx, ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID})
	if err != nil {
		return err
	}
	v, err := a.read(ctx, c, p)
	if err != nil {
		return err
	}
	if !v.found.Empty() {
		first := v.found
		if v, err = a.read(ctx, c, p); err != nil {
			return err
		}
		if err := a.mend(ctx, c, v.cycle, p, first.Both(v.found)); err != nil {
			return err
		}
	}
	return a.lostMessages(ctx, c, p, v.states, l)
}

// read takes one look at a cycle. The order of its reads matters: counters first,
// then states, then the outbox, so that what changes in between makes a repair's
// guard fail and never makes a wrong repair pass.
func (a *Audit) read(ctx context.Context, c ledger.ActiveCycle, p *plan.Plan) (v view, err error) {
	if v.cycle, err = a.cfg.Ledger.Cycle(ctx, c.Flow, c.Cycle); err != nil || v.cycle.UUID != c.UUID || v.cycle.Ended() {
		return v, err
	}
	joins, err := a.cfg.Ledger.Joins(ctx, c.Flow, c.Cycle)
	if err != nil {
		return v, err
	}
	if v.states, err = a.cfg.Ledger.Nodes(ctx, c.Flow, c.Cycle, advance.Members(p, -1)); err != nil {
		return v, err
	}
	leases, timers, err := a.cfg.Ledger.Protections(ctx, c, v.states)
	if err != nil {
		return v, err
	}
	posted, err := a.cfg.Ledger.ReadPosted(ctx)
	if err != nil {
		return v, err
	}
	v.found = progress.Audit(p, snapshot(c, v.cycle, joins, v.states, leases, timers, posted))
	return v, nil
}

func snapshot(c ledger.ActiveCycle, s ledger.CycleState, joins map[string]string, states []ledger.NodeState,
	leases, timers map[ids.NodeID]bool, posted ledger.Posted) progress.Snapshot {
	snap := progress.Snapshot{
		OnFailure: s.OnFailure, Cancelling: s.Status == "cancelling", Ended: map[int]string{}, Joins: joins,
		Nodes: make(map[ids.NodeID]progress.Record, len(states)), Counters: map[string]int{"completed_nodes": int(s.Completed)},
		Spreading: s.Raw["spread"] != "", SpreadSet: posted.Cycle(ledger.KindSpread, c.Flow, c.Cycle), SweepSet: posted.Cycle(ledger.KindSweep, c.Flow, c.Cycle),
	}
	for k, how := range s.Components {
		if n, err := strconv.Atoi(k); err == nil {
			snap.Ended[n] = how
		}
	}
	for status, n := range s.Counts {
		snap.Counters[string(status)+"_nodes"] = int(n)
	}
	for _, n := range states {
		at := ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID, Node: n.Node, N: n.Attempt}
		asked := at
		asked.N = 0
		offered := posted.Attempt(ledger.KindReady, at)
		if n.Status == task.Waiting {
			offered = posted.Attempt(ledger.KindDecide, asked)
		}
		snap.Nodes[n.Node] = progress.Record{
			Status: n.Status, Attempt: n.Attempt, Dead: n.Dead, Reason: n.Reason, Blocked: n.Blocker != "",
			Spread: n.Spread, Posted: posted.Attempt(ledger.KindSpread, asked),
			Offered: offered, Leased: leases[n.Node], TimerSet: timers[n.Node],
		}
	}
	return snap
}

func (a *Audit) mend(ctx context.Context, c ledger.ActiveCycle, s ledger.CycleState, p *plan.Plan, f progress.Findings) error {
	if f.Empty() {
		return nil
	}
	for _, r := range f.Nodes {
		at := ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID, Node: r.Node, N: r.Attempt}
		status := string(r.Seen)
		if r.Seen == task.Waiting {
			status = ""
		}
		done, err := a.cfg.Ledger.MendNode(ctx, a.cfg.Epoch, at, status, r.Kind, a.cfg.Lease)
		if err != nil {
			return err
		}
		if done {
			a.note(c, string(r.Node), r.Kind)
		}
	}
	if len(f.Counters) > 0 || len(f.Joins) > 0 {
		fixes := make([]ledger.JoinFix, len(f.Joins))
		for i, j := range f.Joins {
			fixes[i] = ledger.JoinFix{Field: j.Field, Seen: j.Seen, Right: j.Right}
		}
		done, err := a.cfg.Ledger.MendCounts(ctx, a.cfg.Epoch, c, s.Completed, f.Counters, fixes)
		if err != nil {
			return err
		}
		if done {
			a.note(c, "", "counts")
		}
	}
	entry := ledger.Entry{Attempt: ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID}}
	if f.SweepAll {
		a.note(c, "", "sweep")
		return a.cfg.Ledger.Sweep(ctx, a.cfg.Epoch, entry, "cancelled", s.Raw["cause"], advance.Members(p, -1))
	}
	for _, k := range f.Sweep {
		a.note(c, "", "sweep")
		status, reason := advance.Ending(k.How)
		if err := a.cfg.Ledger.Sweep(ctx, a.cfg.Epoch, entry, status, reason, advance.Members(p, k.Component)); err != nil {
			return err
		}
	}
	return nil
}

func (a *Audit) note(c ledger.ActiveCycle, node, kind string) {
	a.cfg.Log.Warn("repaired", "kind", kind, "flow", c.Flow, "cycle", c.Cycle, "node", node)
	if a.cfg.Mended != nil {
		a.cfg.Mended(kind)
	}
}
