package reconcile

import (
	"context"
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
	last  map[cycleKey]int64 // completed nodes at the last look
	empty map[string]emptyLook
}

// emptyLook is the last look at a queue.
type emptyLook struct {
	at     time.Time // when
	empty  time.Time // at, when it was empty
	before time.Time // the look before that, when it was empty then too
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
	return &Audit{cfg: cfg, whole: make(chan struct{}, 1), last: map[cycleKey]int64{}, empty: map[string]emptyLook{}}
}

// Whole asks for an audit of everything now.
func (a *Audit) Whole() {
	select {
	case a.whole <- struct{}{}:
	default:
	}
}

// Run audits until ctx ends or the epoch is fenced, which it returns. It begins
// with everything.
func (a *Audit) Run(ctx context.Context) error {
	look := time.NewTicker(a.cfg.Look)
	defer look.Stop()
	var audited time.Time
	for {
		now := time.Now()
		all := now.Sub(audited) >= a.cfg.Every
		err := a.pass(ctx, all, now)
		switch {
		case ledger.Fenced(err):
			return err
		case err != nil && ctx.Err() == nil:
			a.cfg.Log.Warn("audit is put off", "error", err)
		case all:
			audited = now
		}
		select {
		case <-look.C:
		case <-a.whole:
			audited = time.Time{}
		case <-ctx.Done():
			return nil
		}
	}
}

// pass audits all running cycles, or those that made no progress since the last
// pass.
func (a *Audit) pass(ctx context.Context, all bool, now time.Time) error {
	active, err := a.cfg.Ledger.Active(ctx)
	if err != nil {
		return err
	}
	seen := make(map[cycleKey]int64, len(active))
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
		if all || (known && before == s.Completed) {
			if err := a.cycle(ctx, c, now); ignoreGone(err) != nil {
				return fmt.Errorf("audit %s/%d: %w", c.Flow, c.Cycle, err)
			}
		}
	}
	a.last = seen
	return nil
}

// cycle audits one cycle. The order of its reads matters: counters first, then
// states, then the outbox, so that what changes in between makes a repair's
// guard fail and never makes a wrong repair pass.
func (a *Audit) cycle(ctx context.Context, c ledger.ActiveCycle, now time.Time) error {
	p, err := a.cfg.Plans.OfCycle(ctx, ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID})
	if err != nil {
		return err
	}
	s, err := a.cfg.Ledger.Cycle(ctx, c.Flow, c.Cycle)
	if err != nil {
		return err
	}
	joins, err := a.cfg.Ledger.Joins(ctx, c.Flow, c.Cycle)
	if err != nil {
		return err
	}
	states, err := a.cfg.Ledger.Nodes(ctx, c.Flow, c.Cycle, advance.Members(p, -1))
	if err != nil {
		return err
	}
	leases, timers, err := a.cfg.Ledger.Protections(ctx, c, states)
	if err != nil {
		return err
	}
	posted, err := a.cfg.Ledger.ReadPosted(ctx)
	if err != nil {
		return err
	}
	found := progress.Audit(p, snapshot(c, s, joins, states, leases, timers, posted))
	if err := a.mend(ctx, c, s, p, found); err != nil {
		return err
	}
	return a.lostMessages(ctx, c, p, states, now)
}

func snapshot(c ledger.ActiveCycle, s ledger.CycleState, joins map[string]string, states []ledger.NodeState,
	leases, timers map[ids.NodeID]bool, posted ledger.Posted) progress.Snapshot {
	snap := progress.Snapshot{
		OnFailure: s.OnFailure, Cancelling: s.Status == "cancelling", Ended: map[int]bool{}, Joins: joins,
		Nodes: make(map[ids.NodeID]progress.Record, len(states)), Counters: map[string]int{"completed_nodes": int(s.Completed)},
		Spreading: s.Raw["spread"] != "", SpreadSet: posted.Cycle(ledger.KindSpread, c.Flow, c.Cycle), SweepSet: posted.Cycle(ledger.KindSweep, c.Flow, c.Cycle),
	}
	for k := range s.Components {
		if n, err := strconv.Atoi(k); err == nil {
			snap.Ended[n] = true
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
		status, reason := advance.Ending(s.Components[strconv.Itoa(k)])
		if err := a.cfg.Ledger.Sweep(ctx, a.cfg.Epoch, entry, status, reason, advance.Members(p, k)); err != nil {
			return err
		}
	}
	return nil
}

// lostMessages offers again what was dispatched, is in no queue, and nobody
// claimed.
func (a *Audit) lostMessages(ctx context.Context, c ledger.ActiveCycle, p *plan.Plan, states []ledger.NodeState, now time.Time) error {
	for i, n := range states {
		if n.Status != task.Dispatched || n.Blocker != "" {
			continue
		}
		queue := taskqueue.Queue(a.cfg.Prefix, p.Nodes[i].Pool)
		before, err := a.emptyBefore(ctx, queue, now)
		if err != nil {
			return err
		}
		if before.IsZero() || !n.DispatchedAt.Before(wall(before)) {
			continue
		}
		at := ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID, Node: n.Node, N: n.Attempt}
		done, err := a.cfg.Ledger.OfferAgain(ctx, a.cfg.Epoch, at, "message lost")
		if err != nil {
			return err
		}
		if done {
			a.note(c, string(n.Node), "message")
		}
	}
	return nil
}

// emptyBefore looks at a queue and returns the earlier look at which it was empty
// too; zero when it is not empty, or was not.
func (a *Audit) emptyBefore(ctx context.Context, queue string, now time.Time) (time.Time, error) {
	l := a.empty[queue]
	if l.at.Equal(now) {
		return l.before, nil
	}
	d, err := a.cfg.Depths.Depth(ctx, queue)
	if err != nil {
		delete(a.empty, queue)
		return time.Time{}, fmt.Errorf("depth of %s: %w", queue, err)
	}
	if d.Ready > 0 {
		l = emptyLook{at: now}
	} else {
		l = emptyLook{at: now, before: l.empty, empty: now}
	}
	a.empty[queue] = l
	return l.before, nil
}

// wall strips the monotonic reading: the other side was stamped by Redis. A
// skew between the clocks only moves the offer by as much.
func wall(t time.Time) time.Time { return t.Round(0) }

func (a *Audit) note(c ledger.ActiveCycle, node, kind string) {
	a.cfg.Log.Warn("repaired", "kind", kind, "flow", c.Flow, "cycle", c.Cycle, "node", node)
	if a.cfg.Mended != nil {
		a.cfg.Mended(kind)
	}
}
