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
	Blocker  string // why it is set aside: it then needs no offer, but what brings it back
	Held     bool   // set aside until something comes, and
	Kept     bool   // in the set that is looked at when it does
	Spread   bool   // its edges are being counted in parts: they are not all counted yet
	Posted   bool   // the rest of that count stands in the outbox
	Offered  bool   // an offer (or, while waiting, a decision) stands in the outbox
	Leased   bool
	TimerSet bool // of a retry, or of the next offer of a declined node
}

// Snapshot is a running cycle as an audit reads it.
type Snapshot struct {
	OnFailure  string
	Cancelling bool
	Ended      map[int]string // components that take no more claims: stopped | failed
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
	Kind    string // ready | offer | lease | timer | decide | spread | declined | held
}

// JoinRepair is one wrong counter of a join.
type JoinRepair struct {
	Field string
	Seen  string // "" = not there
	Right int
}

// SweepRepair is a component that ended, with nodes that were never swept.
type SweepRepair struct {
	Component int
	How       string     // stopped | failed
	Node      ids.NodeID // whose end ended it; "" = the mark alone says so
}

// Findings is what an audit found wrong.
type Findings struct {
	Nodes    []NodeRepair
	Joins    []JoinRepair
	Counters map[string]int // the right values, when any is wrong or the cycle should have closed
	Sweep    []SweepRepair
	SweepAll bool // the cycle is ending and some nodes were never swept
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
	for name := range s.Counters {
		counters[name] += 0 // one that counts no node has to be 0
	}
	if !maps.Equal(counters, filled(s.Counters, counters)) || counters["completed_nodes"] == len(p.Nodes) {
		f.Counters = counters
	}
	ended, enders := endings(p, s)
	if s.Spreading && !s.SpreadSet && !s.Cancelling {
		f.Nodes = append(f.Nodes, NodeRepair{Kind: "spread"})
	}
	sweep := map[int]bool{}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		r := s.Nodes[n.ID]
		open := !s.Cancelling && ended[n.Component] == ""
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
	for _, c := range slices.Sorted(maps.Keys(sweep)) {
		f.Sweep = append(f.Sweep, SweepRepair{c, ended[c], enders[c]})
	}
	if !spreading && !s.Cancelling {
		f.Joins = wrongJoins(p, s, joins, ended)
	}
	return f
}

// filled gives every counter a value: one that is not stored counts 0.
func filled(stored, names map[string]int) map[string]int {
	out := make(map[string]int, len(names))
	for name := range names {
		out[name] = stored[name]
	}
	return out
}

// endings returns the components that take no more claims: those marked so, and
// those whose ending node is counted though the mark was lost; and the first such node
// of each.
func endings(p *plan.Plan, s Snapshot) (out map[int]string, enders map[int]ids.NodeID) {
	out, enders = maps.Clone(s.Ended), map[int]ids.NodeID{}
	if out == nil {
		out = map[int]string{}
	}
	end := func(n *plan.Node, how string) {
		if out[n.Component] == "" {
			out[n.Component] = how
		}
		if enders[n.Component] == "" {
			enders[n.Component] = n.ID
		}
	}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		switch s.Nodes[n.ID].Status {
		case task.Stopped:
			end(n, "stopped")
		case task.Failed, task.Unknown:
			if s.OnFailure != plan.Continue {
				end(n, "failed")
			}
		default:
		}
	}
	return out, enders
}

// Both keeps what two audits of one cycle agree on. A single one reads a cycle
// that goes on meanwhile, so it can see the middle of a step; only what is still
// wrong in a second one, all of whose reads came later, is wrong.
func (f Findings) Both(g Findings) Findings {
	var out Findings
	out.Nodes = agreed(f.Nodes, g.Nodes)
	out.Joins = agreed(f.Joins, g.Joins)
	out.Sweep = agreed(f.Sweep, g.Sweep)
	out.SweepAll = f.SweepAll && g.SweepAll
	if f.Counters != nil && maps.Equal(f.Counters, g.Counters) {
		out.Counters = g.Counters
	}
	return out
}

func agreed[T comparable](a, b []T) []T {
	known := make(map[T]bool, len(a))
	for _, x := range a {
		known[x] = true
	}
	var out []T
	for _, x := range b {
		if known[x] {
			out = append(out, x)
		}
	}
	return out
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
		if !open || r.Offered {
			return ""
		}
		switch {
		case !r.Held && r.Blocker != "declined": // whatever set it aside has left nothing that brings it back
			return "offer"
		case r.Held && !r.Kept:
			return "held"
		}
	case task.Dispatched:
		if open && r.Blocker == "declined" && !r.TimerSet {
			return "declined"
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
		var dead map[int]bool
		if r.Dead != "" {
			dead = map[int]bool{}
			for s := range strings.SplitSeq(r.Dead, ",") {
				if i, err := strconv.Atoi(s); err == nil {
					dead[i] = true
				}
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
			j = &Join{Degree: s.InDegree, alone: s.Plain && len(s.Edges) == s.InDegree}
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
// not looked at any more, and some are never kept.
func wrongJoins(p *plan.Plan, s Snapshot, joins map[ids.NodeID]*Join, ended map[int]string) []JoinRepair {
	var out []JoinRepair
	for i := range p.Nodes {
		n := &p.Nodes[i]
		j := joins[n.ID]
		if j == nil || j.uncounted() || s.Nodes[n.ID].Status != task.Waiting || ended[n.Component] != "" {
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
