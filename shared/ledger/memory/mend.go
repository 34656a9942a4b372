package memory

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
)

// MendNode puts back what a node lacks, if it is still as the audit saw it.
func (l *Ledger) MendNode(_ context.Context, epoch ids.Epoch, a ids.Attempt, seen, repair string, lease time.Duration) (bool, error) {
	defer l.begin()()
	if err := l.fence("mend_node", epoch); err != nil {
		return false, err
	}
	p := at(a, epoch)
	if !l.here(p) || !l.open(p) && l.get(p.cycle, "status") != "cancelling" {
		return false, nil
	}
	switch repair {
	case ledger.MendSpread:
		if !l.open(p) || !l.has(spreadKey(p), "spread") {
			return false, nil
		}
		l.post(ledger.KindSpread, a, 0)
		l.repaired(p, repair, ledger.Cause(repair), a.N, "")
		return true, nil
	case ledger.MendCycle:
		if _, ok := l.score(flowKey(a.Flow, "cycles"), itoa(a.Cycle)); ok {
			return false, nil
		}
		l.rank(flowKey(a.Flow, "cycles"), itoa(a.Cycle), l.number(p.cycle, "started_at"))
		l.repaired(p.of(""), repair, ledger.Cause(repair), 0, "")
		return true, nil
	}
	status, attempt := l.state(p)
	of, known := map[string]task.Status{ledger.MendReady: "", ledger.MendDecide: "", ledger.MendOffer: task.Ready, ledger.MendLease: task.Running,
		ledger.MendTimer: task.Retrying, ledger.MendDeclined: task.Dispatched, ledger.MendHeld: task.Ready}[repair]
	blocker, held := l.get(p.node, "blocker"), l.get(p.node, "held")
	switch {
	case string(status) != seen, attempt != a.N, known && string(of) != seen, repair != ledger.MendLease && !l.open(p),
		repair == ledger.MendOffer && blocker != "" && (held != "" || blocker == "declined"),
		repair == ledger.MendDeclined && blocker != "declined", repair == ledger.MendHeld && held == "":
		return false, nil
	}
	token := l.get(p.node, "token")
	if !l.putBack(p, repair, lease) {
		return false, nil
	}
	l.repaired(p, repair, ledger.Cause(repair), a.N, token)
	return true, nil
}

// putBack makes one repair, or reports that nothing is missing.
func (l *Ledger) putBack(p place, repair string, lease time.Duration) bool {
	a := p.Attempt
	set := func(key, member string, score int64) bool {
		if _, ok := l.score(key, member); ok {
			return false
		}
		l.rank(key, member, score)
		return true
	}
	switch repair {
	case ledger.MendLease:
		return set(leasesKey, leaseMember(a), l.now+lease.Milliseconds())
	case ledger.MendTimer, ledger.MendDeclined:
		kind := "retry"
		if repair == ledger.MendDeclined {
			kind = "offer"
		}
		if !set(timersKey, timerMember(kind, a), l.now) {
			return false
		}
		l.post(ledger.KindTimer, a, a.N)
	case ledger.MendHeld:
		held := l.get(p.node, "held")
		_, kept := l.sets[heldKey(held)][heldMember(a)]
		_, known := l.sets[holdsKey][held]
		l.join(heldKey(held), heldMember(a))
		l.join(holdsKey, held)
		return !kept || !known
	case ledger.MendDecide:
		l.post(ledger.KindDecide, a, 0)
	case ledger.MendReady:
		l.makeReady(p, 1, "mended")
	default:
		l.post(ledger.KindReady, a, a.N)
	}
	return true
}

// MendDeadlineOf sets the timer of a cycle's deadline again.
func (l *Ledger) MendDeadlineOf(_ context.Context, epoch ids.Epoch, c ledger.ActiveCycle, due time.Time) (bool, error) {
	defer l.begin()()
	if err := l.fence("mend_node", epoch); err != nil {
		return false, err
	}
	p := cycleAt(c, epoch)
	member := timerMember("deadline", p.Attempt)
	if _, ok := l.score(timersKey, member); ok || !l.here(p) || !l.open(p) {
		return false, nil
	}
	l.putNew(p.cycle, "deadline", itoa(due.UnixMilli()))
	l.rank(timersKey, member, due.UnixMilli())
	l.post(ledger.KindTimer, p.Attempt, 0)
	l.repaired(p, ledger.MendDeadline, ledger.Cause(ledger.MendDeadline), 0, "")
	return true, nil
}

func cycleAt(c ledger.ActiveCycle, epoch ids.Epoch) place {
	return at(ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID}, epoch)
}

// MendCounts replaces a cycle's counters, if completed_nodes is still seen.
func (l *Ledger) MendCounts(_ context.Context, epoch ids.Epoch, c ledger.ActiveCycle, seen int64, counters map[string]int, joins []ledger.JoinFix) (bool, error) {
	defer l.begin()()
	if err := l.fence("mend_counts", epoch); err != nil {
		return false, err
	}
	p := cycleAt(c, epoch)
	if !l.here(p) || !l.open(p) && l.get(p.cycle, "status") != "cancelling" || l.get(p.cycle, "completed_nodes") != itoa(seen) {
		return false, nil
	}
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		l.put(p.cycle, name, itoa(int64(counters[name])))
	}
	for _, j := range joins {
		if l.get(p.base+":joins", j.Field) == j.Seen {
			l.put(p.base+":joins", j.Field, itoa(int64(j.Right)))
		}
	}
	l.repaired(p, "counts", "counters differ from the states of the nodes", 0, "")
	l.closeCycle(p)
	return true, nil
}

// MendFlow counts a flow's open cycles anew, if the count is still as seen, and
// lists again those that are not listed.
func (l *Ledger) MendFlow(_ context.Context, epoch ids.Epoch, f ids.FlowID, seen string) (bool, error) {
	defer l.begin()()
	if err := l.fence("mend_flow", epoch); err != nil {
		return false, err
	}
	key, cycles := flowKey(f, "state"), flowKey(f, "cycles")
	if status := l.get(key, "status"); l.get(key, "active") != seen || status == "" || status == "deleting" {
		return false, nil
	}
	names := l.ordered(cycles)
	last := l.get(key, "last_cycle")
	if _, ok := l.score(cycles, last); !ok && last != "" && last != "0" { // a start that was torn
		names = append(names, scored{member: last})
	}
	var open int64
	listed := false
	list := func(key, member string, score int64) {
		if _, ok := l.score(key, member); !ok {
			l.rank(key, member, score)
			listed = true
		}
	}
	for _, c := range names {
		status := cycleKey(f, number(c.member)) + ":status"
		if s := l.get(status, "status"); s != "running" && s != "cancelling" || !l.has(status, "uuid") {
			continue
		}
		open++
		list(cycles, c.member, l.number(status, "started_at"))
		list(activeKey, cycleMember(f, number(c.member), l.get(status, "uuid")), l.number(status, "started_at"))
	}
	if !listed && itoa(open) == seen {
		return false, nil
	}
	l.put(key, "active", itoa(open))
	l.repaired(at(ids.Attempt{Flow: f}, epoch), "active", "the count of open cycles differs from the cycles listed as open", 0, "")
	return true, nil
}

// MendClosed tells the leader again of an ended cycle.
func (l *Ledger) MendClosed(_ context.Context, epoch ids.Epoch, c ledger.ActiveCycle) (bool, error) {
	defer l.begin()()
	if err := l.fence("mend_closed", epoch); err != nil {
		return false, err
	}
	p := cycleAt(c, epoch)
	if _, ok := l.score(closingKey, leaseMember(p.Attempt)); !ok {
		return false, nil
	}
	if !l.here(p) {
		l.unrank(closingKey, leaseMember(p.Attempt))
		return false, nil
	}
	l.post(ledger.KindClosed, p.Attempt, 0)
	l.repaired(p, "closed", "ended, and the entry that tells so is lost", 0, "")
	return true, nil
}

// MendActive takes a cycle whose record is lost out of the open ones.
func (l *Ledger) MendActive(_ context.Context, epoch ids.Epoch, c ledger.ActiveCycle) (bool, error) {
	defer l.begin()()
	if err := l.fence("mend_active", epoch); err != nil {
		return false, err
	}
	p, member := cycleAt(c, epoch), cycleMember(c.Flow, c.Cycle, c.UUID.String())
	status := l.get(p.cycle, "status")
	if _, ok := l.score(activeKey, member); !ok || l.here(p) && (l.open(p) || status == "cancelling" || status == "deleting") {
		return false, nil
	}
	l.unrank(activeKey, member)
	l.repaired(p, "stray", "listed as open, and its record is gone", 0, "")
	return true, nil
}

// MendPurge asks again for the removal of a deleted flow.
func (l *Ledger) MendPurge(_ context.Context, epoch ids.Epoch, f ids.FlowID) (bool, error) {
	defer l.begin()()
	if err := l.fence("mend_purge", epoch); err != nil {
		return false, err
	}
	if l.get(flowKey(f, "state"), "status") != "deleting" {
		return false, nil
	}
	l.post(ledger.KindPurge, ids.Attempt{Flow: f}, 0)
	l.repaired(at(ids.Attempt{Flow: f}, epoch), "purge", "deleted, and no entry asks for the removal of its records", 0, "")
	return true, nil
}

// NoteRepair counts and journals a repair that no Mend verb makes.
func (l *Ledger) NoteRepair(_ context.Context, epoch ids.Epoch, a ids.Attempt, kind, cause string) error {
	defer l.begin()()
	if err := l.fence("note_repair", epoch); err != nil {
		return err
	}
	l.repaired(at(a, epoch), kind, cause, a.N, "")
	return nil
}

// Told removes the entries of ends of cycles.
func (l *Ledger) Told(_ context.Context, epoch ids.Epoch, ended ...ledger.Entry) error {
	defer l.begin()()
	if err := l.fence("told", epoch); err != nil {
		return err
	}
	for _, e := range ended {
		whole := e.Attempt
		whole.Node = ""
		l.unrank(closingKey, leaseMember(whole))
		l.removeEntry(e.ID)
	}
	return nil
}

// NoteRecovery journals a recovery and keeps it among the latest.
func (l *Ledger) NoteRecovery(_ context.Context, happened, done, kind string, count int) error {
	defer l.begin()()
	l.jot("recovery", ids.Attempt{}, 0, "", "", happened+": "+done)
	lines := append([]string{itoa(l.now) + " " + happened + ": " + done}, strings.Split(l.text[recoveriesKey], "\n")...)
	l.setText(recoveriesKey, strings.TrimSuffix(strings.Join(lines[:min(20, len(lines))], "\n"), "\n"))
	if kind != "" {
		l.add(repairsKey, kind, int64(count))
	}
	return nil
}

// Repairs returns how many repairs of each kind were made.
func (l *Ledger) Repairs(context.Context) (map[string]int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int64{}
	for kind, n := range l.hashes[repairsKey] {
		out[kind] = number(n)
	}
	return out, nil
}

// Recoveries returns the latest recoveries, the newest first.
func (l *Ledger) Recoveries(context.Context) ([]ledger.Recovery, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []ledger.Recovery
	for line := range strings.SplitSeq(l.text[recoveriesKey], "\n") {
		if ms, what, ok := strings.Cut(line, " "); ok {
			out = append(out, ledger.Recovery{At: fromMilli(number(ms)), What: what})
		}
	}
	return out, nil
}

// Deleted tells which of these incarnations of flows were deleted.
func (l *Ledger) Deleted(_ context.Context, uids []uuid.UUID) (map[uuid.UUID]bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[uuid.UUID]bool{}
	for _, u := range uids {
		_, out[u] = l.score(deletedKey, u.String())
	}
	return out, nil
}
