package reconcile

import (
	"context"
	"strconv"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/advance"
	"github.com/tradingflow/weather-station/coordinator/internal/progress"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// view is what one audit of a cycle read.
type view struct {
	cycle  ledger.CycleState
	states []ledger.NodeState
	found  progress.Findings
	lacks  lacks
}

// lacks is what the cycle as a whole lacks.
type lacks struct {
	deadline time.Time // the timer of this one
	listing  bool      // in its flow
	plan     bool      // a part of its plan in the ledger
}

func (l lacks) empty() bool { return l == lacks{} }

// both keeps what two looks agree on.
func (l lacks) both(m lacks) lacks {
	out := lacks{listing: l.listing && m.listing, plan: l.plan && m.plan}
	if l.deadline.Equal(m.deadline) {
		out.deadline = m.deadline
	}
	return out
}

// cycle audits one cycle. What looks wrong is read a second time, from the start:
// the first time may have caught the middle of a step, and what is repaired is
// counted.
func (a *Audit) cycle(ctx context.Context, c ledger.ActiveCycle, l *looks) error {
	p, err := a.cfg.Plans.OfCycle(ctx, ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID})
	if err != nil {
		return err
	}
	v, err := a.read(ctx, c, p, l)
	if err != nil {
		return err
	}
	if first := v; !first.found.Empty() || !first.lacks.empty() {
		if v, err = a.read(ctx, c, p, l); err != nil {
			return err
		}
		if err := a.mendWhole(ctx, c, p, first.lacks.both(v.lacks)); err != nil {
			return err
		}
		if err := a.mend(ctx, c, v.cycle, p, first.found.Both(v.found)); err != nil {
			return err
		}
	}
	return a.lostMessages(ctx, c, p, v.states, l)
}

// read takes one look at a cycle. The order of its reads matters: counters first,
// then states, then the outbox, so that what changes in between makes a repair's
// guard fail and never makes a wrong repair pass. What the pass has read of the outbox
// before may only clear a cycle: an entry that is gone since is missed by the next pass.
// So of many cycles whose offers wait for their turn not each reads a long outbox.
func (a *Audit) read(ctx context.Context, c ledger.ActiveCycle, p *plan.Plan, l *looks) (v view, err error) {
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
	has, err := a.cfg.Ledger.Protections(ctx, c, v.cycle.Revision, v.states)
	if err != nil {
		return v, err
	}
	v.lacks = lacks{listing: !has.Listed, plan: has.Plan < ledger.PlanFields(p)}
	if due := deadline(v.cycle, p); !due.IsZero() && v.cycle.Status == "running" && !has.Deadline {
		v.lacks.deadline = due
	}
	// An empty outbox makes an entry look lost; only when something then seems to
	// be missing is it worth being read.
	if v.found = progress.Audit(p, snapshot(c, v.cycle, joins, v.states, has, ledger.Posted{})); v.found.Empty() {
		return v, nil
	}
	if l.posted != nil && progress.Audit(p, snapshot(c, v.cycle, joins, v.states, has, *l.posted)).Empty() {
		v.found = progress.Findings{}
		return v, nil
	}
	posted, err := a.cfg.Ledger.ReadPosted(ctx)
	if err != nil {
		return v, err
	}
	l.posted = &posted
	v.found = progress.Audit(p, snapshot(c, v.cycle, joins, v.states, has, posted))
	return v, nil
}

// deadline is when a cycle times out; zero when it never does.
func deadline(s ledger.CycleState, p *plan.Plan) time.Time {
	if s.Deadline.IsZero() && p.CycleTimeout > 0 { // a start that was torn
		return s.StartedAt.Add(p.CycleTimeout)
	}
	return s.Deadline
}

// mendWhole puts back what the cycle as a whole lacks.
func (a *Audit) mendWhole(ctx context.Context, c ledger.ActiveCycle, p *plan.Plan, l lacks) error {
	at := ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID}
	if l.plan {
		if err := a.cfg.Ledger.WritePlan(ctx, p); err != nil {
			return err
		}
		if err := a.cfg.Ledger.NoteRepair(ctx, a.cfg.Epoch, at, "plan", "the plan of an open cycle is not whole"); err != nil {
			return err
		}
		a.note(c.Flow, c.Cycle, "", "plan")
	}
	if !l.deadline.IsZero() {
		done, err := a.cfg.Ledger.MendDeadlineOf(ctx, a.cfg.Epoch, c, l.deadline)
		if err != nil {
			return err
		}
		if done {
			a.note(c.Flow, c.Cycle, "", ledger.MendDeadline)
		}
	}
	if l.listing {
		done, err := a.cfg.Ledger.MendNode(ctx, a.cfg.Epoch, at, "", ledger.MendCycle, 0)
		if err != nil {
			return err
		}
		if done {
			a.note(c.Flow, c.Cycle, "", ledger.MendCycle)
		}
	}
	return nil
}

func snapshot(c ledger.ActiveCycle, s ledger.CycleState, joins map[string]string, states []ledger.NodeState,
	has ledger.Protection, posted ledger.Posted) progress.Snapshot {
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
			Status: n.Status, Attempt: n.Attempt, Dead: n.Dead, Reason: n.Reason, Blocker: n.Blocker, Held: n.Held != "", Kept: has.Kept[n.Node],
			Spread: n.Spread, Posted: posted.Attempt(ledger.KindSpread, asked),
			Offered: offered, Leased: has.Leased[n.Node], TimerSet: has.Retried[n.Node] || has.Offered[n.Node],
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
			a.note(c.Flow, c.Cycle, r.Node, r.Kind)
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
			a.note(c.Flow, c.Cycle, "", "counts")
		}
	}
	entry := ledger.Entry{Attempt: ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID}}
	if f.SweepAll {
		return a.sweep(ctx, entry, "", "cancelled", s.Raw["cause"], advance.Members(p, -1))
	}
	for _, k := range f.Sweep {
		status, reason := advance.Ending(k.How)
		by := k.Node
		if by == "" {
			by = ledger.EndMark(k.Component)
		}
		if err := a.sweep(ctx, entry, by, status, reason, advance.Members(p, k.Component)); err != nil {
			return err
		}
	}
	return nil
}

// sweep ends the nodes that a lost sweep has left, if what ends them still does.
func (a *Audit) sweep(ctx context.Context, e ledger.Entry, by ids.NodeID, status, reason string, nodes []ids.NodeID) error {
	if err := a.cfg.Ledger.NoteRepair(ctx, a.cfg.Epoch, e.Attempt, "sweep", "what it is part of has ended, and no entry asks for the end of its nodes"); err != nil {
		return err
	}
	a.note(e.Flow, e.Cycle, "", "sweep")
	e.Node = by
	return a.cfg.Ledger.Sweep(ctx, a.cfg.Epoch, e, status, reason, nodes)
}
