package reconcile

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// stray takes a cycle out of the open ones whose record is gone.
func (a *Audit) stray(ctx context.Context, c ledger.ActiveCycle) error {
	done, err := a.cfg.Ledger.MendActive(ctx, a.cfg.Epoch, c)
	if done {
		a.note(c.Flow, c.Cycle, "", "stray")
	}
	return err
}

// closed tells the leader again of ended cycles whose entry is lost.
func (a *Audit) closed(ctx context.Context, clock time.Time) error {
	closing, err := a.cfg.Ledger.Closing(ctx, clock.Add(-2*a.look))
	if err != nil || len(closing) == 0 {
		return err
	}
	posted, err := a.cfg.Ledger.ReadPosted(ctx)
	if err != nil {
		return err
	}
	for _, c := range closing {
		if posted.Cycle(ledger.KindClosed, c.Flow, c.Cycle) {
			continue
		}
		done, err := a.cfg.Ledger.MendClosed(ctx, a.cfg.Epoch, c)
		if err != nil {
			return err
		}
		if done {
			a.note(c.Flow, c.Cycle, "", "closed")
		}
	}
	return nil
}

// crowd is how many flows one look goes through; more are looked at in turns.
const crowd = 1000

// flows compares the ledger's flows with those it has to have, and each one's
// count of open cycles with the cycles that are listed as open: a count that is
// too high would skip every later slot. What is missing has to be missing at two
// looks in a row, for it may be on its way.
func (a *Audit) flows(ctx context.Context, active []ledger.ActiveCycle) error {
	if a.cfg.Flows == nil {
		return nil
	}
	names, err := a.turn(ctx)
	if err != nil {
		return err
	}
	want := make(map[ids.FlowID]Flow, len(names))
	revisions := make(map[ids.FlowID]int64, len(names))
	for _, f := range names {
		w, known := a.cfg.Flows.Get(f)
		if known {
			want[f] = w
		}
		revisions[f] = w.Revision
	}
	found, listed, err := a.cfg.Ledger.LookAtFlows(ctx, revisions)
	if err != nil {
		return err
	}
	open := map[ids.FlowID]int64{}
	for _, c := range active {
		open[c.Flow]++
	}
	flawed := map[ids.FlowID]string{}
	var faults []error
	for f, look := range found {
		w, known := want[f]
		flaw := a.flaw(w, known, look, listed[f])
		if flaw != "" {
			if flawed[f] = flaw; a.flawed[f] == flaw {
				faults = append(faults, a.mendFlow(ctx, f, flaw))
			}
			continue
		}
		if known && look.UID == w.UID && look.Active != strconv.FormatInt(open[f], 10) {
			done, err := a.cfg.Ledger.MendFlow(ctx, a.cfg.Epoch, f, look.Active)
			if faults = append(faults, err); done {
				a.note(f, 0, "", "active")
			}
		}
	}
	a.flawed = flawed
	return fenceFirst(faults)
}

// turn picks the flows of one look: those that were flawed at the last, and the next
// of the round.
func (a *Audit) turn(ctx context.Context) ([]ids.FlowID, error) {
	if len(a.round) == 0 || a.entire > 0 {
		listed, err := a.cfg.Ledger.FlowIDs(ctx)
		if err != nil {
			return nil, err
		}
		a.round = a.cfg.Flows.Names()
		for _, f := range listed {
			if !a.cfg.Flows.Has(f) {
				a.round = append(a.round, f)
			}
		}
	}
	n := min(crowd, len(a.round))
	if a.entire > 0 {
		n = len(a.round)
		a.entire--
	}
	names := slices.AppendSeq(slices.Clone(a.round[:n]), maps.Keys(a.flawed))
	a.round = a.round[n:]
	slices.Sort(names)
	return slices.Compact(names), nil
}

// flaw names what the ledger lacks of a flow, or "".
func (a *Audit) flaw(w Flow, known bool, look ledger.FlowLook, listed bool) string {
	switch {
	case look.Status == "deleting":
		return "purge"
	case !known: // the mirror sees to it
		return ""
	case !look.Known:
		return "flow"
	case look.UID != w.UID || look.Revision != w.Revision: // a change is on its way
		return ""
	case look.Plan < w.Fields:
		return "plan"
	case !look.Config:
		return "config"
	case !listed:
		return "listing"
	}
	return ""
}

// flaws says what was wrong.
var flaws = map[string]string{
	"flow":    "its state is lost",
	"plan":    "the plan of its revision is not whole",
	"config":  "the mirrored definition is lost",
	"listing": "not among the flows of the ledger",
}

func (a *Audit) mendFlow(ctx context.Context, f ids.FlowID, flaw string) error {
	if flaw == "purge" {
		posted, err := a.cfg.Ledger.ReadPosted(ctx)
		if err != nil || posted.Cycle(ledger.KindPurge, f, 0) {
			return err
		}
		done, err := a.cfg.Ledger.MendPurge(ctx, a.cfg.Epoch, f)
		if done {
			a.note(f, 0, "", flaw)
		}
		return err
	}
	if err := a.cfg.Flows.Restore(ctx, f); err != nil {
		if errors.Is(err, ledger.ErrDeleting) || errors.Is(err, ledger.ErrStale) || errors.Is(err, ledger.ErrNoPlan) {
			return nil // it changes just now
		}
		return err
	}
	a.note(f, 0, "", flaw)
	return a.cfg.Ledger.NoteRepair(ctx, a.cfg.Epoch, ids.Attempt{Flow: f}, flaw, flaws[flaw])
}
