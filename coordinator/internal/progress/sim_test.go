package progress_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/coordinator/internal/progress"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// chunk is how many successors, entry nodes or swept nodes one step takes.
const chunk = 2

// edge is one edge of a test's graph, by node numbers.
type edge struct{ from, to int }

// build compiles a graph of n nodes.
func build(n int, edges []edge, joins []string, onFailure string) *plan.Plan {
	p := &plan.Plan{Flow: "f", Revision: 1, OnFailure: onFailure}
	group := make([]int, n)
	for i := range group {
		group[i] = i
	}
	for range n { // merge until nothing changes
		for _, e := range edges {
			low := min(group[e.from], group[e.to])
			group[e.from], group[e.to] = low, low
		}
	}
	numbers := map[int]int{}
	for i := range n {
		if _, ok := numbers[group[i]]; !ok {
			numbers[group[i]] = len(numbers)
		}
		join := plan.AllSuccess
		if len(joins) > 0 {
			join = joins[i]
		}
		p.Nodes = append(p.Nodes, plan.Node{ID: ids.NodeID(fmt.Sprintf("n%d", i)), Type: "t", Pool: "default", Component: numbers[group[i]], Join: join})
	}
	for _, e := range edges {
		to := &p.Nodes[e.to]
		to.Inputs = append(to.Inputs, plan.Input{Source: p.Nodes[e.from].ID, SourceHandle: "default", TargetHandle: "default"})
	}
	for i := range p.Nodes {
		for _, e := range edges {
			if e.from != i {
				continue
			}
			target := &p.Nodes[e.to]
			n := &p.Nodes[i]
			k := slices.IndexFunc(n.Successors, func(s plan.Successor) bool { return s.Target == target.ID })
			if k < 0 {
				k = len(n.Successors)
				n.Successors = append(n.Successors, plan.Successor{Target: target.ID, InDegree: len(target.Inputs), Plain: target.Join == plan.AllSuccess})
			}
			n.Successors[k].Edges = append(n.Successors[k].Edges, plan.Edge{SourceHandle: "default"})
		}
	}
	p.Components = len(numbers)
	return p.Seal()
}

// sim is one cycle as the ledger's scripts keep it, in the shortest form that
// tells right from wrong.
type sim struct {
	plan       *plan.Plan
	nodes      map[ids.NodeID]*progress.Record // none = waiting
	joins      map[string]int
	counters   map[string]int
	ended      map[int]string
	offers     map[ids.NodeID]bool
	decides    map[ids.NodeID]bool
	spreads    map[ids.NodeID]int // next successor to count; "" = entry nodes
	posted     map[ids.NodeID]bool
	sweeps     map[int][]ids.NodeID // component (-1 = all) → nodes left
	cancelling bool
	closed     bool
}

func begin(p *plan.Plan) *sim {
	s := &sim{plan: p, nodes: map[ids.NodeID]*progress.Record{}, joins: map[string]int{}, counters: map[string]int{"completed_nodes": 0},
		ended: map[int]string{}, offers: map[ids.NodeID]bool{}, decides: map[ids.NodeID]bool{}, spreads: map[ids.NodeID]int{},
		posted: map[ids.NodeID]bool{}, sweeps: map[int][]ids.NodeID{}}
	all := p.Entries()
	for _, n := range all[:min(chunk, len(all))] {
		s.ready(n.ID, 1)
	}
	if len(all) > chunk {
		s.spreads[""], s.posted[""] = chunk, true
	}
	return s
}

func (s *sim) ready(id ids.NodeID, attempt int) {
	s.nodes[id] = &progress.Record{Status: task.Ready, Attempt: attempt}
	s.offers[id] = true
}

func (s *sim) open(n *plan.Node) bool {
	return !s.cancelling && !s.closed && s.ended[n.Component] == ""
}

func (s *sim) finish(n *plan.Node, status task.Status) *progress.Record {
	r := s.nodes[n.ID]
	if r == nil {
		r = &progress.Record{}
		s.nodes[n.ID] = r
	}
	r.Status, r.Leased, r.TimerSet, r.Held, r.Kept = status, false, false, false, false
	s.counters["completed_nodes"]++
	s.counters[string(status)+"_nodes"]++
	return r
}

func (s *sim) close() {
	if s.counters["completed_nodes"] == len(s.plan.Nodes) {
		s.closed = true
	}
}

// result is what a final node's out-edge of that index became.
func result(r *progress.Record, index int) string {
	switch {
	case r.Status == task.Succeeded && !slices.Contains(strings.Split(r.Dead, ","), strconv.Itoa(index)):
		return ":live"
	case r.Status == task.Succeeded, r.Status == task.Skipped && r.Reason == progress.NotTaken:
		return ":dead"
	default:
		return ":failed"
	}
}

// spread counts the edges of up to chunk successors from one on.
func (s *sim) spread(n *plan.Node, from int) int {
	index := 0
	for k := range n.Successors {
		succ := &n.Successors[k]
		for range succ.Edges {
			if k >= from && k < from+chunk {
				s.joins[string(succ.Target)+result(s.nodes[n.ID], index)]++
			}
			index++
		}
		if k < from || k >= from+chunk {
			continue
		}
		t := string(succ.Target)
		live, all := s.joins[t+":live"], s.joins[t+":live"]+s.joins[t+":dead"]+s.joins[t+":failed"]
		if succ.Plain && live == succ.InDegree {
			if s.nodes[succ.Target] == nil {
				s.ready(succ.Target, 1)
			}
		} else if all >= succ.InDegree {
			s.decides[succ.Target] = true
		}
	}
	return min(from+chunk, len(n.Successors))
}

// goOn lets the successors of a node that was just counted go.
func (s *sim) goOn(n *plan.Node) {
	if next := s.spread(n, 0); next < len(n.Successors) {
		s.nodes[n.ID].Spread = true
		s.spreads[n.ID], s.posted[n.ID] = next, true
	}
}

func (s *sim) end(n *plan.Node, how string) {
	s.ended[n.Component] = how
	var nodes []ids.NodeID
	for i := range s.plan.Nodes {
		if s.plan.Nodes[i].Component == n.Component {
			nodes = append(nodes, s.plan.Nodes[i].ID)
		}
	}
	s.sweeps[n.Component] = nodes
}

// step takes one possible step, drawn at random; false when there is none.
func (s *sim) step(t *rapid.T) bool {
	var can []func()
	for i := range s.plan.Nodes {
		n := &s.plan.Nodes[i]
		r := s.nodes[n.ID]
		if s.decides[n.ID] {
			can = append(can, func() { s.decide(n) })
		}
		if at, ok := s.spreads[n.ID]; ok && s.posted[n.ID] {
			can = append(can, func() { s.spreadMore(n, at) })
		}
		if r != nil {
			can = append(can, s.moves(t, n, r)...)
		}
	}
	if at, ok := s.spreads[""]; ok {
		can = append(can, func() { s.spreadEntries(at) })
	}
	for _, c := range slices.Sorted(maps.Keys(s.sweeps)) {
		can = append(can, func() { s.sweep(c) })
	}
	if !s.cancelling && !s.closed && len(can) > 0 && rapid.IntRange(0, 39).Draw(t, "cancel") == 0 {
		s.cancelling = true
		var all []ids.NodeID
		for i := range s.plan.Nodes {
			all = append(all, s.plan.Nodes[i].ID)
		}
		s.sweeps[-1] = all
		return true
	}
	if len(can) == 0 || s.closed {
		return false
	}
	can[rapid.IntRange(0, len(can)-1).Draw(t, "step")]()
	return true
}

// moves lists what can happen to a node with a record.
func (s *sim) moves(t *rapid.T, n *plan.Node, r *progress.Record) []func() {
	switch r.Status {
	case task.Ready, task.Dispatched:
		var out []func()
		if s.offers[n.ID] {
			out = append(out, func() { // confirmed, or set aside
				delete(s.offers, n.ID)
				if rapid.IntRange(0, 5).Draw(t, "hold") == 0 {
					r.Held, r.Kept = true, true
				} else {
					r.Status = task.Dispatched
				}
			})
		} else if r.Held {
			out = append(out, func() { s.ready(n.ID, r.Attempt) })
		}
		if s.open(n) && !r.Held { // claims may overtake the confirm, whose entry then stays a while
			out = append(out, func() { r.Status, r.Leased = task.Running, true })
		}
		return out
	case task.Running:
		return []func(){func() { s.settle(t, n, r) }}
	case task.Retrying:
		return []func(){func() { s.ready(n.ID, r.Attempt+1) }}
	default:
		return nil
	}
}

// settle ends a running attempt in one of the ways a worker or the leader may.
func (s *sim) settle(t *rapid.T, n *plan.Node, r *progress.Record) {
	open := s.open(n)
	delete(s.offers, n.ID)
	switch rapid.IntRange(0, 9).Draw(t, "outcome") {
	case 0:
		s.finish(n, task.Stopped)
		if open {
			s.end(n, "stopped")
		}
	case 1, 2:
		if !open {
			s.finish(n, task.Cancelled)
			break
		}
		s.finish(n, rapid.SampledFrom([]task.Status{task.Failed, task.Unknown}).Draw(t, "failure"))
		if s.plan.OnFailure == plan.Continue {
			s.goOn(n)
		} else {
			s.end(n, "failed")
		}
	case 3:
		if !open {
			s.finish(n, task.Cancelled)
			break
		}
		r.Status, r.Leased, r.TimerSet = task.Retrying, false, true
	case 4: // released, or lost
		if !open {
			s.finish(n, task.Cancelled)
			break
		}
		s.ready(n.ID, r.Attempt+1)
	default:
		edges, dead := 0, []string{}
		for _, succ := range n.Successors {
			for range succ.Edges {
				if rapid.IntRange(0, 3).Draw(t, "dead") == 0 {
					dead = append(dead, strconv.Itoa(edges))
				}
				edges++
			}
		}
		s.finish(n, task.Succeeded).Dead = strings.Join(dead, ",")
		if open {
			s.goOn(n)
		}
	}
	s.close()
}

func (s *sim) decide(n *plan.Node) {
	delete(s.decides, n.ID)
	if !s.open(n) || s.nodes[n.ID] != nil {
		return
	}
	id := string(n.ID)
	v := progress.Decide(n.Join, progress.Join{Live: s.joins[id+":live"], Dead: s.joins[id+":dead"], Failed: s.joins[id+":failed"], Degree: len(n.Inputs)})
	if v.Run {
		s.ready(n.ID, 1)
		return
	}
	s.finish(n, task.Skipped).Reason = v.Reason
	s.goOn(n)
	s.close()
}

func (s *sim) spreadMore(n *plan.Node, at int) {
	if s.cancelling {
		delete(s.posted, n.ID)
		return
	}
	next := s.spread(n, at)
	s.spreads[n.ID] = next
	if next == len(n.Successors) {
		delete(s.spreads, n.ID)
		delete(s.posted, n.ID)
		s.nodes[n.ID].Spread = false
	}
}

func (s *sim) spreadEntries(at int) {
	if s.cancelling {
		delete(s.posted, "")
		delete(s.spreads, "")
		return
	}
	all := s.plan.Entries()
	next := min(at+chunk, len(all))
	for _, n := range all[at:next] {
		if s.nodes[n.ID] == nil {
			s.ready(n.ID, 1)
		}
	}
	s.spreads[""] = next
	if next == len(all) {
		delete(s.spreads, "")
		delete(s.posted, "")
	}
}

func (s *sim) sweep(component int) {
	left := s.sweeps[component]
	for _, id := range left[:min(chunk, len(left))] {
		n := s.plan.Node(id)
		if r := s.nodes[id]; r == nil || !r.Status.Final() && r.Status != task.Running {
			switch {
			case component < 0:
				s.finish(n, task.Cancelled)
			case s.ended[component] == "stopped":
				s.finish(n, task.Stopped)
			default:
				s.finish(n, task.Skipped).Reason = progress.UpstreamFailed
			}
		}
	}
	if s.sweeps[component] = left[min(chunk, len(left)):]; len(s.sweeps[component]) == 0 {
		delete(s.sweeps, component)
	}
	s.close()
}

func (s *sim) snapshot() progress.Snapshot {
	_, spreading := s.spreads[""]
	out := progress.Snapshot{OnFailure: s.plan.OnFailure, Cancelling: s.cancelling, Ended: maps.Clone(s.ended), Nodes: map[ids.NodeID]progress.Record{},
		Joins: map[string]string{}, Counters: maps.Clone(s.counters), Spreading: spreading, SpreadSet: len(s.posted) > 0, SweepSet: len(s.sweeps) > 0}
	for k, v := range s.joins {
		out.Joins[k] = strconv.Itoa(v)
	}
	for i := range s.plan.Nodes {
		id := s.plan.Nodes[i].ID
		r := progress.Record{Status: task.Waiting, Offered: s.decides[id]}
		if have := s.nodes[id]; have != nil {
			r = *have
			r.Offered, r.Posted = s.offers[id], s.posted[id]
		}
		out.Nodes[id] = r
	}
	return out
}

// fan is a cycle half done: one entry node, n-2 in the middle, one at the end.
func fan(n int) *sim {
	var edges []edge
	for i := 1; i < n-1; i++ {
		edges = append(edges, edge{0, i}, edge{i, n - 1})
	}
	s := begin(build(n, edges, nil, plan.FailCycle))
	delete(s.offers, "n0")
	s.finish(&s.plan.Nodes[0], task.Succeeded)
	for at := 0; at < len(s.plan.Nodes[0].Successors); {
		at = s.spread(&s.plan.Nodes[0], at)
	}
	return s
}
