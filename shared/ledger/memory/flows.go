package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// WritePlan stores a revision's plan.
func (l *Ledger) WritePlan(_ context.Context, p *plan.Plan) error {
	defer l.begin()()
	l.setPlan(planKey(p.Flow, itoa(p.Revision)), p)
	return nil
}

// ReadPlan returns a stored plan.
func (l *Ledger) ReadPlan(_ context.Context, f ids.FlowID, revision int64) (*plan.Plan, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.plans[planKey(f, itoa(revision))]
	if p == nil {
		return nil, fmt.Errorf("plan of %s revision %d: %w", f, revision, ledger.ErrGone)
	}
	return p, nil
}

// ActivateFlow makes a revision the one that new cycles run.
func (l *Ledger) ActivateFlow(_ context.Context, a ledger.Activation) error {
	defer l.begin()()
	key, revision, uid := flowKey(a.Flow, "state"), itoa(a.Revision), a.UID.String()
	old, known := l.number(key, "revision"), l.has(key, "revision")
	written := l.plans[planKey(a.Flow, revision)]
	switch {
	case l.get(key, "status") == "deleting", l.has(key, "uid") && l.get(key, "uid") != uid:
		return fmt.Errorf("activate %s: %w", a.Flow, ledger.ErrDeleting)
	case old > a.Revision:
		return fmt.Errorf("activate %s revision %d: %w", a.Flow, a.Revision, ledger.ErrStale)
	case written == nil || written.UID != a.UID:
		return fmt.Errorf("activate %s revision %d: %w", a.Flow, a.Revision, ledger.ErrNoPlan)
	}
	if known && old < a.Revision && len(a.Left) > 0 {
		if l.number(key, "last_slot") != sinceMilli(a.Since) {
			return fmt.Errorf("activate %s revision %d: %w", a.Flow, a.Revision, ledger.ErrAccounted)
		}
		for _, run := range a.Left {
			l.skippedSlots(a.Flow, run.Last.UnixMilli(), run.Count, run.Reason)
			l.jot("slot_skipped", ids.Attempt{Flow: a.Flow}, 0, "", "", fmt.Sprintf("%d %d %d %s", run.First.UnixMilli(), run.Last.UnixMilli(), run.Count, run.Reason))
		}
	}
	_, mirrored := l.text[flowKey(a.Flow, "config")]
	same := known && old == a.Revision && mirrored
	l.join(flowsKey, string(a.Flow))
	l.setText(flowKey(a.Flow, "config"), string(a.Document))
	l.put(key, "uid", uid, "revision", revision, "anchor", itoa(a.Anchor.UnixMilli()))
	if !known {
		status := "active"
		if a.Paused {
			status = "paused"
		}
		l.put(key, "status", status, "active", "0", "last_cycle", "0")
		l.recall(a.Flow)
	}
	if same {
		return nil
	}
	if known && old != a.Revision && l.number(key, "plan:"+itoa(old)) <= 0 {
		l.remove(planKey(a.Flow, itoa(old)))
		l.drop(key, "plan:"+itoa(old))
	}
	for r := max(old+1, a.Revision-100); r < a.Revision; r++ { // written and never activated
		l.remove(planKey(a.Flow, itoa(r)))
	}
	l.putNew(key, "plan:"+revision, "0")
	if !known && a.Paused {
		revision += " paused"
	}
	l.jot("flow_activated", ids.Attempt{Flow: a.Flow}, 0, "", "", revision)
	return nil
}

// sinceMilli is the slot that a caller knows to be accounted; 0 = none.
func sinceMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// recall reads off a flow's cycles what they can tell of its state, which was
// lost.
func (l *Ledger) recall(f ids.FlowID) {
	key := flowKey(f, "state")
	var slot int64
	for _, c := range l.ordered(flowKey(f, "cycles")) {
		n, status := number(c.member), cycleKey(f, number(c.member))+":status"
		if n > l.number(key, "last_cycle") {
			l.put(key, "last_cycle", c.member)
		}
		if l.has(status, "revision") && l.get(status, "archived") != "1" {
			l.add(key, "plan:"+l.get(status, "revision"), 1)
		}
		if s := l.number(status, "slot"); l.get(status, "trigger") == "slot" && s > slot {
			slot = s
			l.put(key, "last_slot", itoa(s), "last_slot_uuid", l.get(status, "uuid"), "last_slot_cycle", c.member)
		}
	}
}

// known returns a flow's status; ErrGone when there is no such flow.
func (l *Ledger) known(verb string, f ids.FlowID, shut bool) (string, error) {
	status := l.get(flowKey(f, "state"), "status")
	if status == "" || status == "deleting" && !shut {
		return "", fmt.Errorf("%s flow %s: %w", verb, f, ledger.ErrGone)
	}
	return status, nil
}

// PauseFlow holds a flow.
func (l *Ledger) PauseFlow(_ context.Context, f ids.FlowID) (bool, error) {
	defer l.begin()()
	status, err := l.known("pause", f, false)
	if err != nil || status == "paused" {
		return false, err
	}
	l.put(flowKey(f, "state"), "status", "paused", "paused_at", itoa(l.now))
	l.jot("flow_paused", ids.Attempt{Flow: f}, 0, "", "", "")
	return true, nil
}

// ResumeFlow lets a held flow go on.
func (l *Ledger) ResumeFlow(_ context.Context, f ids.FlowID) (bool, error) {
	defer l.begin()()
	status, err := l.known("resume", f, false)
	if err != nil || status != "paused" {
		return false, err
	}
	l.put(flowKey(f, "state"), "status", "active")
	l.drop(flowKey(f, "state"), "paused_at")
	l.post(ledger.KindRelease, ids.Attempt{Flow: f}, 0)
	l.jot("flow_resumed", ids.Attempt{Flow: f}, 0, "", "", "")
	return true, nil
}

// DeleteFlow shuts a flow; the leader removes its keys after that.
func (l *Ledger) DeleteFlow(_ context.Context, f ids.FlowID) (bool, error) {
	defer l.begin()()
	status, err := l.known("delete", f, true)
	if err != nil {
		return false, err
	}
	if status != "deleting" {
		l.put(flowKey(f, "state"), "status", "deleting")
		if uid := l.get(flowKey(f, "state"), "uid"); uid != "" {
			l.rank(deletedKey, uid, l.now)
			for _, old := range l.ordered(deletedKey)[:max(0, len(l.sorted[deletedKey])-1000)] {
				l.unrank(deletedKey, old.member)
			}
		}
	}
	l.post(ledger.KindPurge, ids.Attempt{Flow: f}, 0)
	if status == "deleting" {
		return false, nil
	}
	l.jot("flow_deleted", ids.Attempt{Flow: f}, 0, "", "", "")
	return true, nil
}

// PurgeFlow removes what is left of a deleted flow.
func (l *Ledger) PurgeFlow(_ context.Context, epoch ids.Epoch, f ids.FlowID, entry string) (int64, error) {
	defer l.begin()()
	if err := l.fence("purge_flow", epoch); err != nil {
		return 0, err
	}
	key := flowKey(f, "state")
	status, left := l.get(key, "status"), len(l.sorted[flowKey(f, "cycles")])
	switch {
	case status != "" && status != "deleting":
		l.removeEntry(entry)
		return 0, nil
	case left > 0:
		return int64(left), nil
	}
	for _, field := range slices.Sorted(maps.Keys(l.hashes[key])) {
		if rev, ok := strings.CutPrefix(field, "plan:"); ok {
			l.remove(planKey(f, rev))
		}
	}
	l.remove(key, flowKey(f, "config"), flowKey(f, "cycles"), flowKey(f, "triggers"), heldKey("flow:"+string(f)))
	l.leave(flowsKey, string(f))
	l.leave(holdsKey, "flow:"+string(f))
	l.removeEntry(entry)
	l.jot("flow_purged", ids.Attempt{Flow: f}, epoch, "", "", "")
	return 0, nil
}

// Flow returns a flow's state.
func (l *Ledger) Flow(_ context.Context, f ids.FlowID) (ledger.FlowState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hashes[flowKey(f, "state")]
	if h["status"] == "" {
		return ledger.FlowState{}, fmt.Errorf("flow %s: %w", f, ledger.ErrGone)
	}
	return ledger.FlowOf(h), nil
}

// Flows returns the states of many flows; those it does not know are missing.
func (l *Ledger) Flows(ctx context.Context, flows []ids.FlowID) (map[ids.FlowID]ledger.FlowState, error) {
	out := map[ids.FlowID]ledger.FlowState{}
	for _, f := range flows {
		if s, err := l.Flow(ctx, f); err == nil {
			out[f] = s
		}
	}
	return out, nil
}

// FlowIDs lists every flow the ledger has keys of.
func (l *Ledger) FlowIDs(context.Context) ([]ids.FlowID, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []ids.FlowID
	for _, name := range sortedNames(l.sets[flowsKey]) {
		out = append(out, ids.FlowID(name))
	}
	return out, nil
}
