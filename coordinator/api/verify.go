package api

import (
	"cmp"
	"slices"
	"strings"
)

// Proof is what GET /verify found in the journal and the ledger's state.
type Proof struct {
	Clean      bool             `json:"clean" doc:"No record breaks a rule"`
	Records    int64            `json:"records" doc:"Records of the journal that were read"`
	First      string           `json:"first,omitempty" doc:"Id of the first of them"`
	Last       string           `json:"last,omitempty" doc:"Id of the last of them"`
	Checked    map[string]int64 `json:"checked" nullable:"false" doc:"How often each rule was applied"`
	Cycles     int64            `json:"cycles" doc:"Cycles seen from start to end"`
	Open       int64            `json:"open" doc:"Cycles that started in the range and did not end in it"`
	Partial    int64            `json:"partial" doc:"Cycles that began before the range: checked in part"`
	Unplanned  int64            `json:"unplanned" doc:"Cycles whose plan is not kept any more: checked in part"`
	Repairs    int64            `json:"repairs" doc:"What the leader's audit put back; 0 while Redis loses nothing"`
	Restored   int64            `json:"restored" doc:"Claims that a heartbeat brought back after Redis had lost them"`
	Torn       int64            `json:"torn" doc:"Cycles that lack records since Redis was restarted in the middle of a step, and were repaired"`
	Trimmed    int64            `json:"trimmed" doc:"Entries that the journal's cap has dropped so far, where the server tells"`
	Flows      int64            `json:"flows" doc:"Flows whose state was compared with the journal"`
	Compared   int64            `json:"compared" doc:"Cycles whose counters and node records were compared with it"`
	Nodes      int64            `json:"nodes" doc:"Node records that were"`
	Moving     int64            `json:"moving" doc:"Flows and cycles that moved whenever they were looked at, and were not compared"`
	Slots      []SlotCount      `json:"slots" nullable:"false" doc:"What became of the slots of each flow, as far as the range reaches"`
	Broken     int64            `json:"broken" doc:"Violations in all"`
	Violations []Violation      `json:"violations" nullable:"false" doc:"The first 1000 of them"`
	TookMS     int64            `json:"took_ms"`
}

// SlotCount tells what became of a flow's slots on its present schedule:
// due = started + skipped + pending.
type SlotCount struct {
	FlowID  string           `json:"flow_id"`
	First   Time             `json:"first" doc:"The first slot that the range accounts"`
	Last    Time             `json:"last" doc:"Up to when slots are counted"`
	Due     int64            `json:"due"`
	Started int64            `json:"started"`
	Skipped map[string]int64 `json:"skipped" nullable:"false" doc:"By reason"`
	Pending int64            `json:"pending" doc:"Due and not accounted yet"`
}

// Violation is a record of the journal, or a key of the ledger, that breaks a rule.
type Violation struct {
	Rule    string `json:"rule"`
	Record  string `json:"record,omitempty" doc:"Id in the journal"`
	Key     string `json:"key,omitempty" doc:"Key of the ledger, without its prefix, where the state breaks a rule"`
	At      Time   `json:"at,omitzero"`
	FlowID  string `json:"flow_id,omitempty"`
	Cycle   int64  `json:"cycle,omitzero"`
	NodeID  string `json:"node_id,omitempty"`
	Message string `json:"message"`

	Partition *int `json:"partition,omitempty" doc:"Whose journal or ledger; absent where there is one partition only"`
}

// maxViolations is how many a proof lists.
const maxViolations = 1000

// Add takes in the proof of another partition: its records and flows are others.
func (p *Proof) Add(o Proof) {
	p.Clean = p.Clean && o.Clean
	for _, n := range []struct{ to, add *int64 }{{&p.Records, &o.Records}, {&p.Cycles, &o.Cycles}, {&p.Open, &o.Open}, {&p.Partial, &o.Partial},
		{&p.Unplanned, &o.Unplanned}, {&p.Repairs, &o.Repairs}, {&p.Restored, &o.Restored}, {&p.Torn, &o.Torn}, {&p.Trimmed, &o.Trimmed},
		{&p.Flows, &o.Flows}, {&p.Compared, &o.Compared}, {&p.Nodes, &o.Nodes}, {&p.Moving, &o.Moving}, {&p.Broken, &o.Broken}, {&p.TookMS, &o.TookMS}} {
		*n.to += *n.add
	}
	if p.First == "" || o.First != "" && idBefore(o.First, p.First) {
		p.First = o.First
	}
	if p.Last == "" || o.Last != "" && idBefore(p.Last, o.Last) {
		p.Last = o.Last
	}
	for rule, n := range o.Checked {
		p.Checked[rule] += n
	}
	p.Slots = append(p.Slots, o.Slots...)
	slices.SortFunc(p.Slots, func(a, b SlotCount) int { return cmp.Compare(a.FlowID, b.FlowID) })
	p.Violations = append(p.Violations, o.Violations...)
	p.Violations = p.Violations[:min(len(p.Violations), maxViolations)]
}

// idBefore orders ids of records: two numbers, which may differ in length.
func idBefore(a, b string) bool {
	ams, aseq, _ := strings.Cut(a, "-")
	bms, bseq, _ := strings.Cut(b, "-")
	return cmp.Or(cmp.Compare(len(ams), len(bms)), cmp.Compare(ams, bms), cmp.Compare(len(aseq), len(bseq)), cmp.Compare(aseq, bseq)) < 0
}

// Transfer is the answer of POST /leader/transfer: the leadership that ended.
type Transfer struct {
	From  string `json:"from" doc:"The coordinator that led"`
	Epoch int64  `json:"epoch" doc:"Fencing number of its leadership; the next one's is higher"`

	Partition *int `json:"partition,omitempty" doc:"Absent where there is one only"`
}
