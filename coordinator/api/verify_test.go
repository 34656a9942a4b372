package api

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProofsAreSummed(t *testing.T) {
	p := Proof{Clean: true, Records: 3, First: "999-0", Last: "1000-9", Checked: map[string]int64{"slots": 1}, Cycles: 2, Slots: []SlotCount{{FlowID: "b"}}, TookMS: 5}
	p.Add(Proof{Clean: true, Records: 4, First: "1000-2", Last: "1000-10", Checked: map[string]int64{"slots": 2, "ends": 1}, Cycles: 1, Slots: []SlotCount{{FlowID: "a"}}})
	p.Add(Proof{Clean: false, Checked: map[string]int64{}, Broken: 2, Violations: []Violation{{Rule: "ends"}, {Rule: "ends"}}})
	want := Proof{Records: 7, First: "999-0", Last: "1000-10", Checked: map[string]int64{"slots": 3, "ends": 1}, Cycles: 3,
		Slots: []SlotCount{{FlowID: "a"}, {FlowID: "b"}}, TookMS: 5, Broken: 2, Violations: []Violation{{Rule: "ends"}, {Rule: "ends"}}}
	if d := cmp.Diff(want, p); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	p.Add(Proof{Checked: map[string]int64{}, Broken: 2000, Violations: make([]Violation, 1000)})
	if len(p.Violations) != 1000 || p.Broken != 2002 {
		t.Errorf("%d of %d are listed", len(p.Violations), p.Broken)
	}
}
