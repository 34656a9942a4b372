package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/ledger/memory/mutant"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// Expire revokes a claim if it is still the one named.
func (l *Ledger) Expire(_ context.Context, epoch ids.Epoch, x ledger.Expiry) (bool, error) {
	defer l.begin()()
	if err := l.fence("expire", epoch); err != nil {
		return false, err
	}
	p, token, member := at(x.Attempt, epoch), x.Token.String(), leaseMember(x.Attempt)
	status, attempt := l.state(p)
	switch {
	case !l.here(p), status != task.Running && mutant.Active != mutant.ExpireNoGuard:
		l.unrank(leasesKey, member)
		return false, nil
	case mutant.Active == mutant.ExpireNoGuard:
	case !l.mine(p, token):
		return false, nil
	case x.Cause == ledger.LeaseOver: // a renewal may have come since the leader looked
		if ends, ok := l.score(leasesKey, member); ok && ends > l.now {
			return false, nil
		}
	}
	worker, lost := l.get(p.node, "worker"), l.number(p.node, "lost")+1
	l.unrank(leasesKey, member)
	l.put(p.node, "lost", itoa(lost))
	once, cause := x.Plan.Delivery == plan.AtMostOnce, x.Cause
	if once && x.Unstarted {
		once, cause = false, cause+", no once-key"
	}
	l.note(p, "expire", x.N, token, worker, cause)
	var final task.Status
	var why string
	over := l.ending(p, x.Plan)
	switch {
	case over:
		final, why = l.endsAs(p), "worker lost while ending"
	case once:
		final, why = task.Unknown, "its worker was lost after the claim; at_most_once is never started again"
	case lost > int64(x.MaxLost):
		final, why = task.Failed, fmt.Sprintf("its worker was lost %d times: given up", lost)
	default:
		l.makeReady(p, attempt+1, "lost")
		return true, nil
	}
	l.put(p.node, "error_message", why, "error_class", "lost")
	l.finish(p, x.N, final, token, worker, "lost")
	if !over {
		l.giveUp(p, x.N, x.Plan, why, x.OnFailure)
	}
	l.closeCycle(p)
	return true, nil
}

// Retry begins the next attempt after a retry timer.
func (l *Ledger) Retry(_ context.Context, epoch ids.Epoch, a ids.Attempt) error {
	defer l.begin()()
	if err := l.fence("retry", epoch); err != nil {
		return err
	}
	p, member := at(a, epoch), timerMember("retry", a)
	if due, ok := l.score(timersKey, member); ok && due > l.now {
		return nil
	}
	l.unrank(timersKey, member)
	status, attempt := l.state(p)
	if !l.here(p) || !l.open(p) || status != task.Retrying || attempt != a.N {
		return nil
	}
	l.drop(p.node, "due")
	l.makeReady(p, a.N+1, "retry")
	return nil
}

// OfferAgain rings once more for the same attempt.
func (l *Ledger) OfferAgain(_ context.Context, epoch ids.Epoch, a ids.Attempt, why string) (bool, error) {
	defer l.begin()()
	if err := l.fence("offer_again", epoch); err != nil {
		return false, err
	}
	p := at(a, epoch)
	l.unrank(timersKey, timerMember("offer", a))
	status, attempt := l.state(p)
	if !l.here(p) || !l.open(p) || attempt != a.N || !offerable(status) {
		return false, nil
	}
	l.unhold(p)
	l.makeReady(p, a.N, why)
	return true, nil
}

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
	if repair == ledger.MendSpread {
		if !l.open(p) || !l.has(spreadKey(p), "spread") {
			return false, nil
		}
		l.post(ledger.KindSpread, a, 0)
		l.note(p, "repair", a.N, "", "", repair)
		return true, nil
	}
	status, attempt := l.state(p)
	of, known := map[string]task.Status{ledger.MendReady: "", ledger.MendDecide: "", ledger.MendOffer: task.Ready,
		ledger.MendLease: task.Running, ledger.MendTimer: task.Retrying}[repair]
	switch {
	case string(status) != seen, attempt != a.N, known && string(of) != seen,
		repair != ledger.MendLease && !l.open(p), repair == ledger.MendOffer && l.has(p.node, "blocker"):
		return false, nil
	}
	token := l.get(p.node, "token")
	switch repair {
	case ledger.MendLease:
		if _, ok := l.score(leasesKey, leaseMember(a)); ok {
			return false, nil
		}
		l.rank(leasesKey, leaseMember(a), l.now+lease.Milliseconds())
	case ledger.MendTimer:
		if _, ok := l.score(timersKey, timerMember("retry", a)); ok {
			return false, nil
		}
		l.rank(timersKey, timerMember("retry", a), l.now)
		l.post(ledger.KindTimer, a, a.N)
	case ledger.MendDecide:
		l.post(ledger.KindDecide, a, 0)
	case ledger.MendReady:
		l.makeReady(p, 1, "mended")
	default:
		l.post(ledger.KindReady, a, a.N)
	}
	l.note(p, "repair", a.N, token, "", repair)
	return true, nil
}

// MendCounts replaces a cycle's counters, if completed_nodes is still seen.
func (l *Ledger) MendCounts(_ context.Context, epoch ids.Epoch, c ledger.ActiveCycle, seen int64, counters map[string]int, joins []ledger.JoinFix) (bool, error) {
	defer l.begin()()
	if err := l.fence("mend_counts", epoch); err != nil {
		return false, err
	}
	p := at(ids.Attempt{Flow: c.Flow, Cycle: c.Cycle, UUID: c.UUID}, epoch)
	if !l.here(p) || !l.open(p) && l.get(p.cycle, "status") != "cancelling" || l.get(p.cycle, "completed_nodes") != itoa(seen) {
		return false, nil
	}
	for name, v := range counters {
		l.put(p.cycle, name, itoa(int64(v)))
	}
	for _, j := range joins {
		if l.get(p.base+":joins", j.Field) == j.Seen {
			l.put(p.base+":joins", j.Field, itoa(int64(j.Right)))
		}
	}
	l.note(p, "repair", 0, "", "", "counts")
	l.closeCycle(p)
	return true, nil
}

// MendFlow counts a flow's open cycles anew, if the count is still seen.
func (l *Ledger) MendFlow(_ context.Context, epoch ids.Epoch, f ids.FlowID, seen int64) (bool, error) {
	defer l.begin()()
	if err := l.fence("mend_flow", epoch); err != nil {
		return false, err
	}
	key := flowKey(f, "state")
	if active, ok := l.hashes[key]["active"]; !ok || active != itoa(seen) || l.get(key, "status") == "deleting" {
		return false, nil
	}
	var open int64
	for _, c := range l.ordered(flowKey(f, "cycles")) {
		status := cycleKey(f, number(c.member)) + ":status"
		if s := l.get(status, "status"); s != "running" && s != "cancelling" {
			continue
		}
		open++
		member := cycleMember(f, number(c.member), l.get(status, "uuid"))
		if _, ok := l.score(activeKey, member); !ok {
			l.rank(activeKey, member, l.number(status, "started_at"))
		}
	}
	l.put(key, "active", itoa(open))
	l.jot("repair", ids.Attempt{Flow: f}, epoch, "", "", "active")
	return true, nil
}
