package ledgertest

import (
	"errors"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// boss is a small leader: it acts on outbox entries as a coordinator does.
type boss struct {
	*kit
	epoch ids.Epoch
	queue []ids.Attempt // offers made, as a queue keeps them
}

// act carries out one entry.
func (b *boss) act(e ledger.Entry) error {
	c, err := b.Cycle(b.ctx, e.Flow, e.Cycle)
	if errors.Is(err, ledger.ErrGone) && e.Kind != ledger.KindRelease && e.Kind != ledger.KindPurge {
		return b.Drop(b.ctx, b.epoch, e.ID)
	}
	p := b.plans[c.Revision]
	switch e.Kind {
	case ledger.KindReady:
		b.queue = append(b.queue, e.Attempt)
		return b.Dispatched(b.ctx, b.epoch, []ledger.Entry{e})
	case ledger.KindDecide:
		return b.decide(e, p.Node(e.Node))
	case ledger.KindSpread:
		return b.spread(e, p)
	case ledger.KindSweep:
		if e.Node == "" {
			return b.Sweep(b.ctx, b.epoch, e, "cancelled", "cancelled", members(p, -1))
		}
		return b.Sweep(b.ctx, b.epoch, e, "skipped", upstream, members(p, p.Node(e.Node).Component))
	case ledger.KindRelease:
		_, err := b.ReleaseFlow(b.ctx, b.epoch, e.Flow, e.ID)
		return err
	case ledger.KindPurge:
		return b.purge(e)
	case ledger.KindClosed:
		return b.Told(b.ctx, b.epoch, e)
	default:
		return b.Drop(b.ctx, b.epoch, e.ID)
	}
}

const upstream = "upstream_failed"

func (b *boss) decide(e ledger.Entry, n *plan.Node) error {
	live, dead, failed, err := b.JoinOf(b.ctx, e.Flow, e.Cycle, e.Node)
	if err != nil {
		return err
	}
	if live+dead+failed != len(n.Inputs) {
		b.Fatalf("%s is to be decided with %d+%d+%d of %d edges", e.Attempt, live, dead, failed, len(n.Inputs))
	}
	run := map[string]bool{plan.AllSuccess: dead+failed == 0, plan.AllDone: true, plan.OneSuccess: live > 0, plan.NoneFailed: failed == 0 && live > 0}[n.Join]
	passes, reason := ledger.Dead, "dead"
	if failed > 0 {
		passes, reason = ledger.FailedSource, upstream
	}
	return b.Decide(b.ctx, b.epoch, e, n, ledger.Verdict{Run: run, Reason: reason, Passes: passes, Live: live, Dead: dead, Failed: failed})
}

func (b *boss) spread(e ledger.Entry, p *plan.Plan) error {
	from, open, err := b.SpreadFrom(b.ctx, e)
	if err != nil {
		return err
	}
	if !open {
		return b.Drop(b.ctx, b.epoch, e.ID)
	}
	total := len(p.Entries())
	if e.Node != "" {
		total = len(p.Node(e.Node).Successors)
	}
	for from < total {
		if e.Node == "" {
			from, err = b.SpreadEntries(b.ctx, b.epoch, e, p.Entries(), from)
		} else {
			states, readErr := b.Nodes(b.ctx, e.Flow, e.Cycle, []ids.NodeID{e.Node})
			if readErr != nil {
				return readErr
			}
			decided := ledger.AllEdges(ledger.FailedSource)
			switch s := states[0]; {
			case s.Status == task.Succeeded:
				decided = ledger.DeadEdges(s.Dead)
			case s.Status == task.Skipped && s.Reason != upstream:
				decided = ledger.AllEdges(ledger.Dead)
			}
			from, err = b.SpreadEdges(b.ctx, b.epoch, e, p.Node(e.Node), from, decided)
		}
		if errors.Is(err, ledger.ErrGone) {
			return b.Drop(b.ctx, b.epoch, e.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *boss) purge(e ledger.Entry) error {
	numbers, err := b.CycleNumbers(b.ctx, e.Flow)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		c, err := b.Cycle(b.ctx, e.Flow, n)
		if err != nil {
			return err
		}
		if err := b.DeleteCycles(b.ctx, b.epoch, e.Flow, []int64{n}, [][]ids.NodeID{members(b.plans[c.Revision], -1)}); err != nil {
			return err
		}
	}
	_, err = b.PurgeFlow(b.ctx, b.epoch, e.Flow, e.ID)
	return err
}

// lead acts on everything that the outbox holds until it is empty.
func (b *boss) lead() {
	b.Helper()
	for {
		all := b.outbox()
		if len(all) == 0 {
			return
		}
		var offers []ledger.Entry
		for _, e := range all {
			if e.Kind == ledger.KindReady {
				offers = append(offers, e)
				b.queue = append(b.queue, e.Attempt)
				continue
			}
			b.ok(b.act(e))
		}
		b.ok(b.Dispatched(b.ctx, b.epoch, offers))
	}
}

// timers acts on every timer that is due by when.
func (b *boss) timers(when time.Time) error {
	all, err := b.Timers(b.ctx, 10_000)
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.Due.After(when) {
			continue
		}
		switch t.Kind {
		case "retry":
			err = b.Retry(b.ctx, b.epoch, t.Attempt)
		case "offer":
			_, err = b.OfferAgain(b.ctx, b.epoch, t.Attempt, "declined")
		case "deadline":
			_, err = b.CancelCycle(b.ctx, b.epoch, t.Flow, t.Cycle, t.UUID, ledger.CauseTimeout)
			if errors.Is(err, ledger.ErrGone) {
				err = nil
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func members(p *plan.Plan, component int) []ids.NodeID {
	var out []ids.NodeID
	for i := range p.Nodes {
		if component < 0 || p.Nodes[i].Component == component {
			out = append(out, p.Nodes[i].ID)
		}
	}
	return out
}
