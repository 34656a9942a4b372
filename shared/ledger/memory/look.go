package memory

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Protections reads what protects a cycle and those of its nodes that need any.
func (l *Ledger) Protections(_ context.Context, c ledger.ActiveCycle, revision int64, nodes []ledger.NodeState) (ledger.Protection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := ledger.Protection{Leased: map[ids.NodeID]bool{}, Retried: map[ids.NodeID]bool{}, Offered: map[ids.NodeID]bool{}, Kept: map[ids.NodeID]bool{}}
	whole := cycleAt(c, 0).Attempt
	for _, n := range nodes {
		a := whole
		a.Node, a.N = n.Node, n.Attempt
		switch {
		case n.Status == "running":
			_, out.Leased[n.Node] = l.score(leasesKey, leaseMember(a))
		case n.Status == "retrying":
			_, out.Retried[n.Node] = l.score(timersKey, timerMember("retry", a))
		case n.Blocker == "declined":
			_, out.Offered[n.Node] = l.score(timersKey, timerMember("offer", a))
		case n.Held != "":
			_, kept := l.sets[heldKey(n.Held)][heldMember(a)]
			_, known := l.sets[holdsKey][n.Held]
			out.Kept[n.Node] = kept && known
		}
	}
	_, out.Deadline = l.score(timersKey, timerMember("deadline", whole))
	_, out.Listed = l.score(flowKey(c.Flow, "cycles"), itoa(c.Cycle))
	if p := l.plans[planKey(c.Flow, itoa(revision))]; p != nil {
		out.Plan = ledger.PlanFields(p)
	}
	return out, nil
}

// FlowHeads reads the heads of flows, in their order.
func (l *Ledger) FlowHeads(_ context.Context, flows []ids.FlowID) ([]ledger.FlowHead, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]ledger.FlowHead, len(flows))
	for i, f := range flows {
		key := flowKey(f, "state")
		out[i] = ledger.FlowHead{Status: l.get(key, "status"), Revision: l.number(key, "revision"), LastCycle: l.number(key, "last_cycle")}
		out[i].UID, _ = uuid.Parse(l.get(key, "uid"))
		for field, into := range map[string]*time.Time{"last_slot": &out[i].LastSlot, "anchor": &out[i].Anchor} {
			if ms := l.number(key, field); ms > 0 {
				*into = time.UnixMilli(ms).UTC()
			}
		}
	}
	return out, nil
}

// LookAtFlows reads what an audit looks at of flows.
func (l *Ledger) LookAtFlows(_ context.Context, revisions map[ids.FlowID]int64) (map[ids.FlowID]ledger.FlowLook, map[ids.FlowID]bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	listed := map[ids.FlowID]bool{}
	looks := map[ids.FlowID]ledger.FlowLook{}
	for f := range revisions {
		if _, ok := l.sets[flowsKey][string(f)]; ok {
			listed[f] = true
		}
		key := flowKey(f, "state")
		look := ledger.FlowLook{Known: l.get(key, "status") != "", Status: l.get(key, "status"), Revision: l.number(key, "revision"), Active: l.get(key, "active")}
		look.UID, _ = uuid.Parse(l.get(key, "uid"))
		_, look.Config = l.text[flowKey(f, "config")]
		if p := l.plans[planKey(f, itoa(revisions[f]))]; p != nil {
			look.Plan = ledger.PlanFields(p)
		}
		looks[f] = look
	}
	return looks, listed, nil
}

// Progresses reads how far cycles have come, in their order.
func (l *Ledger) Progresses(_ context.Context, cycles []ledger.ActiveCycle) ([]ledger.Progress, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]ledger.Progress, len(cycles))
	for i, c := range cycles {
		p := cycleAt(c, 0)
		out[i] = ledger.Progress{Open: l.here(p) && (l.open(p) || l.get(p.cycle, "status") == "cancelling"), Completed: l.number(p.cycle, "completed_nodes")}
	}
	return out, nil
}

// Closing lists the ended cycles whose end the leader has not heard of.
func (l *Ledger) Closing(_ context.Context, before time.Time) ([]ledger.ActiveCycle, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []ledger.ActiveCycle
	for _, z := range l.ordered(closingKey) {
		if a, err := parseMember(z.member); err == nil && z.score <= before.UnixMilli() {
			out = append(out, ledger.ActiveCycle{Flow: a.Flow, Cycle: a.Cycle, UUID: a.UUID, Since: time.UnixMilli(z.score)})
		}
	}
	return out, nil
}
