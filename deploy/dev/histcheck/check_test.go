package histcheck

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// history writes a journal by hand.
type history struct {
	records []ledger.Record
	epoch   ids.Epoch
}

var anchor = time.UnixMilli(1_700_000_000_000).UTC()

const step = 500 * time.Millisecond

func slotText(k int) string { return fmt.Sprint(anchor.Add(time.Duration(k) * step).UnixMilli()) }

func cycleID(n int64) uuid.UUID { return uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "cycle %d", n)) }

func (h *history) add(op string, cycle int64, node ids.NodeID, attempt int, token, detail string) {
	at := anchor.Add(10*time.Second + time.Duration(len(h.records))*time.Millisecond)
	r := ledger.Record{ID: fmt.Sprintf("%d-0", at.UnixMilli()), At: at, Op: op, Token: token, Detail: detail}
	r.Flow, r.Cycle, r.Node, r.N = "f", cycle, node, attempt
	if cycle > 0 {
		r.UUID = cycleID(cycle)
	}
	switch op {
	case "takeover":
		r.Flow, r.Epoch = "", h.epoch
	case "cycle_start", "slot_skipped", "dispatch", "expire":
		r.Epoch = h.epoch
	}
	h.records = append(h.records, r)
}

func (h *history) run(cycle int64, node ids.NodeID, attempt int, outcome string) {
	token := fmt.Sprintf("token-%d-%s-%d", cycle, node, attempt)
	h.add("ready", cycle, node, attempt, "", "")
	h.add("dispatch", cycle, node, attempt, "", "")
	h.add("claim", cycle, node, attempt, token, "")
	if outcome == "" {
		h.add("expire", cycle, node, attempt, token, "lease over")
		return
	}
	h.add("outcome", cycle, node, attempt, token, outcome)
}

// sound is a run without a fault: three slots, one of them skipped, a lost
// worker, a change of leader, a pause.
func sound() Evidence {
	h := &history{epoch: 5}
	h.add("takeover", 0, "", 0, "", "")
	h.add("flow_activated", 0, "", 0, "", "1")
	h.add("cycle_start", 1, "", 0, "", slotText(0)+" 1")
	h.run(1, "a", 1, "succeeded")
	h.add("slot_skipped", 0, "", 0, "", slotText(1)+" "+slotText(2)+" 2 overlap")
	h.run(1, "b", 1, "")
	h.epoch = 9
	h.add("takeover", 0, "", 0, "", "")
	h.run(1, "b", 2, "succeeded")
	h.add("cycle_end", 1, "", 0, "", "completed")
	h.add("cycle_start", 2, "", 0, "", slotText(3)+" 1")
	h.run(2, "a", 1, "failed: permanent")
	h.add("outcome", 2, "b", 0, "", "skipped: upstream_failed")
	h.add("cycle_end", 2, "", 0, "", "failed")
	h.add("flow_paused", 0, "", 0, "", "")
	h.add("flow_resumed", 0, "", 0, "", "")
	h.add("cycle_start", 3, "", 0, "", "manual 1")
	h.run(3, "a", 1, "succeeded")
	h.run(3, "b", 1, "succeeded: fine")
	h.add("cycle_end", 3, "", 0, "", "completed")
	intent := func(n int) uuid.UUID { return uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "intent %d", n)) }
	return Evidence{
		Journal: h.records,
		Flows: map[ids.FlowID]Flow{"f": {Anchor: anchor, Interval: step, Inputs: map[ids.NodeID][]ids.NodeID{"a": nil, "b": {"a"}},
			Writes: map[ids.NodeID]bool{"b": true}}},
		Effects: []Effect{{"f", 1, "b", intent(1)}, {"f", 3, "b", intent(3)}},
		Runs:    []Run{{"f", 1, "b", 1, intent(1)}, {"f", 1, "b", 2, intent(1)}, {"f", 3, "b", 1, intent(3)}},
		Until:   anchor.Add(3 * step),
		Ended:   true,
	}
}

func TestSoundRunHasNoViolation(t *testing.T) {
	for _, v := range Check(sound()) {
		t.Error(v)
	}
}

// at finds the nth entry of a kind.
func at(e *Evidence, op string, nth int) int {
	for i, r := range e.Journal {
		if r.Op == op {
			if nth--; nth == 0 {
				return i
			}
		}
	}
	panic("no such entry: " + op)
}

func TestPlantedViolations(t *testing.T) {
	insert := func(e *Evidence, i int, r ledger.Record) { e.Journal = slices.Insert(e.Journal, i, r) }
	for name, c := range map[string]struct {
		rule  string
		plant func(e *Evidence)
	}{
		"slot lost": {"slots", func(e *Evidence) { i := at(e, "slot_skipped", 1); e.Journal = slices.Delete(e.Journal, i, i+1) }},
		"slot started and skipped": {"slots", func(e *Evidence) {
			e.Journal[at(e, "slot_skipped", 1)].Detail = slotText(0) + " " + slotText(2) + " 3 overlap"
		}},
		"slot off the grid": {"slots", func(e *Evidence) {
			e.Journal[at(e, "cycle_start", 2)].Detail = fmt.Sprint(anchor.Add(3*step+time.Millisecond).UnixMilli()) + " 1"
		}},
		"wrong count of skipped slots": {"slots", func(e *Evidence) {
			e.Journal[at(e, "slot_skipped", 1)].Detail = slotText(1) + " " + slotText(2) + " 3 overlap"
		}},
		"first slot missing": {"slots", func(e *Evidence) {
			f := e.Flows["f"]
			f.Anchor = anchor.Add(-step)
			e.Flows["f"] = f
		}},
		"slot due and forgotten": {"slots", func(e *Evidence) { e.Until = anchor.Add(4 * step) }},
		"slot ahead of the clock": {"slots", func(e *Evidence) {
			e.Journal[at(e, "cycle_start", 2)].At = anchor
		}},
		"two cycles for a slot": {"slots", func(e *Evidence) {
			r := e.Journal[at(e, "cycle_start", 2)]
			r.UUID, r.Cycle = cycleID(99), 99
			insert(e, at(e, "cycle_start", 2)+1, r)
		}},
		"direct claim of what was offered": {"claim", func(e *Evidence) { e.Journal[at(e, "claim", 2)].Detail = "direct" }},
		"direct claim before the input's outcome": {"inputs", func(e *Evidence) {
			out, claim := at(e, "outcome", 1), at(e, "claim", 2)
			r := e.Journal[out]
			e.Journal[claim].Detail = "direct"
			e.Journal = slices.Delete(e.Journal, out, out+1)
			insert(e, at(e, "claim", 2)+1, r)
		}},
		"claim before the input's outcome": {"inputs", func(e *Evidence) {
			out, claim := at(e, "outcome", 1), at(e, "claim", 2)
			r := e.Journal[out]
			e.Journal = slices.Delete(e.Journal, out, out+1)
			insert(e, claim, r)
		}},
		"two tokens for an attempt": {"claim", func(e *Evidence) {
			i := at(e, "claim", 1)
			r := e.Journal[i]
			r.Token = "another"
			insert(e, i+1, r)
		}},
		"claim without an offer": {"claim", func(e *Evidence) { e.Journal[at(e, "claim", 3)].N = 7 }},
		"claim after the outcome": {"claim", func(e *Evidence) {
			i := at(e, "claim", 1)
			insert(e, at(e, "outcome", 1)+1, e.Journal[i])
		}},
		"revoked claim succeeds": {"outcome", func(e *Evidence) {
			e.Journal[at(e, "outcome", 2)].N = 1
			e.Journal[at(e, "outcome", 2)].Token = e.Journal[at(e, "claim", 2)].Token
		}},
		"outcome by a stranger": {"outcome", func(e *Evidence) { e.Journal[at(e, "outcome", 1)].Token = "another" }},
		"outcome counted twice": {"outcome", func(e *Evidence) {
			i := at(e, "outcome", 1)
			insert(e, i+1, e.Journal[i])
		}},
		"outcome missing":       {"outcome", func(e *Evidence) { i := at(e, "outcome", 4); e.Journal = slices.Delete(e.Journal, i, i+1) }},
		"outcome of a stranger": {"cycle", func(e *Evidence) { e.Journal[at(e, "outcome", 4)].Node = "z" }},
		"unknown status":        {"outcome", func(e *Evidence) { e.Journal[at(e, "outcome", 1)].Detail = "great" }},
		"cycle ends twice": {"cycle", func(e *Evidence) {
			i := at(e, "cycle_end", 1)
			insert(e, i+1, e.Journal[i])
		}},
		"cycle never ends":        {"cycle", func(e *Evidence) { i := at(e, "cycle_end", 3); e.Journal = slices.Delete(e.Journal, i, i+1) }},
		"cycle fails for nothing": {"cycle", func(e *Evidence) { e.Journal[at(e, "cycle_end", 1)].Detail = "failed" }},
		"cycle starts twice": {"cycle", func(e *Evidence) {
			i := at(e, "cycle_start", 3)
			insert(e, i+1, e.Journal[i])
		}},
		"cycle out of nothing": {"cycle", func(e *Evidence) { i := at(e, "cycle_start", 3); e.Journal = slices.Delete(e.Journal, i, i+1) }},
		"number given twice": {"cycle", func(e *Evidence) {
			for i := range e.Journal {
				if e.Journal[i].Cycle == 3 {
					e.Journal[i].Cycle = 2
				}
			}
		}},
		"epoch goes back":           {"epoch", func(e *Evidence) { e.Journal[at(e, "cycle_start", 2)].Epoch = 5 }},
		"dispatch without an offer": {"dispatch", func(e *Evidence) { i := at(e, "dispatch", 1); e.Journal[i].N = 4 }},
		"dispatch before the offer": {"dispatch", func(e *Evidence) {
			i := at(e, "ready", 1)
			e.Journal[i], e.Journal[i+1] = e.Journal[i+1], e.Journal[i]
		}},
		"offer after the outcome": {"outcome", func(e *Evidence) {
			insert(e, at(e, "outcome", 1)+1, e.Journal[at(e, "ready", 1)])
		}},
		"claim while paused": {"hold", func(e *Evidence) { i := at(e, "flow_resumed", 1); e.Journal = slices.Delete(e.Journal, i, i+1) }},
		"claim after a cancel": {"hold", func(e *Evidence) {
			r := e.Journal[at(e, "cycle_start", 1)]
			r.Op = "cycle_cancel"
			insert(e, at(e, "claim", 1), r)
		}},
		"claim after a delete": {"hold", func(e *Evidence) {
			r := e.Journal[at(e, "flow_paused", 1)]
			r.Op = "flow_deleted"
			insert(e, at(e, "claim", 1), r)
		}},
		"repair without a loss": {"repair", func(e *Evidence) { r := e.Journal[at(e, "ready", 1)]; r.Op = "repair"; insert(e, at(e, "claim", 1), r) }},
		"at most once, twice claimed": {"at_most_once", func(e *Evidence) {
			f := e.Flows["f"]
			f.AtMostOnce = map[ids.NodeID]bool{"b": true}
			e.Flows["f"], e.Runs = f, nil
		}},
		"at most once, twice run": {"at_most_once", func(e *Evidence) {
			f := e.Flows["f"]
			f.AtMostOnce = map[ids.NodeID]bool{"b": true}
			e.Flows["f"], e.Journal, e.Ended, e.Effects, e.RedisLost, e.Until = f, nil, false, nil, true, time.Time{}
		}},
		"intent carried out twice": {"effect", func(e *Evidence) { e.Effects[1].Intent = e.Effects[0].Intent }},
		"effect twice":             {"effect", func(e *Evidence) { e.Effects = append(e.Effects, Effect{"f", 3, "b", uuid.Max}) }},
		"effect missing":           {"effect", func(e *Evidence) { e.Effects = e.Effects[:1] }},
		"effect without a claim":   {"effect", func(e *Evidence) { e.Effects = append(e.Effects, Effect{"f", 2, "b", uuid.Max}) }},
		"attempt ran twice":        {"run", func(e *Evidence) { e.Runs = append(e.Runs, e.Runs[0]) }},
		"run without a claim":      {"run", func(e *Evidence) { e.Runs[2].Attempt = 2 }},
		"intent changes":           {"intent", func(e *Evidence) { e.Runs[1].Intent = uuid.Max }},
	} {
		t.Run(name, func(t *testing.T) {
			e := sound()
			c.plant(&e)
			found := Check(e)
			if !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == c.rule }) {
				t.Errorf("found %v, want a violation of %q", found, c.rule)
			}
		})
	}
}

// TestEveryMutationIsFound drops, doubles and moves each entry of a sound run in
// turn. What is not listed here as harmless has to be found.
func TestEveryMutationIsFound(t *testing.T) {
	harmless := map[string]string{
		"drop":   "takeover flow_activated dispatch flow_paused",
		"double": "takeover flow_activated flow_paused flow_resumed ready", // an offer may be made again
		"swap":   "takeover flow_activated dispatch flow_paused flow_resumed slot_skipped",
	}
	total := len(sound().Journal)
	for i := range total {
		for how, skip := range harmless {
			e := sound()
			op := e.Journal[i].Op
			if strings.Contains(skip, op) {
				continue
			}
			switch how {
			case "drop":
				e.Journal = slices.Delete(e.Journal, i, i+1)
			case "double":
				e.Journal = slices.Insert(e.Journal, i, e.Journal[i])
			case "swap":
				if i+1 == total || strings.Contains(skip, e.Journal[i+1].Op) || e.Journal[i].Op == "cycle_end" || op == "outcome" && e.Journal[i+1].Op == "outcome" {
					continue // these may come in any order
				}
				e.Journal[i], e.Journal[i+1] = e.Journal[i+1], e.Journal[i]
			}
			if len(Check(e)) == 0 {
				t.Errorf("%s of entry %d, %s of %s, is not found", how, i, op, e.Journal[i].Attempt)
			}
		}
	}
}

// TestATornCycle: a missing record is excused where Redis lost something and the cycle
// was mended, and nowhere else.
func TestATornCycle(t *testing.T) {
	torn := func(lost, mended bool) []Violation {
		e := sound()
		f := e.Flows["f"]
		f.Writes = nil
		e.Flows["f"], e.RedisLost, e.Effects, e.Runs = f, lost, nil, nil
		i := at(&e, "outcome", 1)
		r := e.Journal[i]
		e.Journal = slices.Delete(e.Journal, i, i+1)
		if mended {
			r.Op, r.Node, r.Token, r.N, r.Detail = "repair", "", "", 0, "counts: counters"
			e.Journal = slices.Insert(e.Journal, i, r)
		}
		return Check(e)
	}
	if found := torn(true, true); len(found) > 0 {
		t.Errorf("torn and mended: %v", found)
	}
	if len(torn(true, false)) == 0 || len(torn(false, true)) == 0 {
		t.Error("it is excused without a repair, or without a loss")
	}
}
