package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tradingflow/weather-station/coordinator/drill"
)

func (a *app) showDrill(r drill.Report) {
	rows := make([][]string, len(r.Rounds))
	for i, x := range r.Rounds {
		rows[i] = []string{strconv.Itoa(x.Number), a.verdict(x.Pass), whole(x.LeadershipMS), exactly(x), whole(x.StartedMS), whole(x.CompletedMS), whole(x.RecoveryMS),
			slotsOf(x), fmt.Sprintf("%d, max %dms", x.Late, x.MaxLateMS), fmt.Sprintf("%d, %d lost", x.Repeated, x.Lost),
			strconv.FormatInt(x.Fenced, 10), journalOf(x)}
	}
	a.table([]string{"round", "verdict", "new leader", "exact", "started", "completed", "recovered", "slots", "late", "repeated", "fenced", "journal"}, rows)
	fmt.Fprintln(a.out)
	for _, x := range r.Rounds {
		for _, p := range x.Proofs {
			fmt.Fprintf(a.out, "round %d: shown by: %s\n", x.Number, clean(p))
		}
		for _, why := range x.Reasons {
			fmt.Fprintf(a.out, "round %d: FAILED: %s\n", x.Number, clean(why))
		}
	}
	pairs := []string{"fault", string(r.Fault), "seed", strconv.FormatUint(r.Seed, 10)}
	if s := r.Leadership; s != nil {
		pairs = append(pairs, "new leader", spread(s))
	}
	if s := r.Recovery; s != nil {
		pairs = append(pairs, "recovery", spread(s)+fmt.Sprintf("; %dms allowed", r.LimitMS))
	}
	for _, m := range []struct {
		what string
		s    *drill.Spread
	}{{"next dispatch", r.Dispatch}, {"gap of dispatches", r.Gap}, {"next run", r.Rerun}} {
		if m.s != nil {
			pairs = append(pairs, m.what, spread(m.s))
		}
	}
	for _, why := range r.Reasons {
		pairs = append(pairs, "FAILED", clean(why))
	}
	a.fields(append(pairs, "verdict", a.verdict(r.Pass))...)
}

func (a *app) verdict(pass bool) string {
	text, code := "pass", "32"
	if !pass {
		text, code = "FAIL", "31"
	}
	if !a.colours {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func whole(ms *int64) string {
	if ms == nil {
		return "-"
	}
	return strconv.FormatInt(*ms, 10) + "ms"
}

// exactly shows what the journal tells to the millisecond.
func exactly(x drill.Round) string {
	switch {
	case x.RerunMS != nil:
		return "re-run " + whole(x.RerunMS)
	case x.GapMS != nil && x.DispatchMS != nil:
		return "dispatch " + whole(x.DispatchMS) + ", gap " + whole(x.GapMS)
	default:
		return whole(x.DispatchMS)
	}
}

func spread(s *drill.Spread) string {
	return fmt.Sprintf("%d to %dms, p50 %dms, p90 %dms, p99 %dms, n=%d", s.MinMS, s.MaxMS, s.MedianMS, s.P90MS, s.P99MS, s.N)
}

func slotsOf(x drill.Round) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d = %d started", x.Slots.Due, x.Slots.Started)
	for _, why := range slices.Sorted(maps.Keys(x.Slots.Skipped)) {
		fmt.Fprintf(&b, " + %d %s", x.Slots.Skipped[why], clean(why))
	}
	if x.Slots.Pending > 0 {
		fmt.Fprintf(&b, " + %d pending", x.Slots.Pending)
	}
	return b.String()
}

func journalOf(x drill.Round) string {
	switch {
	case x.Proof == nil:
		return "not verified"
	case x.Proof.Clean:
		return fmt.Sprintf("clean, %d records", x.Proof.Records)
	default:
		return fmt.Sprintf("%d broken", x.Proof.Broken)
	}
}
