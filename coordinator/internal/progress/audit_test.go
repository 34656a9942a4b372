package progress_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/coordinator/internal/progress"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

func drawSim(t *rapid.T) *sim {
	n := rapid.IntRange(1, 8).Draw(t, "nodes")
	var edges []edge
	joins := make([]string, n)
	for to := range n {
		joins[to] = rapid.SampledFrom([]string{plan.AllSuccess, plan.AllDone, plan.OneSuccess, plan.NoneFailed}).Draw(t, "join")
		for from := range to {
			for range rapid.SampledFrom([]int{0, 0, 1, 1, 2}).Draw(t, "edges") {
				edges = append(edges, edge{from, to})
			}
		}
	}
	onFailure := rapid.SampledFrom([]string{plan.FailCycle, plan.Continue}).Draw(t, "on_failure")
	return begin(build(n, edges, joins, onFailure))
}

// TestAuditOfSoundCycles: nothing that a cycle can come to by itself is wrong,
// and every cycle comes to its end.
func TestAuditOfSoundCycles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSim(t)
		steps := 0
		for !s.closed {
			if f := progress.Audit(s.plan, s.snapshot()); !f.Empty() {
				t.Fatalf("after %d steps: %+v\n%+v", steps, f, s.snapshot())
			}
			if !s.step(t) {
				t.Fatalf("stuck after %d steps: %+v", steps, s.snapshot())
			}
			if steps++; steps > 500 {
				t.Skip("retries without end")
			}
		}
	})
}

// TestAuditFindsOneLoss drops one thing from a sound cycle: the audit asks for
// exactly that.
func TestAuditFindsOneLoss(t *testing.T) {
	found := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		s := drawSim(t)
		for range 60 {
			for i, l := range losses(s, s.snapshot()) {
				snap := s.snapshot()
				l = losses(s, snap)[i]
				found[l.name]++
				l.lose(&snap)
				if d := cmp.Diff(l.want, progress.Audit(s.plan, snap)); d != "" {
					t.Fatalf("%s lost (-want +got):\n%s\n%+v", l.name, d, snap)
				}
			}
			if !s.step(t) || s.closed {
				return
			}
		}
	})
	for _, name := range []string{"offer", "decide", "lease", "timer", "join", "counter", "spread", "entries", "sweep", "sweep of all"} {
		if found[name] == 0 {
			t.Errorf("no draw lost a %s; the test says nothing about it", name)
		}
	}
}

type loss struct {
	name string
	lose func(*progress.Snapshot)
	want progress.Findings
}

func losses(s *sim, snap progress.Snapshot) []loss {
	var out []loss
	one := func(id ids.NodeID, kind string, change func(*progress.Record)) {
		r := snap.Nodes[id]
		out = append(out, loss{name: kind, lose: func(x *progress.Snapshot) {
			r := x.Nodes[id]
			change(&r)
			x.Nodes[id] = r
		}, want: progress.Findings{Nodes: []progress.NodeRepair{{Node: id, Seen: r.Status, Attempt: r.Attempt, Kind: kind}}}})
	}
	spreading := len(s.spreads) > 0
	for i := range s.plan.Nodes {
		n := &s.plan.Nodes[i]
		r := snap.Nodes[n.ID]
		drop := func(r *progress.Record) { r.Offered = false }
		switch {
		case r.Status == task.Ready && r.Offered && s.open(n):
			one(n.ID, "offer", drop)
		case r.Status == task.Waiting && r.Offered && s.open(n) && !spreading:
			one(n.ID, "decide", drop)
		case r.Status == task.Running:
			one(n.ID, "lease", func(r *progress.Record) { r.Leased = false })
		case r.Status == task.Retrying && s.open(n):
			one(n.ID, "timer", func(r *progress.Record) { r.TimerSet = false })
		}
		if r.Spread && r.Posted && s.open(n) {
			one(n.ID, "spread", func(r *progress.Record) { r.Posted = false })
		}
		field := string(n.ID) + ":live"
		if seen := snap.Joins[field]; seen != "" && r.Status == task.Waiting && s.open(n) && !spreading {
			out = append(out, loss{"join", func(x *progress.Snapshot) { delete(x.Joins, field) },
				progress.Findings{Joins: []progress.JoinRepair{{Field: field, Right: s.joins[field]}}}})
		}
	}
	for name, v := range s.counters {
		if v > 0 {
			out = append(out, loss{"counter", func(x *progress.Snapshot) { x.Counters[name]-- }, progress.Findings{Counters: maps.Clone(s.counters)}})
			break
		}
	}
	if snap.Spreading && !s.cancelling {
		out = append(out, loss{"entries", func(x *progress.Snapshot) { x.SpreadSet = false },
			progress.Findings{Nodes: []progress.NodeRepair{{Kind: "spread"}}}})
	}
	return append(out, sweeps(s)...)
}

// sweeps lists the sweeps that can be lost.
func sweeps(s *sim) []loss {
	unswept := map[int]bool{}
	for i := range s.plan.Nodes {
		n := &s.plan.Nodes[i]
		if r := s.nodes[n.ID]; r == nil || !r.Status.Final() && r.Status != task.Running {
			unswept[n.Component] = true
		}
	}
	lose := func(x *progress.Snapshot) { x.SweepSet = false }
	if s.cancelling && len(unswept) > 0 {
		return []loss{{"sweep of all", lose, progress.Findings{SweepAll: true}}}
	}
	var want progress.Findings
	for c := range len(s.plan.Nodes) {
		if s.ended[c] != "" && unswept[c] {
			want.Sweep = append(want.Sweep, progress.SweepRepair{Component: c, How: s.ended[c], Node: s.ender(c)})
		}
	}
	if len(want.Sweep) == 0 || s.cancelling {
		return nil
	}
	return []loss{{"sweep", lose, want}}
}

// ender is the first node that ended a component.
func (s *sim) ender(component int) ids.NodeID {
	for i := range s.plan.Nodes {
		n := &s.plan.Nodes[i]
		r := s.nodes[n.ID]
		if n.Component != component || r == nil {
			continue
		}
		if r.Status == task.Stopped || s.plan.OnFailure != plan.Continue && (r.Status == task.Failed || r.Status == task.Unknown) {
			return n.ID
		}
	}
	return ""
}

// TestAuditOfTornScripts: a crash of Redis can leave the first half of a script.
func TestAuditOfTornScripts(t *testing.T) {
	chain := func(onFailure string) (*plan.Plan, progress.Snapshot) {
		p := build(3, []edge{{0, 1}, {1, 2}}, nil, onFailure)
		return p, progress.Snapshot{OnFailure: onFailure, Joins: map[string]string{}, Counters: map[string]int{"completed_nodes": 1},
			Nodes: map[ids.NodeID]progress.Record{"n1": {Status: task.Waiting}, "n2": {Status: task.Waiting}}}
	}
	for _, c := range []struct {
		name   string
		first  progress.Record
		change func(*progress.Snapshot)
		want   progress.Findings
	}{
		{"done and not counted", progress.Record{Status: task.Succeeded, Attempt: 1}, func(s *progress.Snapshot) { s.Counters["completed_nodes"] = 0 },
			progress.Findings{Counters: map[string]int{"completed_nodes": 1, "succeeded_nodes": 1},
				Nodes: []progress.NodeRepair{{Node: "n1", Seen: task.Waiting, Kind: "ready"}}}},
		{"counted and its edges not", progress.Record{Status: task.Succeeded, Attempt: 1}, func(s *progress.Snapshot) { s.Counters["succeeded_nodes"] = 1 },
			progress.Findings{Nodes: []progress.NodeRepair{{Node: "n1", Seen: task.Waiting, Kind: "ready"}}}},
		{"failed and its component open", progress.Record{Status: task.Failed, Attempt: 1}, func(s *progress.Snapshot) { s.Counters["failed_nodes"] = 1 },
			progress.Findings{Sweep: []progress.SweepRepair{{Component: 0, How: "failed", Node: "n0"}}}},
		{"stopped and its component open", progress.Record{Status: task.Stopped, Attempt: 1}, func(s *progress.Snapshot) { s.Counters["stopped_nodes"] = 1 },
			progress.Findings{Sweep: []progress.SweepRepair{{Component: 0, How: "stopped", Node: "n0"}}}},
		{"a counter of nothing", progress.Record{Status: task.Running, Attempt: 1, Leased: true}, func(s *progress.Snapshot) {
			s.Counters["completed_nodes"], s.Counters["failed_nodes"] = 0, 1
		}, progress.Findings{Counters: map[string]int{"completed_nodes": 0, "failed_nodes": 0}}},
		{"all counted and not closed", progress.Record{Status: task.Succeeded, Attempt: 1}, func(s *progress.Snapshot) {
			s.Nodes["n1"], s.Nodes["n2"] = progress.Record{Status: task.Succeeded}, progress.Record{Status: task.Succeeded}
			s.Counters["completed_nodes"], s.Counters["succeeded_nodes"] = 3, 3
		}, progress.Findings{Counters: map[string]int{"completed_nodes": 3, "succeeded_nodes": 3}}},
		{"ended and not swept, one still running", progress.Record{Status: task.Running, Attempt: 1, Leased: true}, func(s *progress.Snapshot) {
			s.Counters["completed_nodes"], s.Ended = 0, map[int]string{0: "failed"}
		}, progress.Findings{Sweep: []progress.SweepRepair{{Component: 0, How: "failed"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, s := chain(plan.FailCycle)
			s.Nodes["n0"] = c.first
			c.change(&s)
			if d := cmp.Diff(c.want, progress.Audit(p, s)); d != "" {
				t.Errorf("findings differ (-want +got):\n%s", d)
			}
		})
	}
}

// TestBoth: a repair needs two audits that agree.
func TestBoth(t *testing.T) {
	node := func(k string) progress.NodeRepair {
		return progress.NodeRepair{Node: "n", Seen: task.Ready, Attempt: 1, Kind: k}
	}
	join := progress.JoinRepair{Field: "n:live", Right: 1}
	sweep := progress.SweepRepair{Component: 1, How: "failed"}
	whole := progress.Findings{Nodes: []progress.NodeRepair{node("offer")}, Joins: []progress.JoinRepair{join},
		Counters: map[string]int{"completed_nodes": 1}, Sweep: []progress.SweepRepair{sweep}, SweepAll: true}
	if d := cmp.Diff(whole, whole.Both(whole)); d != "" {
		t.Errorf("the same twice (-want +got):\n%s", d)
	}
	if got := whole.Both(progress.Findings{}); !got.Empty() {
		t.Errorf("nothing the second time, yet %+v", got)
	}
	other := progress.Findings{Nodes: []progress.NodeRepair{node("lease")}, Joins: []progress.JoinRepair{{Field: "n:live", Seen: "1", Right: 2}},
		Counters: map[string]int{"completed_nodes": 2}, Sweep: []progress.SweepRepair{{Component: 1, How: "stopped"}}}
	if got := whole.Both(other); !got.Empty() {
		t.Errorf("two that differ in all, yet %+v", got)
	}
}
