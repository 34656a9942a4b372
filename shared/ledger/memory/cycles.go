package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/ledger/memory/mutant"
)

// StartCycle turns a slot or a trigger into a cycle.
func (l *Ledger) StartCycle(_ context.Context, epoch ids.Epoch, s ledger.Start) (ledger.Started, error) {
	defer l.begin()()
	if err := l.fence("start_cycle", epoch); err != nil {
		return ledger.Started{}, err
	}
	f := s.Plan.Flow
	refuse := func(out ledger.Started, why error) (ledger.Started, error) {
		return out, fmt.Errorf("start %s: %w", f, why)
	}
	out := ledger.Started{UUID: ids.CycleUUID(s.Occasion, s.Plan.Revision)}
	id, trigger, bySlot := out.UUID.String(), s.TriggerKey, !s.Slot.IsZero()
	if !bySlot && trigger == "" {
		trigger = id
	}
	state, slot := flowKey(f, "state"), s.Slot.UnixMilli()
	status, last := l.get(state, "status"), l.number(state, "last_cycle")
	if status == "" || status == "deleting" {
		return refuse(out, ledger.ErrGone)
	}
	l.finishTorn(f, last)
	switch before := l.startedBefore(f, id, trigger, bySlot); {
	case before > 0:
		out.Cycle, out.Before = before, true
		return out, nil
	case bySlot && mutant.Active != mutant.NoDedupe && l.has(state, "last_slot") && slot <= l.number(state, "last_slot"):
		return refuse(out, ledger.ErrAccounted)
	case bySlot && l.forgot(state, s.Since):
		return refuse(out, ledger.ErrForgotten)
	case status == "paused":
		return refuse(out, ledger.ErrPaused)
	case l.get(state, "revision") != itoa(s.Plan.Revision):
		return refuse(out, ledger.ErrStale)
	case bySlot && slot > l.now:
		out.Ahead = time.Duration(slot-l.now) * time.Millisecond
		return out, nil
	}
	if reason := l.full(state, s); reason != "" {
		if !bySlot {
			out.Cycle = last
			return refuse(out, ledger.ErrBusy)
		}
		l.skippedSlots(f, slot, 1, reason)
		l.jot("slot_skipped", ids.Attempt{Flow: f, UUID: out.UUID}, epoch, "", "", fmt.Sprintf("%d %d 1 %s", slot, slot, reason))
		out.Skipped = reason
		return out, nil
	}
	out.Cycle, out.At = l.begun(epoch, s, out.UUID, trigger), fromMilli(l.now)
	return out, nil
}

// startedBefore returns the cycle that the same slot or trigger has, or 0.
func (l *Ledger) startedBefore(f ids.FlowID, id, trigger string, bySlot bool) int64 {
	state, triggers := flowKey(f, "state"), flowKey(f, "triggers")
	switch {
	case mutant.Active == mutant.NoDedupe:
	case bySlot && l.get(state, "last_slot_uuid") == id:
		return l.number(state, "last_slot_cycle")
	case !bySlot:
		return l.number(triggers, trigger)
	}
	return 0
}

// finishTorn notes the slot or trigger of a start that tore before it did.
func (l *Ledger) finishTorn(f ids.FlowID, last int64) {
	state, triggers, status := flowKey(f, "state"), flowKey(f, "triggers"), cycleKey(f, last)+":status"
	kind, slot, id := l.get(status, "trigger"), l.number(status, "slot"), l.get(status, "uuid")
	bySlot := kind == "slot" && slot > l.number(state, "last_slot")
	if !bySlot && (kind != "manual" || l.has(triggers, l.get(status, "trigger_key"))) {
		return
	}
	if s := l.get(status, "status"); s == "running" || s == "cancelling" {
		l.rankNew(flowKey(f, "cycles"), itoa(last), l.number(status, "started_at"))
		l.rankNew(activeKey, cycleMember(f, last, id), l.number(status, "started_at"))
	}
	if bySlot {
		l.startedSlot(f, slot, id, last)
	} else {
		l.put(triggers, l.get(status, "trigger_key"), itoa(last))
	}
}

// startedSlot accounts and counts a slot that became a cycle, both or neither.
func (l *Ledger) startedSlot(f ids.FlowID, slot int64, id string, n int64) {
	state := flowKey(f, "state")
	l.put(state, "last_slot", itoa(slot), "last_slot_uuid", id, "last_slot_cycle", itoa(n), "slots_started", itoa(l.number(state, "slots_started")+1))
}

// skippedSlots accounts and counts slots that became none.
func (l *Ledger) skippedSlots(f ids.FlowID, last, count int64, reason string) {
	state, field := flowKey(f, "state"), "slots_skipped:"+reason
	l.put(state, "last_slot", itoa(last), field, itoa(l.number(state, field)+count))
}

// full says why the flow takes no further cycle now; "" = it does.
func (l *Ledger) full(state string, s ledger.Start) string {
	most := int64(s.MaxActive)
	if most <= 0 {
		most = 100
	}
	switch active := l.number(state, "active"); {
	case active > 0 && !s.Overlap:
		return "overlap"
	case active >= most:
		return "backlog"
	}
	return ""
}

// begun writes a new cycle and returns its number.
func (l *Ledger) begun(epoch ids.Epoch, s ledger.Start, u uuid.UUID, trigger string) int64 {
	f, bySlot := s.Plan.Flow, !s.Slot.IsZero()
	state, revision := flowKey(f, "state"), itoa(s.Plan.Revision)
	n := l.add(state, "last_cycle", 1)
	l.add(state, "active", 1)
	l.add(state, "plan:"+revision, 1)
	p := at(ids.Attempt{Flow: f, Cycle: n, UUID: u}, epoch)
	kind, slot, key, what := "manual", itoa(l.now), trigger, "manual"
	if bySlot {
		kind, slot, key = "slot", itoa(s.Slot.UnixMilli()), s.TriggerKey
		what = slot
	}
	l.put(p.cycle, "cycle", itoa(n), "uuid", p.id, "occasion", s.Occasion.String(), "status", "running", "trigger", kind, "slot", slot,
		"trigger_key", key, "revision", revision, "started_at", itoa(l.now), "total_nodes", itoa(int64(len(s.Plan.Nodes))),
		"completed_nodes", "0", "on_failure", s.Plan.OnFailure, "output_bytes", "0")
	l.rank(flowKey(f, "cycles"), itoa(n), l.now)
	l.rank(activeKey, cycleMember(f, n, p.id), l.now)
	if d := s.Plan.CycleTimeout.Milliseconds(); d > 0 {
		l.put(p.cycle, "deadline", itoa(l.now+d))
		l.rank(timersKey, timerMember("deadline", p.Attempt), l.now+d)
		l.post(ledger.KindTimer, p.Attempt, 0)
	}
	l.note(p, "cycle_start", 0, "", "", what+" "+revision)
	entries := s.Plan.Entries()
	given := min(len(entries), ledger.Chunk)
	for _, e := range entries[:given] {
		l.makeReady(p.of(e.ID), 1, "entry")
	}
	if len(entries) > given {
		l.put(p.cycle, "spread", itoa(int64(given)))
		l.post(ledger.KindSpread, p.Attempt, 0)
	}
	if bySlot { // last: a start that tears before this is found by startedBefore
		l.startedSlot(f, s.Slot.UnixMilli(), p.id, n)
	} else {
		l.put(flowKey(f, "triggers"), trigger, itoa(n))
	}
	return n
}

// forgot reports whether the last slot that a caller knows of is not accounted.
func (l *Ledger) forgot(state string, known time.Time) bool {
	return !known.IsZero() && l.number(state, "last_slot") < known.UnixMilli()
}

// SkipSlots accounts count slots from the first to the last as skipped.
func (l *Ledger) SkipSlots(_ context.Context, epoch ids.Epoch, f ids.FlowID, uid uuid.UUID, known, first, last time.Time, count int64, reason string) error {
	defer l.begin()()
	if err := l.fence("skip_slots", epoch); err != nil {
		return err
	}
	state := flowKey(f, "state")
	status, done := l.get(state, "status"), l.number(state, "last_slot")
	switch {
	case status == "" || status == "deleting" || l.get(state, "uid") != uid.String():
		return fmt.Errorf("skip slots of %s: %w", f, ledger.ErrGone)
	case l.has(state, "last_slot") && done >= last.UnixMilli():
		return nil
	case l.has(state, "last_slot") && done >= first.UnixMilli():
		return fmt.Errorf("skip slots of %s: %w", f, ledger.ErrAccounted)
	case l.forgot(state, known):
		return fmt.Errorf("skip slots of %s: %w", f, ledger.ErrForgotten)
	}
	l.skippedSlots(f, last.UnixMilli(), count, reason)
	l.jot("slot_skipped", ids.Attempt{Flow: f}, epoch, "", "", fmt.Sprintf("%d %d %d %s", first.UnixMilli(), last.UnixMilli(), count, reason))
	return nil
}

// CancelCycle ends a cycle early and returns the status it had.
func (l *Ledger) CancelCycle(_ context.Context, epoch ids.Epoch, f ids.FlowID, n int64, u uuid.UUID, cause string) (string, error) {
	defer l.begin()()
	if err := l.fence("cancel_cycle", epoch); err != nil {
		return "", err
	}
	p := at(ids.Attempt{Flow: f, Cycle: n, UUID: u}, epoch)
	id := l.get(p.cycle, "uuid")
	if id == "" || u != uuid.Nil && id != p.id {
		if cause == ledger.CauseTimeout {
			l.unrank(timersKey, timerMember("deadline", p.Attempt))
		}
		return "", fmt.Errorf("cancel %s/%d: %w", f, n, ledger.ErrGone)
	}
	p.id = id
	p.UUID, _ = uuid.Parse(id) // written by StartCycle
	deadline := timerMember("deadline", p.Attempt)
	if status := l.get(p.cycle, "status"); status != "running" {
		l.unrank(timersKey, deadline)
		return status, nil
	}
	if cause == ledger.CauseTimeout {
		if l.number(p.cycle, "deadline") > l.now {
			return "", nil
		}
		l.putNew(p.cycle, "error", "cycle_timeout passed")
	}
	l.put(p.cycle, "status", "cancelling", "cause", cause)
	l.unrank(timersKey, deadline)
	l.post(ledger.KindSweep, p.Attempt, 0)
	l.note(p, "cycle_cancel", 0, "", "", cause)
	l.drained(p)
	return "running", nil
}

// ArchiveCycles replaces the records of ended cycles by an archive each.
func (l *Ledger) ArchiveCycles(_ context.Context, epoch ids.Epoch, cycles []ledger.CycleState, nodes [][]ids.NodeID) error {
	defer l.begin()()
	if err := l.fence("archive_cycles", epoch); err != nil {
		return err
	}
	var faults []error
	for i, c := range cycles {
		if err := l.archive(at(ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID}, epoch), nodes[i]); err != nil {
			faults = append(faults, fmt.Errorf("archive %s/%d: %w", c.Flow, c.Cycle, err))
		}
	}
	return errors.Join(faults...)
}

func (l *Ledger) archive(p place, nodes []ids.NodeID) error {
	status := l.get(p.cycle, "status")
	switch {
	case !l.here(p):
		return ledger.ErrGone
	case status == "running" || status == "cancelling":
		return ledger.ErrBusy
	case l.get(p.cycle, "archived") == "1":
		return nil
	}
	a := ledger.Archive{Nodes: l.nodes(p, nodes), Outputs: map[string]json.RawMessage{}}
	for k, v := range l.hashes[p.base+":outputs"] {
		a.Outputs[k] = json.RawMessage(v)
	}
	blob, err := json.Marshal(a)
	if err != nil {
		return err
	}
	l.setText(p.base+":archive", string(blob))
	for _, n := range nodes {
		l.remove(nodeKey(p.base, n))
	}
	l.remove(p.base+":joins", p.base+":outputs")
	l.put(p.cycle, "archived", "1")
	l.releasePlan(p)
	return nil
}

// releasePlan counts a cycle less that needs its plan. A plan that no cycle needs
// and that is not the current one goes.
func (l *Ledger) releasePlan(p place) {
	state, revision := flowKey(p.Flow, "state"), l.get(p.cycle, "revision")
	if l.add(state, "plan:"+revision, -1) <= 0 && l.get(state, "revision") != revision {
		l.remove(planKey(p.Flow, revision))
		l.drop(state, "plan:"+revision)
	}
}

// ReadArchive returns an archived cycle's record.
func (l *Ledger) ReadArchive(_ context.Context, f ids.FlowID, n int64) (ledger.Archive, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var a ledger.Archive
	blob, ok := l.text[cycleKey(f, n)+":archive"]
	if !ok {
		return a, fmt.Errorf("archive of %s/%d: %w", f, n, ledger.ErrGone)
	}
	if err := json.Unmarshal([]byte(blob), &a); err != nil {
		return a, fmt.Errorf("archive of %s/%d: %w", f, n, err)
	}
	return a, nil
}

// DeleteArchived removes those cycles that have no records but their archive, or none at
// all, and returns the others.
func (l *Ledger) DeleteArchived(_ context.Context, epoch ids.Epoch, f ids.FlowID, numbers []int64) (others []int64, err error) {
	defer l.begin()()
	if err := l.fence("delete_cycles", epoch); err != nil {
		return nil, err
	}
	for _, n := range numbers {
		if cycle := at(ids.Attempt{Flow: f, Cycle: n}, epoch).cycle; l.get(cycle, "uuid") != "" && l.get(cycle, "archived") != "1" {
			others = append(others, n)
		} else if err := l.delete(f, n, epoch, nil); err != nil {
			return nil, err
		}
	}
	return others, nil
}

// DeleteCycles removes every record of cycles: ended ones, or any of a flow that is
// being deleted.
func (l *Ledger) DeleteCycles(_ context.Context, epoch ids.Epoch, f ids.FlowID, numbers []int64, nodes [][]ids.NodeID) error {
	defer l.begin()()
	if err := l.fence("delete_cycles", epoch); err != nil {
		return err
	}
	var faults []error
	for i, n := range numbers {
		faults = append(faults, l.delete(f, n, epoch, nodes[i]))
	}
	return errors.Join(faults...)
}

func (l *Ledger) delete(f ids.FlowID, n int64, epoch ids.Epoch, nodes []ids.NodeID) error {
	p := at(ids.Attempt{Flow: f, Cycle: n}, epoch)
	id := l.get(p.cycle, "uuid")
	p.UUID, _ = uuid.Parse(id)
	p.id = id
	status, flow := l.get(p.cycle, "status"), l.get(flowKey(f, "state"), "status")
	if (status == "running" || status == "cancelling") && flow != "deleting" {
		return fmt.Errorf("delete %s/%d: %w", f, n, ledger.ErrBusy)
	}
	for _, node := range nodes {
		q := p.of(node)
		if !l.exists(q.node) {
			continue
		}
		q.N = int(l.number(q.node, "attempt"))
		l.unhold(q, l.get(q.node, "held"))
		l.unrank(leasesKey, leaseMember(q.Attempt))
		l.unrank(timersKey, timerMember("retry", q.Attempt), timerMember("offer", q.Attempt))
		l.remove(q.node)
	}
	if id != "" {
		if key := l.get(p.cycle, "trigger_key"); key != "" {
			l.drop(flowKey(f, "triggers"), key)
		}
		if l.get(p.cycle, "archived") != "1" && flow != "" {
			l.releasePlan(p)
		}
		if status == "running" || status == "cancelling" {
			status = "deleting" // as the parts of a large cycle are marked
		}
		l.note(p, "cycle_removed", 0, "", "", status)
	}
	l.remove(p.cycle, p.base+":joins", p.base+":outputs", p.base+":archive")
	l.unrank(flowKey(f, "cycles"), itoa(n))
	l.unrank(activeKey, cycleMember(f, n, id))
	l.unrank(closingKey, cycleMember(f, n, id)+"|")
	l.unrank(timersKey, timerMember("deadline", p.Attempt))
	return nil
}
