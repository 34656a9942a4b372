package audit

import (
	"slices"
	"testing"

	"github.com/tradingflow/weather-station/shared/ledger"
)

// A record that half a script lacks is excused in a cycle that was repaired after
// Redis was restarted, and in no other; a second outcome never is.
func TestATornCycle(t *testing.T) {
	s := legal(7, 400)
	i := slices.IndexFunc(s.records, func(r ledger.Record) bool { // of a whole cycle
		return r.Op == "outcome" && r.Token != "" && r.Detail == "succeeded"
	})
	lost := s.records[i]
	s.records = slices.Delete(slices.Clone(s.records), i, i+1)
	at := slices.IndexFunc(s.records, func(r ledger.Record) bool { return r.Op == "cycle_end" && r.UUID == lost.UUID })
	if at < 0 {
		t.Fatal("the cycle does not end in this history")
	}
	repair := s.records[at]
	repair.Op, repair.Detail, repair.Epoch = "repair", "counts: counters", 0
	for _, r := range s.records[:at] {
		repair.Epoch = max(repair.Epoch, r.Epoch)
	}
	restart := ledger.Record{ID: "99999999999999-0", At: s.records[len(s.records)-1].At, Op: "recovery", Detail: ledger.RedisRestarted + ": repaired counts 1"}
	with := func(records ...ledger.Record) *source {
		x := *s
		x.records = records
		return &x
	}
	repaired := slices.Insert(slices.Clone(s.records), at, repair)
	if p := audit(t, s, Range{}); p.Clean {
		t.Fatal("the outcome is not missed")
	}
	if p := audit(t, with(repaired...), Range{}); p.Clean {
		t.Error("a repair alone excuses it")
	}
	if p := audit(t, with(append(slices.Clone(s.records), restart)...), Range{}); p.Clean {
		t.Error("a restart alone excuses it")
	}
	all := append(slices.Clone(repaired), restart)
	if p := audit(t, with(all...), Range{}); !p.Clean || p.Torn != 1 {
		t.Errorf("%d torn: %s", p.Torn, around(p, all))
	}
	twice := slices.IndexFunc(all, func(r ledger.Record) bool { return r.Op == "outcome" && r.UUID == lost.UUID })
	if twice < 0 {
		t.Fatal("no other outcome in that cycle")
	}
	doubled := slices.Insert(slices.Clone(all), twice+1, all[twice])
	if p := audit(t, with(doubled...), Range{}); p.Clean || p.Violations[0].Rule != Outcomes {
		t.Errorf("a second outcome is excused: %+v", p.Violations)
	}
}
