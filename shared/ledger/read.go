package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/task"
)

// CycleState is a cycle as the ledger has it.
type CycleState struct {
	Flow        ids.FlowID
	Cycle       int64
	UUID        uuid.UUID
	Occasion    uuid.UUID
	Status      string // running | cancelling | completed | failed | cancelled | timeout
	Trigger     string // slot | manual
	Slot        time.Time
	Revision    int64
	StartedAt   time.Time
	CompletedAt time.Time
	Deadline    time.Time
	Total       int64
	Completed   int64 // nodes with a counted outcome of any kind
	Counts      map[task.Status]int64
	OnFailure   string
	Error       string
	Archived    bool
	Archiving   bool              // a part of its records is gone already
	Components  map[string]string // ended components: number → stopped | failed
	Raw         map[string]string // every field
}

// Ended reports whether the cycle has its final status.
func (c CycleState) Ended() bool { return c.Status != "running" && c.Status != "cancelling" }

// Cycle returns one cycle. ErrGone when there is none.
func (l *Ledger) Cycle(ctx context.Context, f ids.FlowID, n int64) (CycleState, error) {
	m, err := l.rdb.HGetAll(ctx, l.cycleKey(f, n, "status")).Result()
	if err != nil {
		return CycleState{}, fmt.Errorf("read cycle %s/%d: %w", f, n, classify(err))
	}
	if m["uuid"] == "" {
		return CycleState{}, fmt.Errorf("cycle %s/%d: %w", f, n, ErrGone)
	}
	return CycleOf(f, m), nil
}

// CyclesOf returns the cycles that attempts are of, in their order, by one round trip.
// One that is gone, or another's by now, has no UUID.
func (l *Ledger) CyclesOf(ctx context.Context, of []ids.Attempt) ([]CycleState, error) {
	pipe := l.rdb.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(of))
	for i, a := range of {
		cmds[i] = pipe.HGetAll(ctx, l.cycleKey(a.Flow, a.Cycle, "status"))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read %d cycles: %w", len(of), classify(err))
	}
	out := make([]CycleState, len(of))
	for i, a := range of {
		if m := cmds[i].Val(); m["uuid"] == a.UUID.String() {
			out[i] = CycleOf(a.Flow, m)
		}
	}
	return out, nil
}

// Cycles returns up to limit cycles of a flow, the newest first, with numbers
// below before (0 = all).
func (l *Ledger) Cycles(ctx context.Context, f ids.FlowID, limit int, before int64) ([]CycleState, error) {
	numbers, err := l.CycleNumbers(ctx, f)
	if err != nil {
		return nil, err
	}
	var picked []int64
	for i := len(numbers) - 1; i >= 0 && len(picked) < limit; i-- {
		if before == 0 || numbers[i] < before {
			picked = append(picked, numbers[i])
		}
	}
	states, err := l.CyclesAt(ctx, f, picked)
	return slices.DeleteFunc(states, func(c CycleState) bool { return c.UUID == uuid.Nil }), err
}

// CycleNumbers lists the cycles a flow has records of, the oldest first.
func (l *Ledger) CycleNumbers(ctx context.Context, f ids.FlowID) ([]int64, error) {
	names, err := l.rdb.ZRange(ctx, l.flowKey(f, "cycles"), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("list cycles of %s: %w", f, classify(err))
	}
	out := make([]int64, len(names))
	for i, n := range names {
		out[i] = number(n)
	}
	return out, nil
}

// CycleOf reads a cycle's record, which it keeps as Raw.
func CycleOf(f ids.FlowID, m map[string]string) CycleState {
	c := CycleState{
		Flow: f, Cycle: number(m["cycle"]), Status: m["status"], Trigger: m["trigger"], Slot: fromMilli(m["slot"]),
		Revision: number(m["revision"]), StartedAt: fromMilli(m["started_at"]), CompletedAt: fromMilli(m["completed_at"]),
		Deadline: fromMilli(m["deadline"]), Total: number(m["total_nodes"]), Completed: number(m["completed_nodes"]),
		OnFailure: m["on_failure"], Error: m["error"], Archived: m["archived"] == "1", Archiving: m["archived"] == "part",
		Counts: map[task.Status]int64{}, Components: map[string]string{}, Raw: m,
	}
	c.UUID, _ = uuid.Parse(m["uuid"])
	c.Occasion, _ = uuid.Parse(m["occasion"])
	for k, v := range m {
		if s, ok := strings.CutSuffix(k, "_nodes"); ok && task.Status(s).Final() {
			c.Counts[task.Status(s)] = number(v)
		} else if k, ok := strings.CutPrefix(k, "component:"); ok {
			c.Components[k] = v
		}
	}
	return c
}

// NodeState is a node of a cycle as the ledger has it. A node that waits for
// its inputs has no record: its Status is Waiting and the rest is empty.
type NodeState struct {
	Node         ids.NodeID  `json:"node"`
	Status       task.Status `json:"status"`
	Attempt      int         `json:"attempt,omitempty"`
	Token        string      `json:"-"`
	Worker       string      `json:"worker,omitempty"`
	ReadyAt      time.Time   `json:"ready_at,omitzero"`
	DispatchedAt time.Time   `json:"dispatched_at,omitzero"`
	StartedAt    time.Time   `json:"started_at,omitzero"`
	CompletedAt  time.Time   `json:"completed_at,omitzero"`
	Due          time.Time   `json:"due,omitzero"`
	Error        string      `json:"error_message,omitempty"`
	ErrorClass   string      `json:"error_class,omitempty"`
	Reason       string      `json:"reason,omitempty"`
	Retries      int         `json:"retry_count,omitempty"`
	Lost         int         `json:"lost,omitempty"`
	Blocker      string      `json:"-"`
	Held         string      `json:"-"` // what it is set aside for
	Again        bool        `json:"-"` // this attempt was offered before: an older message may still come
	Spread       bool        `json:"-"` // its edges are being counted in parts
	Dead         string      `json:"-"`
	Handles      []string    `json:"handles,omitempty"`
}

// Nodes returns the states of the given nodes of a cycle, in their order.
func (l *Ledger) Nodes(ctx context.Context, f ids.FlowID, n int64, nodes []ids.NodeID) ([]NodeState, error) {
	out := make([]NodeState, 0, len(nodes))
	for from := 0; from < len(nodes); from += 500 {
		part := nodes[from:min(from+500, len(nodes))]
		pipe := l.rdb.Pipeline()
		cmds := make([]*redis.MapStringStringCmd, len(part))
		for i, node := range part {
			cmds[i] = pipe.HGetAll(ctx, l.nodeKey(f, n, node))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("read nodes of %s/%d: %w", f, n, classify(err))
		}
		for i, c := range cmds {
			out = append(out, NodeOf(part[i], c.Val()))
		}
	}
	return out, nil
}

// NodeOf reads a node's record; none means that the node waits.
func NodeOf(node ids.NodeID, m map[string]string) NodeState {
	s := NodeState{
		Node: node, Status: task.Status(m["status"]), Attempt: int(number(m["attempt"])), Token: m["token"], Worker: m["worker"],
		ReadyAt: fromMilli(m["ready_at"]), DispatchedAt: fromMilli(m["dispatched_at"]), StartedAt: fromMilli(m["started_at"]),
		CompletedAt: fromMilli(m["completed_at"]), Due: fromMilli(m["due"]), Error: m["error_message"], ErrorClass: m["error_class"],
		Reason: m["reason"], Retries: int(number(m["retry_count"])), Lost: int(number(m["lost"])), Blocker: m["blocker"], Held: m["held"], Again: m["again"] != "", Dead: m["dead"], Spread: m["spread"] != "",
	}
	if s.Status == "" {
		s.Status = task.Waiting
	}
	if h := m["handles"]; h != "" {
		s.Handles = strings.Split(h, "\n")
	}
	return s
}

// Outputs returns the stored values of these "node:handle" names, nil where
// there is none.
func (l *Ledger) Outputs(ctx context.Context, f ids.FlowID, n int64, names []string) ([]json.RawMessage, error) {
	out := make([]json.RawMessage, 0, len(names))
	for from := 0; from < len(names); from += 1000 {
		values, err := l.rdb.HMGet(ctx, l.cycleKey(f, n, "outputs"), names[from:min(from+1000, len(names))]...).Result()
		if err != nil {
			return nil, fmt.Errorf("read outputs of %s/%d: %w", f, n, classify(err))
		}
		for _, v := range values {
			s, ok := v.(string)
			if !ok {
				out = append(out, nil)
				continue
			}
			out = append(out, json.RawMessage(s))
		}
	}
	return out, nil
}

// Joins returns a node's counters: decided edges by result.
func (l *Ledger) Joins(ctx context.Context, f ids.FlowID, n int64) (map[string]string, error) {
	m, err := l.rdb.HGetAll(ctx, l.cycleKey(f, n, "joins")).Result()
	if err != nil {
		return nil, fmt.Errorf("read joins of %s/%d: %w", f, n, classify(err))
	}
	return m, nil
}

// JoinOf returns how many edges into a node are live, dead and from failed
// sources.
func (l *Ledger) JoinOf(ctx context.Context, f ids.FlowID, n int64, node ids.NodeID) (live, dead, failed int, err error) {
	v, err := l.rdb.HMGet(ctx, l.cycleKey(f, n, "joins"), string(node)+":live", string(node)+":dead", string(node)+":failed").Result()
	if err != nil {
		return 0, 0, 0, fmt.Errorf("read join of %s/%d/%s: %w", f, n, node, classify(err))
	}
	at := func(i int) int { s, _ := v[i].(string); return int(number(s)) }
	return at(0), at(1), at(2), nil
}

// LatestCycles returns one cycle of each of many flows, by the number given for
// it; those without a record are missing.
func (l *Ledger) LatestCycles(ctx context.Context, latest map[ids.FlowID]int64) (map[ids.FlowID]CycleState, error) {
	out := make(map[ids.FlowID]CycleState, len(latest))
	flows := make([]ids.FlowID, 0, len(latest))
	for f, n := range latest {
		if n > 0 {
			flows = append(flows, f)
		}
	}
	for from := 0; from < len(flows); from += 500 {
		part := flows[from:min(from+500, len(flows))]
		pipe := l.rdb.Pipeline()
		cmds := make([]*redis.MapStringStringCmd, len(part))
		for i, f := range part {
			cmds[i] = pipe.HGetAll(ctx, l.cycleKey(f, latest[f], "status"))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("read latest cycles: %w", classify(err))
		}
		for i, c := range cmds {
			if m := c.Val(); m["uuid"] != "" {
				out[part[i]] = CycleOf(part[i], m)
			}
		}
	}
	return out, nil
}
