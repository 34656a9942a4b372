package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
)

// EndUnknown ends a node whose once-key is another's.
func (l *Ledger) EndUnknown(_ context.Context, d ledger.Doubt) error {
	defer l.begin()()
	p, token := at(d.Attempt, 0), d.Token.String()
	if !l.here(p) {
		l.turnAway(p, token, "", "end_unknown", "gone")
		return fmt.Errorf("end unknown %s: %w", d.Attempt, ledger.ErrGone)
	}
	status, attempt := l.state(p)
	if status.Final() && attempt == d.N && l.get(p.node, "token") == token && l.get(p.node, "error_class") == "once" {
		return nil
	}
	if !l.mine(p, token) {
		l.turnAway(p, token, "", "end_unknown", l.standing(p))
		return fmt.Errorf("end unknown %s: %w", d.Attempt, ledger.ErrNotMine)
	}
	over, why := l.ending(p, d.Plan), ledger.ClipError(d.Why)
	final := task.Unknown
	if over {
		final = l.endsAs(p)
	}
	l.unrank(leasesKey, leaseMember(d.Attempt))
	l.put(p.node, "error_message", why, "error_class", "once")
	l.finish(p, d.N, final, token, l.get(p.node, "worker"), "once-key of another")
	if !over {
		l.giveUp(p, d.N, d.Plan, why, d.OnFailure)
	}
	l.closeCycle(p)
	return nil
}

// Block names what a claimed attempt waits for.
func (l *Ledger) Block(_ context.Context, a ids.Attempt, token uuid.UUID, blocker string) error {
	defer l.begin()()
	p := at(a, 0)
	switch {
	case !l.here(p) || !l.mine(p, token.String()):
	case blocker == "":
		l.drop(p.node, "blocker")
	default:
		l.put(p.node, "blocker", blocker)
	}
	return nil
}

const onceKey = prefix + ":once"

// OnceEra notes which etcd has the once-keys and returns since when.
func (l *Ledger) OnceEra(_ context.Context, epoch ids.Epoch, era string) (time.Time, error) {
	defer l.begin()()
	if err := l.fence("once_era", epoch); err != nil {
		return time.Time{}, err
	}
	if l.get(onceKey, "era") != era || !l.has(onceKey, "since") {
		l.put(onceKey, "era", era, "since", itoa(l.now))
	}
	return fromMilli(l.number(onceKey, "since")), nil
}

// Occasions returns the occasions of all cycles of a flow.
func (l *Ledger) Occasions(_ context.Context, f ids.FlowID) (map[uuid.UUID]bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out map[uuid.UUID]bool
	for _, c := range l.ordered(flowKey(f, "cycles")) {
		u, err := uuid.Parse(l.get(cycleKey(f, number(c.member))+":status", "occasion"))
		if err != nil {
			continue
		}
		if out == nil {
			out = map[uuid.UUID]bool{}
		}
		out[u] = true
	}
	return out, nil
}
