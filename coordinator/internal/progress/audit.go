package progress

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// Record is a node's record as an audit reads it.
type Record struct {
	Status   task.Status // Waiting when there is none
	Attempt  int
	Dead     string // indexes of dead out-edges, as stored
	Reason   string // of a skip
	Blocked  bool   // set aside on purpose: it needs no offer
	Spread   bool   // its edges are being counted in parts: they are not all counted yet
	Posted   bool   // the rest of that count stands in the outbox
	Offered  bool   // an offer (or, while waiting, a decision) stands in the outbox
	Leased   bool
	TimerSet bool
}

// Snapshot is a running cycle as an audit reads it.
type Snapshot struct {
	OnFailure  string
	Cancelling bool
	Ended      map[int]bool // components that take no more claims
	Nodes      map[ids.NodeID]Record
	Joins      map[string]string // node:live, node:dead, node:failed → count
	Counters   map[string]int    // completed_nodes, succeeded_nodes, …
	Spreading  bool              // the entry nodes are being offered in parts
	SpreadSet  bool              // the rest of them stands in the outbox
	SweepSet   bool              // a sweep of this cycle stands in the outbox
}

// NodeRepair is one thing a node lacks.
type NodeRepair struct {
	Node    ids.NodeID
	Seen    task.Status
	Attempt int
	Kind    string // ready | offer | lease | timer | decide | spread
}

// JoinRepair is one wrong counter of a join.
type JoinRepair struct {
	Field string
	Seen  string // "" = not there
	Right int
}

// Findings is what an audit found wrong.
type Findings struct {
	Nodes    []NodeRepair
	Joins    []JoinRepair
	Counters map[string]int // the right values, when any is wrong
	Sweep    []int          // ended components with nodes that were never swept
	SweepAll bool           // the cycle is ending and some nodes were never swept
}

// Empty reports whether nothing was found.
func (f Findings) Empty() bool {
	return len(f.Nodes) == 0 && len(f.Joins) == 0 && len(f.Counters) == 0 && len(f.Sweep) == 0 && !f.SweepAll
}

// Audit derives counters, joins, offers, leases and timers from the states of a
// cycle's nodes and lists what differs from what is stored.
func Audit(p *plan.Plan, s Snapshot) Findings {
	var f Findings
	joins := map[ids.NodeID]*Join{}
	counters := map[string]int{"completed_nodes": 0}
	spreading := false
	for i := range p.Nodes {
		n := &p.Nodes[i]
		r := s.Nodes[n.ID]
		if r.Status.Final() {
			counters["completed_nodes"]++
			counters[string(r.Status)+"_nodes"]++
		}
		spreading = spreading || r.Spread
		countEdges(joins, n, r, s.OnFailure)
	}
	for name, right := range counters {
		if s.Counters[name] != right {
			f.Counters = counters
			break
		}
	}
	if s.Spreading && !s.SpreadSet && !s.Cancelling {
		f.Nodes = append(f.Nodes, NodeRepair{Kind: "spread"})
	}
	sweep := map[int]bool{}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		r := s.Nodes[n.ID]
		open := !s.Cancelling && !s.Ended[n.Component]
		if !open && !r.Status.Final() && r.Status != task.Running {
			if s.Cancelling {
				f.SweepAll = !s.SweepSet
			} else if !s.SweepSet {
				sweep[n.Component] = true
			}
			continue
		}
		if r.Spread && !r.Posted && open {
			f.Nodes = append(f.Nodes, NodeRepair{Node: n.ID, Seen: r.Status, Attempt: r.Attempt, Kind: "spread"})
		}
		if kind := lacks(n, r, joins[n.ID], open, s.Spreading || spreading); kind != "" {
			f.Nodes = append(f.Nodes, NodeRepair{Node: n.ID, Seen: r.Status, Attempt: r.Attempt, Kind: kind})
		}
	}
	f.Sweep = slices.Sorted(maps.Keys(sweep))
	if !spreading && !s.Cancelling {
		f.Joins = wrongJoins(p, s, joins)
	}
	return f
}

// lacks names what one node lacks, or "".
func lacks(n *plan.Node, r Record, j *Join, open, spreading bool) string {
	switch r.Status {
	case task.Waiting:
		if !open || r.Offered || spreading {
			return ""
		}
		if len(n.Inputs) == 0 {
			return "ready"
		}
		if j == nil || !j.Decided() {
			return ""
		}
		if n.Join == plan.AllSuccess && j.Live == j.Degree {
			return "ready"
		}
		return "decide"
	case task.Ready:
		if open && !r.Offered && !r.Blocked {
			return "offer"
		}
	case task.Running:
		if !r.Leased {
			return "lease"
		}
	case task.Retrying:
		if open && !r.TimerSet {
			return "timer"
		}
	default:
	}
	return ""
}

// countEdges adds the results of n's out-edges to the joins of their targets.
func countEdges(joins map[ids.NodeID]*Join, n *plan.Node, r Record, onFailure string) {
	var result func(i int) (Result, bool)
	switch r.Status {
	case task.Succeeded:
		dead := map[int]bool{}
		for s := range strings.SplitSeq(r.Dead, ",") {
			if i, err := strconv.Atoi(s); err == nil {
				dead[i] = true
			}
		}
		result = func(i int) (Result, bool) {
			if dead[i] {
				return Dead, true
			}
			return Live, true
		}
	case task.Skipped:
		passes := Dead
		if r.Reason == UpstreamFailed {
			passes = Failed
		}
		result = func(int) (Result, bool) { return passes, true }
	case task.Failed, task.Unknown:
		result = func(int) (Result, bool) { return Failed, onFailure == plan.Continue }
	default:
		result = func(int) (Result, bool) { return Live, false }
	}
	index := 0
	for i := range n.Successors {
		s := &n.Successors[i]
		j := joins[s.Target]
		if j == nil {
			j = &Join{Degree: s.InDegree}
			joins[s.Target] = j
		}
		for range s.Edges {
			if res, ok := result(index); ok {
				switch res {
				case Live:
					j.Live++
				case Dead:
					j.Dead++
				case Failed:
					j.Failed++
				}
			}
			index++
		}
	}
}

// wrongJoins compares the counters of nodes that still wait: those of others are
// not looked at any more.
func wrongJoins(p *plan.Plan, s Snapshot, joins map[ids.NodeID]*Join) []JoinRepair {
	var out []JoinRepair
	for i := range p.Nodes {
		n := &p.Nodes[i]
		j := joins[n.ID]
		if j == nil || s.Nodes[n.ID].Status != task.Waiting || s.Ended[n.Component] {
			continue
		}
		for _, c := range []struct {
			name  string
			right int
		}{{":live", j.Live}, {":dead", j.Dead}, {":failed", j.Failed}} {
			field := string(n.ID) + c.name
			seen := s.Joins[field]
			if got, _ := strconv.Atoi(seen); got != c.right {
				out = append(out, JoinRepair{Field: field, Seen: seen, Right: c.right})
			}
		}
	}
	return out
}
