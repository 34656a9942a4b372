package ledger

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Protection is what keeps the nodes of an open cycle from being stuck, and the
// cycle from being overlooked.
type Protection struct {
	Leased   map[ids.NodeID]bool // running nodes with a lease
	Retried  map[ids.NodeID]bool // retrying nodes with a timer
	Offered  map[ids.NodeID]bool // declined nodes with a timer
	Kept     map[ids.NodeID]bool // nodes set aside that stand in the set which brings them back
	Deadline bool                // the timer of the deadline is set
	Listed   bool                // the flow lists the cycle
	Plan     int64               // fields of the stored plan
}

// Protections reads what protects a cycle of the given revision and those of its
// nodes that need any.
func (l *Ledger) Protections(ctx context.Context, c ActiveCycle, revision int64, nodes []NodeState) (Protection, error) {
	out := Protection{Leased: map[ids.NodeID]bool{}, Retried: map[ids.NodeID]bool{}, Offered: map[ids.NodeID]bool{}, Kept: map[ids.NodeID]bool{}}
	pipe := l.rdb.Pipeline()
	var set []func()
	base := fmt.Sprintf("%s|%d|%s|", c.Flow, c.Cycle, c.UUID)
	score := func(key, member string, into map[ids.NodeID]bool, node ids.NodeID) {
		cmd := pipe.ZScore(ctx, l.key(key), member)
		set = append(set, func() { into[node] = cmd.Err() == nil })
	}
	for _, n := range nodes {
		switch {
		case n.Status == "running":
			score("leases", base+string(n.Node), out.Leased, n.Node)
		case n.Status == "retrying":
			score("timers", fmt.Sprintf("retry|%s%s|%d", base, n.Node, n.Attempt), out.Retried, n.Node)
		case n.Blocker == "declined":
			score("timers", fmt.Sprintf("offer|%s%s|%d", base, n.Node, n.Attempt), out.Offered, n.Node)
		case n.Held != "":
			member := pipe.SIsMember(ctx, l.key("held:"+n.Held), fmt.Sprintf("%s%s|%d", base, n.Node, n.Attempt))
			known := pipe.SIsMember(ctx, l.key("holds"), n.Held)
			set = append(set, func() { out.Kept[n.Node] = member.Val() && known.Val() })
		}
	}
	deadline := pipe.ZScore(ctx, l.key("timers"), "deadline|"+base+"|0")
	listed := pipe.ZScore(ctx, l.flowKey(c.Flow, "cycles"), fmt.Sprint(c.Cycle))
	fields := pipe.HLen(ctx, l.planKey(c.Flow, revision))
	if _, err := pipe.Exec(ctx); err != nil && !isNil(err) {
		return out, fmt.Errorf("read what protects %s/%d: %w", c.Flow, c.Cycle, classify(err))
	}
	for _, f := range set {
		f()
	}
	out.Deadline, out.Listed, out.Plan = deadline.Err() == nil, listed.Err() == nil, fields.Val()
	return out, nil
}

// PlanFields is how many fields the stored form of a plan has.
func PlanFields(p *plan.Plan) int64 {
	n := int64(1 + 2*len(p.Nodes))
	for i := range p.Nodes {
		if len(p.Nodes[i].Inputs) > 0 {
			n++
		}
	}
	return n
}

// FlowHead is what a leader has to know of a flow to go on with it.
type FlowHead struct {
	Status    string // active | paused | deleting; "": the ledger does not know the flow
	UID       uuid.UUID
	Revision  int64
	Anchor    time.Time
	LastSlot  time.Time
	LastCycle int64
}

// Known reports whether the ledger knows the flow.
func (h FlowHead) Known() bool { return h.Status != "" }

// FlowHeads reads the heads of flows, in their order, in one write and one answer: give
// it some hundred at a time.
func (l *Ledger) FlowHeads(ctx context.Context, flows []ids.FlowID) ([]FlowHead, error) {
	pipe := l.rdb.Pipeline()
	cmds := make([]*redis.SliceCmd, len(flows))
	for i, f := range flows {
		cmds[i] = pipe.HMGet(ctx, l.flowKey(f, "state"), "status", "uid", "revision", "last_slot", "last_cycle", "anchor")
	}
	if len(flows) == 0 {
		return nil, nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read heads of flows: %w", classify(err))
	}
	out := make([]FlowHead, len(flows))
	for i, c := range cmds {
		v := c.Val()
		at := func(j int) string { s, _ := v[j].(string); return s }
		out[i] = FlowHead{Status: at(0), Revision: number(at(2)), LastSlot: fromMilli(at(3)), LastCycle: number(at(4)), Anchor: fromMilli(at(5))}
		out[i].UID, _ = uuid.Parse(at(1))
	}
	return out, nil
}

// FlowLook is what an audit looks at of a flow.
type FlowLook struct {
	Known    bool // its state is there
	Status   string
	UID      uuid.UUID
	Revision int64
	Active   string // as stored
	Config   bool   // the mirrored definition is there
	Plan     int64  // fields of the stored plan of Revision
}

// LookAtFlows reads what an audit looks at of flows, given with the revisions whose
// plans the ledger has to have (0: of none), and which of them the ledger lists.
func (l *Ledger) LookAtFlows(ctx context.Context, revisions map[ids.FlowID]int64) (looks map[ids.FlowID]FlowLook, listed map[ids.FlowID]bool, err error) {
	listed = make(map[ids.FlowID]bool, len(revisions))
	looks = make(map[ids.FlowID]FlowLook, len(revisions))
	all := slices.Collect(maps.Keys(revisions))
	for part := range slices.Chunk(all, 500) {
		pipe := l.rdb.Pipeline()
		names := make([]any, len(part))
		states, configs, plans := make([]*redis.SliceCmd, len(part)), make([]*redis.IntCmd, len(part)), make([]*redis.IntCmd, len(part))
		for i, f := range part {
			names[i] = string(f)
			states[i] = pipe.HMGet(ctx, l.flowKey(f, "state"), "status", "uid", "revision", "active")
			configs[i] = pipe.Exists(ctx, l.flowKey(f, "config"))
			plans[i] = pipe.HLen(ctx, l.planKey(f, revisions[f]))
		}
		among := pipe.SMIsMember(ctx, l.key("flows"), names...)
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, nil, fmt.Errorf("look at flows: %w", classify(err))
		}
		for i, f := range part {
			v := states[i].Val()
			at := func(j int) string { s, _ := v[j].(string); return s }
			look := FlowLook{Known: at(0) != "", Status: at(0), Revision: number(at(2)), Active: at(3), Config: configs[i].Val() == 1, Plan: plans[i].Val()}
			look.UID, _ = uuid.Parse(at(1))
			looks[f] = look
			if among.Val()[i] {
				listed[f] = true
			}
		}
	}
	return looks, listed, nil
}

// Progress is how far an open cycle has come.
type Progress struct {
	Open      bool // its record is there and says that it is open
	Completed int64
}

// Progresses reads how far cycles have come, in their order.
func (l *Ledger) Progresses(ctx context.Context, cycles []ActiveCycle) ([]Progress, error) {
	out := make([]Progress, 0, len(cycles))
	for from := 0; from < len(cycles); from += 500 {
		part := cycles[from:min(from+500, len(cycles))]
		pipe := l.rdb.Pipeline()
		cmds := make([]*redis.SliceCmd, len(part))
		for i, c := range part {
			cmds[i] = pipe.HMGet(ctx, l.cycleKey(c.Flow, c.Cycle, "status"), "uuid", "status", "completed_nodes")
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("read open cycles: %w", classify(err))
		}
		for i, cmd := range cmds {
			v := cmd.Val()
			at := func(j int) string { s, _ := v[j].(string); return s }
			status := at(1)
			out = append(out, Progress{Open: at(0) == part[i].UUID.String() && (status == "running" || status == "cancelling"), Completed: number(at(2))})
		}
	}
	return out, nil
}

// Closing lists the ended cycles whose end the leader has not heard of, those
// that ended before the given time.
func (l *Ledger) Closing(ctx context.Context, before time.Time) ([]ActiveCycle, error) {
	all, err := l.rdb.ZRangeByScoreWithScores(ctx, l.key("closing"), &redis.ZRangeBy{Min: "-inf", Max: fmt.Sprint(milli(before)), Count: 1000}).Result()
	if err != nil {
		return nil, fmt.Errorf("read closing cycles: %w", classify(err))
	}
	out := make([]ActiveCycle, 0, len(all))
	for _, z := range all {
		member, _ := z.Member.(string)
		if a, ok := parseMember(strings.Split(member, "|")); ok {
			out = append(out, ActiveCycle{Flow: a.Flow, Cycle: a.Cycle, UUID: a.UUID, Since: time.UnixMilli(int64(z.Score))})
		}
	}
	return out, nil
}
