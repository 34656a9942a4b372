package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
)

// Cycle returns one cycle.
func (l *Ledger) Cycle(_ context.Context, f ids.FlowID, n int64) (ledger.CycleState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hashes[cycleKey(f, n)+":status"]
	if h["uuid"] == "" {
		return ledger.CycleState{}, fmt.Errorf("cycle %s/%d: %w", f, n, ledger.ErrGone)
	}
	return ledger.CycleOf(f, maps.Clone(h)), nil
}

// CyclesOf returns the cycles that attempts are of; one that is gone has no UUID.
func (l *Ledger) CyclesOf(ctx context.Context, of []ids.Attempt) ([]ledger.CycleState, error) {
	out := make([]ledger.CycleState, len(of))
	for i, a := range of {
		if c, err := l.Cycle(ctx, a.Flow, a.Cycle); err == nil && c.UUID == a.UUID {
			out[i] = c
		}
	}
	return out, nil
}

// Cycles returns up to limit cycles of a flow, the newest first, with numbers
// below before (0 = all).
func (l *Ledger) Cycles(ctx context.Context, f ids.FlowID, limit int, before int64) ([]ledger.CycleState, error) {
	numbers, err := l.CycleNumbers(ctx, f)
	if err != nil {
		return nil, err
	}
	var out []ledger.CycleState
	for _, n := range slices.Backward(numbers) {
		if len(out) >= limit {
			break
		}
		if c, err := l.Cycle(ctx, f, n); err == nil && (before == 0 || n < before) {
			out = append(out, c)
		}
	}
	return out, nil
}

// CycleNumbers lists the cycles a flow has records of, the oldest first.
func (l *Ledger) CycleNumbers(_ context.Context, f ids.FlowID) ([]int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.ordered(flowKey(f, "cycles"))
	out := make([]int64, len(all))
	for i, c := range all {
		out[i] = number(c.member)
	}
	return out, nil
}

// Peek returns what a node is, without the rest of its record.
func (l *Ledger) Peek(f ids.FlowID, n int64, node ids.NodeID) (status task.Status, attempt int, token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hashes[nodeKey(cycleKey(f, n), node)]
	return task.Status(h["status"]), int(number(h["attempt"])), h["token"]
}

// PeekCycle returns what a cycle is, without the rest of its record; "" when there
// is none.
func (l *Ledger) PeekCycle(f ids.FlowID, n int64) (id, status string, counted int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hashes[cycleKey(f, n)+":status"]
	return h["uuid"], h["status"], number(h["completed_nodes"])
}

// Nodes returns the states of the given nodes of a cycle, in their order.
func (l *Ledger) Nodes(_ context.Context, f ids.FlowID, n int64, nodes []ids.NodeID) ([]ledger.NodeState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes(at(ids.Attempt{Flow: f, Cycle: n}, 0), nodes), nil
}

func (l *Ledger) nodes(p place, nodes []ids.NodeID) []ledger.NodeState {
	out := make([]ledger.NodeState, len(nodes))
	for i, n := range nodes {
		out[i] = ledger.NodeOf(n, l.hashes[nodeKey(p.base, n)])
	}
	return out
}

// Outputs returns the stored values of these "node:handle" names, nil where there
// is none.
func (l *Ledger) Outputs(_ context.Context, f ids.FlowID, n int64, names []string) ([]json.RawMessage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]json.RawMessage, len(names))
	for i, name := range names {
		if v, ok := l.hashes[cycleKey(f, n)+":outputs"][name]; ok {
			out[i] = json.RawMessage(v)
		}
	}
	return out, nil
}

// Joins returns a cycle's counters of decided edges.
func (l *Ledger) Joins(_ context.Context, f ids.FlowID, n int64) (map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := maps.Clone(l.hashes[cycleKey(f, n)+":joins"])
	if out == nil {
		out = map[string]string{}
	}
	return out, nil
}

// JoinOf returns how many edges into a node are live, dead and from failed
// sources.
func (l *Ledger) JoinOf(_ context.Context, f ids.FlowID, n int64, node ids.NodeID) (live, dead, failed int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := cycleKey(f, n) + ":joins"
	at := func(what string) int { return int(l.number(key, string(node)+what)) }
	return at(":live"), at(":dead"), at(":failed"), nil
}

// Leases returns every running claim, the one that ends first first.
func (l *Ledger) Leases(context.Context) ([]ledger.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []ledger.Lease
	for _, z := range l.ordered(leasesKey) {
		if a, err := parseMember(z.member); err == nil {
			out = append(out, ledger.Lease{Attempt: a, Ends: time.UnixMilli(z.score)})
		}
	}
	return out, nil
}

// Timers returns up to count timers, the earliest first.
func (l *Ledger) Timers(_ context.Context, count int64) ([]ledger.Timer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []ledger.Timer
	for _, z := range l.ordered(timersKey) {
		if int64(len(out)) == count {
			break
		}
		kind, rest, _ := strings.Cut(z.member, "|")
		if a, err := parseMember(rest); err == nil {
			out = append(out, ledger.Timer{Kind: kind, Attempt: a, Due: time.UnixMilli(z.score)})
		}
	}
	return out, nil
}

// Active returns every cycle that has not ended, the oldest first.
func (l *Ledger) Active(context.Context) ([]ledger.ActiveCycle, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []ledger.ActiveCycle
	for _, z := range l.ordered(activeKey) {
		if a, err := parseMember(z.member); err == nil {
			out = append(out, ledger.ActiveCycle{Flow: a.Flow, Cycle: a.Cycle, UUID: a.UUID, Since: time.UnixMilli(z.score)})
		}
	}
	return out, nil
}

// ReadPosted reads the whole outbox.
func (l *Ledger) ReadPosted(context.Context) (ledger.Posted, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ledger.PostedOf(l.entries("", int64(len(l.outbox.items)))), nil
}

// Dump returns every key with its content as text, as package ledger does; a plan
// is its flow's uid.
func (l *Ledger) Dump(context.Context) (map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := maps.Clone(l.text)
	for key, h := range l.hashes {
		lines := make([]string, 0, len(h))
		for k, v := range h {
			lines = append(lines, k+"="+v)
		}
		out[key] = sortedLines(lines)
	}
	for key, s := range l.sets {
		out[key] = strings.Join(sortedNames(s), "\n")
	}
	for key, z := range l.sorted {
		lines := make([]string, 0, len(z))
		for m, n := range z {
			lines = append(lines, m+" "+itoa(n))
		}
		out[key] = sortedLines(lines)
	}
	for key, p := range l.plans {
		out[key] = p.UID.String()
	}
	l.dumpStreams(out)
	return out, nil
}

func (l *Ledger) dumpStreams(out map[string]string) {
	if l.outbox.born {
		lines := make([]string, len(l.outbox.items))
		for i, e := range l.outbox.items {
			lines[i] = e.value.ID + " " + fmt.Sprint(fields(e.value.Attempt, map[string]any{"kind": string(e.value.Kind)}))
		}
		out[prefix+":outbox"] = strings.Join(lines, "\n")
	}
	if l.journal.born {
		lines := make([]string, len(l.journal.items))
		for i, r := range l.journal.items {
			v := r.value
			lines[i] = v.ID + " " + fmt.Sprint(fields(v.Attempt, map[string]any{"op": v.Op, "epoch": int64(v.Epoch),
				"token": v.Token, "worker": v.Worker, "detail": v.Detail}))
		}
		out[prefix+":journal"] = strings.Join(lines, "\n")
	}
}

func fields(a ids.Attempt, more map[string]any) map[string]any {
	id := ""
	if a.UUID != uuid.Nil {
		id = a.UUID.String()
	}
	maps.Copy(more, map[string]any{"flow": string(a.Flow), "cycle": a.Cycle, "uuid": id, "node": string(a.Node), "attempt": a.N})
	return more
}

func sortedLines(lines []string) string {
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func sortedNames(set map[string]struct{}) []string { return slices.Sorted(maps.Keys(set)) }
