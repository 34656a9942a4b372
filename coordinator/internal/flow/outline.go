package flow

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Outline is what can be told of a stored flow without looking at its graph.
type Outline struct {
	Schedule string   // what the document says of its schedule; equal texts mean equal schedules
	Pools    []string // that its nodes are for, sorted; nil: the default one
}

// ReadOutline reads the outline of a document in its canonical form; a document of
// another form is parsed. Whether the graph is sound shows when it is parsed.
func ReadOutline(doc []byte) (Outline, error) {
	// The texts looked for hold quotes that are not escaped: no string of the document
	// does, and the fields before the nodes are strings and numbers.
	from := bytes.Index(doc, []byte(`"schedule_type":`))
	to := bytes.Index(doc, []byte(`,"nodes":[`))
	if from < 0 || to < from {
		f, err := Parse(doc, Options{})
		if err != nil {
			return Outline{}, err
		}
		return ReadOutline(f.Canonical())
	}
	o := Outline{Schedule: string(doc[from:to])}
	if !bytes.Contains(doc[to:], []byte(`"pool":`)) {
		return o, nil
	}
	var named struct {
		Nodes []struct {
			Pool string `json:"pool"`
		} `json:"nodes"`
	}
	if err := json.Unmarshal(doc, &named); err != nil {
		return Outline{}, fmt.Errorf("read pools: %w", err)
	}
	for _, n := range named.Nodes {
		o.Pools = append(o.Pools, cmp.Or(n.Pool, plan.DefaultPool))
	}
	slices.Sort(o.Pools)
	o.Pools = slices.Compact(o.Pools)
	return o, nil
}

// ReadSchedule reads the schedule that an outline tells of.
func ReadSchedule(text string) (schedule.Spec, error) {
	var r reader
	root, ok := decode([]byte("{"+text+"}"), &r.faults)
	if !ok {
		return schedule.Spec{}, r.faults.err()
	}
	var f Flow
	r.schedule(&f, r.locate(root))
	return f.Schedule(), r.faults.err()
}

// Summary is what a list of flows shows of one.
type Summary struct {
	Name  string
	Nodes int
}

// ReadSummary reads the summary of a document in its canonical form.
func ReadSummary(doc []byte) (Summary, error) {
	var d struct {
		Name  string     `json:"name"`
		Nodes []struct{} `json:"nodes"`
	}
	if err := json.Unmarshal(doc, &d); err != nil {
		return Summary{}, fmt.Errorf("read summary: %w", err)
	}
	return Summary{d.Name, len(d.Nodes)}, nil
}
