package histcheck

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/deploy/dev/recorder"
	"github.com/tradingflow/weather-station/shared/ids"
)

// witnessed is the sound run with a recorder and the API's answers.
func witnessed() Evidence {
	e := sound()
	e.Effects, e.Runs = nil, nil
	f := e.Flows["f"]
	f.Writes, f.Recorded = nil, map[ids.NodeID]bool{"a": true, "b": true}
	e.Flows["f"] = f
	slot := func(k int) int64 { return anchor.Add(time.Duration(k) * step).UnixMilli() }
	add := func(event string, k int, cycle int64, node ids.NodeID, attempt int, result string) {
		e.Lines = append(e.Lines, recorder.Line{Seq: int64(len(e.Lines) + 1), At: anchor.Add(10 * time.Second).UnixMicro(), Event: event, Flow: "f",
			Slot: slot(k), Cycle: cycle, Node: node, Attempt: attempt, Worker: "w", Intent: uuid.NewSHA1(uuid.Nil, []byte(string(node)+string(rune('0'+k)))), Result: result})
	}
	both := func(k int, cycle int64, node ids.NodeID, attempt int, result string) {
		add(recorder.Start, k, cycle, node, attempt, "")
		add(recorder.End, k, cycle, node, attempt, result)
	}
	both(0, 1, "a", 1, recorder.OK)
	add(recorder.Start, 0, 1, "b", 1, "")
	both(0, 1, "b", 2, recorder.OK)
	both(3, 2, "a", 1, recorder.Failed)
	both(9, 3, "a", 1, recorder.OK) // by hand
	both(9, 3, "b", 1, recorder.OK)
	for i := range e.Journal {
		if e.Journal[i].Op == "claim" {
			e.Journal[i].Worker = "w"
		}
	}
	e.Answers = []Answer{
		{"f", 1, "completed", map[ids.NodeID]string{"a": "succeeded", "b": "succeeded"}},
		{"f", 2, "failed", map[ids.NodeID]string{"a": "failed", "b": "skipped"}},
		{"f", 3, "completed", nil},
	}
	return e
}

func TestSoundWitnessedRunHasNoViolation(t *testing.T) {
	for _, v := range Check(witnessed()) {
		t.Error(v)
	}
	e := witnessed()
	e.RedisLost = true
	for _, v := range Check(e) {
		t.Error("after a loss:", v)
	}
}

// Two cycles that are started by hand within a millisecond have one slot.
func TestCyclesByHandWithinAMillisecond(t *testing.T) {
	e := witnessed()
	last := e.Journal[len(e.Journal)-1].At
	for _, r := range slices.Clone(e.Journal) {
		if r.Cycle != 3 {
			continue
		}
		last = last.Add(time.Millisecond)
		r.ID, r.At, r.Cycle, r.UUID = fmt.Sprintf("%d-0", last.UnixMilli()), last, 4, cycleID(4)
		if r.Token != "" {
			r.Token += "-4"
		}
		e.Journal = append(e.Journal, r)
	}
	for _, l := range slices.Clone(e.Lines) {
		if l.Cycle == 3 {
			l.Seq, l.Cycle, l.Intent = int64(len(e.Lines)+1), 4, uuid.NewSHA1(l.Intent, nil)
			e.Lines = append(e.Lines, l)
		}
	}
	for _, v := range Check(e) {
		t.Error(v)
	}
	e.Lines[len(e.Lines)-2].Cycle, e.Lines[len(e.Lines)-1].Cycle = 3, 3 // the first one's node again
	if len(Check(e)) == 0 {
		t.Error("an execution of the one under the other's number is not found")
	}
}

func TestPlantedViolationsOfTheWitness(t *testing.T) {
	renumber := func(e *Evidence) {
		for i := range e.Lines {
			e.Lines[i].Seq = int64(i + 1)
		}
	}
	for name, c := range map[string]struct {
		rule  string
		plant func(e *Evidence)
	}{
		"line lost":            {"recorder", func(e *Evidence) { e.Lines = slices.Delete(e.Lines, 3, 4) }},
		"line doubled":         {"recorder", func(e *Evidence) { e.Lines = slices.Insert(e.Lines, 3, e.Lines[3]) }},
		"lines swapped":        {"recorder", func(e *Evidence) { e.Lines[3], e.Lines[4] = e.Lines[4], e.Lines[3] }},
		"end without a start":  {"recorder", func(e *Evidence) { e.Lines = slices.Delete(e.Lines, 5, 6); renumber(e) }},
		"unknown event":        {"recorder", func(e *Evidence) { e.Lines[1].Event = "pause" }},
		"attempt begins twice": {"run", func(e *Evidence) { e.Lines = slices.Insert(e.Lines, 2, e.Lines[2]); renumber(e) }},
		"attempt without a cause": {"run", func(e *Evidence) {
			i := at(e, "expire", 1)
			e.Journal = slices.Delete(e.Journal, i, i+1)
		}},
		"ran elsewhere":      {"run", func(e *Evidence) { e.Lines[0].Worker = "v" }},
		"ran unclaimed":      {"run", func(e *Evidence) { i := at(e, "claim", 1); e.Journal = slices.Delete(e.Journal, i, i+1) }},
		"ran in no cycle":    {"run", func(e *Evidence) { e.Lines[8].Cycle, e.Lines[9].Cycle = 77, 77 }},
		"ran after the end":  {"run", func(e *Evidence) { e.Lines[0].At = anchor.Add(time.Minute).UnixMicro() }},
		"counted, never ran": {"run", func(e *Evidence) { e.Lines = slices.Delete(e.Lines, 3, 5); renumber(e) }},
		"counted, failed":    {"run", func(e *Evidence) { e.Lines[4].Result = recorder.Failed }},
		"before its input": {"inputs", func(e *Evidence) {
			e.Lines[1], e.Lines[2] = e.Lines[2], e.Lines[1]
			renumber(e)
		}},
		"intent changes":    {"intent", func(e *Evidence) { e.Lines[3].Intent = uuid.Max }},
		"intent of another": {"intent", func(e *Evidence) { e.Lines[9].Intent = e.Lines[0].Intent }},
		"at most once":      {"at_most_once", func(e *Evidence) { f := e.Flows["f"]; f.AtMostOnce = map[ids.NodeID]bool{"b": true}; e.Flows["f"] = f }},
		"at most once, after a loss": {"at_most_once", func(e *Evidence) {
			f := e.Flows["f"]
			f.AtMostOnce = map[ids.NodeID]bool{"b": true}
			e.Flows["f"], e.Journal, e.RedisLost, e.Ended, e.Until, e.Answers = f, nil, true, false, time.Time{}, nil
		}},
		"API tells of another end":     {"answer", func(e *Evidence) { e.Answers[0].Status = "failed" }},
		"API tells of another outcome": {"answer", func(e *Evidence) { e.Answers[1].Nodes["b"] = "succeeded" }},
		"API has a cycle too many":     {"answer", func(e *Evidence) { e.Answers[2].Cycle = 12 }},
		"API lacks a node":             {"answer", func(e *Evidence) { delete(e.Answers[0].Nodes, "b") }},
		"slot of a flow that ended early": {"slots", func(e *Evidence) {
			f := e.Flows["f"]
			f.Until = anchor.Add(4 * step)
			e.Flows["f"], e.Until = f, anchor.Add(time.Hour)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := witnessed()
			c.plant(&e)
			found := Check(e)
			if !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == c.rule }) {
				t.Errorf("found %v, want a violation of %q", found, c.rule)
			}
		})
	}
	e := witnessed()
	f := e.Flows["f"]
	f.Until = anchor.Add(3 * step)
	e.Flows["f"], e.Until = f, anchor.Add(time.Hour)
	for _, v := range Check(e) {
		t.Error("a flow whose schedule ended:", v)
	}
}

// Every line that is dropped, doubled or moved is found, even by one who numbers
// the rest anew, but for what changes nothing that anybody relies on.
func TestEveryMutationOfTheLogIsFound(t *testing.T) {
	for i := range witnessed().Lines {
		for _, how := range []string{"drop", "double", "swap"} {
			e := witnessed()
			l := e.Lines[i]
			switch how {
			case "drop":
				e.Lines = slices.Delete(e.Lines, i, i+1)
			case "double":
				e.Lines = slices.Insert(e.Lines, i, l)
			case "swap":
				if i+1 == len(e.Lines) {
					continue
				}
				e.Lines[i], e.Lines[i+1] = e.Lines[i+1], e.Lines[i]
			}
			if len(Check(e)) == 0 {
				t.Errorf("%s of line %d, %s of %s#%d, is not found", how, i, l.Event, l.Node, l.Attempt)
			}
		}
	}
}
