package memory

import (
	"context"
	"fmt"

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
	status, attempt := l.state(p)
	again := l.here(p) && l.open(p) && attempt == a.N && offerable(status)
	if again {
		before := l.get(p.node, "held")
		l.makeReady(p, a.N, why)
		l.unhold(p, before)
		l.unrank(timersKey, timerMember("offer", a))
		l.put(p.node, "again", "1")
		switch why {
		case "message lost":
			l.repaired(p, "message", "offered, in no queue, and claimed by nobody", a.N, "")
		case "queue lost":
			l.repaired(p, "message", "claimed by nobody when its queue was lost", a.N, "")
		}
		return true, nil
	}
	l.unrank(timersKey, timerMember("offer", a))
	return false, nil
}
