package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

// headerField of a plan's hash holds the part that is not a node. No node id
// contains a '#'.
const headerField = "#"

// Takeover makes epoch the one that may write and returns the ledger's time. A
// leader calls it before it reads anything.
func (l *Ledger) Takeover(ctx context.Context, epoch ids.Epoch) (time.Time, error) {
	r, err := l.call(ctx, "takeover", epoch, Schema)
	if err != nil {
		return time.Time{}, err
	}
	if r.code() == -1 {
		return time.Time{}, fmt.Errorf("%w: found %s, this build has %s", ErrSchema, r.text(1), Schema)
	}
	return fromMilli(r.text(1)), nil
}

// WritePlan stores a revision's plan. It may be repeated: a revision's plan
// never changes, and nothing reads it before ActivateFlow names it.
func (l *Ledger) WritePlan(ctx context.Context, p *plan.Plan) error {
	key := l.planKey(p.Flow, p.Revision)
	header, err := json.Marshal(p.Header())
	if err != nil {
		return fmt.Errorf("encode plan header: %w", err)
	}
	fields := make([]any, 0, 2000)
	pipe := l.rdb.Pipeline()
	flush := func() {
		if len(fields) > 0 {
			pipe.HSet(ctx, key, fields...)
			fields = fields[:0:0]
		}
	}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		body, err := json.Marshal(n)
		if err != nil {
			return fmt.Errorf("encode node %s: %w", n.ID, err)
		}
		var in strings.Builder
		for j, e := range n.Inputs {
			if j > 0 {
				in.WriteByte('\n')
			}
			in.WriteString(string(e.Source) + ":" + e.SourceHandle)
		}
		fields = append(fields, string(n.ID), body, string(n.ID)+":component", n.Component)
		if in.Len() > 0 {
			fields = append(fields, string(n.ID)+":in", in.String())
		}
		if len(fields) >= 1500 {
			flush()
		}
	}
	flush()
	pipe.HSet(ctx, key, headerField, header) // last: a plan with a header is whole
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("write plan of %s revision %d: %w", p.Flow, p.Revision, classify(err))
	}
	return nil
}

// ReadPlan returns a stored plan. ErrGone when there is none.
func (l *Ledger) ReadPlan(ctx context.Context, f ids.FlowID, revision int64) (*plan.Plan, error) {
	key := l.planKey(f, revision)
	raw, err := l.rdb.HGet(ctx, key, headerField).Bytes()
	if isNil(err) {
		return nil, fmt.Errorf("plan of %s revision %d: %w", f, revision, ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("read plan of %s: %w", f, classify(err))
	}
	var h plan.Header
	if err := json.Unmarshal(raw, &h); err != nil {
		return nil, fmt.Errorf("plan of %s revision %d: header: %w", f, revision, err)
	}
	bodies := make(map[ids.NodeID]string, len(h.Order))
	for from := 0; from < len(h.Order); from += 1000 {
		part := h.Order[from:min(from+1000, len(h.Order))]
		names := make([]string, len(part))
		for i, id := range part {
			names[i] = string(id)
		}
		values, err := l.rdb.HMGet(ctx, key, names...).Result()
		if err != nil {
			return nil, fmt.Errorf("read plan of %s: %w", f, classify(err))
		}
		for i, v := range values {
			if s, ok := v.(string); ok {
				bodies[part[i]] = s
			}
		}
	}
	return plan.Assemble(h, func(id ids.NodeID) (plan.Node, error) {
		var n plan.Node
		body, ok := bodies[id]
		if !ok {
			return n, ErrGone
		}
		err := json.Unmarshal([]byte(body), &n)
		return n, err
	})
}

// Activation is what ActivateFlow needs to know of a revision.
type Activation struct {
	Flow     ids.FlowID
	UID      uuid.UUID
	Revision int64
	Document []byte // canonical JSON; mirrored under the seed's key
	Anchor   time.Time
	Paused   bool // the state a flow that Redis does not know begins with
	// Left are slots of the schedules before that nobody has accounted for; Since is
	// the last one that is. They are accounted for as skipped in the same step.
	Left  []Run
	Since time.Time
}

// Run is some consecutive slots that do not start, and why.
type Run struct {
	First, Last time.Time
	Count       int64
	Reason      string
}

// ActivateFlow makes a revision the one that new cycles run. Its plan must have
// been written. ErrDeleting while an earlier flow of that id is being removed;
// ErrStale when a newer revision is active; ErrNoPlan when the plan is not there
// (an earlier flow of that id, removed meanwhile, can take it along). ErrAccounted
// when slots are given, and Since is not the last one that is accounted any more.
func (l *Ledger) ActivateFlow(ctx context.Context, a Activation) error {
	paused := 0
	if a.Paused {
		paused = 1
	}
	args := []any{string(a.Flow), a.Revision, a.UID.String(), a.Document, milli(a.Anchor), paused, since(a.Since)}
	for _, run := range a.Left {
		args = append(args, milli(run.First), milli(run.Last), run.Count, run.Reason)
	}
	r, err := l.call(ctx, "activate_flow", 0, args...)
	switch {
	case err != nil:
		return err
	case r.code() == -1:
		return fmt.Errorf("activate %s: %w", a.Flow, ErrDeleting)
	case r.code() == -2:
		return fmt.Errorf("activate %s revision %d: %w", a.Flow, a.Revision, ErrNoPlan)
	case r.code() == -4:
		return fmt.Errorf("activate %s revision %d: %w", a.Flow, a.Revision, ErrAccounted)
	case r.code() == 0:
		return fmt.Errorf("activate %s revision %d: %w", a.Flow, a.Revision, ErrStale)
	}
	return nil
}

// PauseFlow holds a flow: from its return on no cycle starts and no claim is
// granted. It reports whether that changed anything.
func (l *Ledger) PauseFlow(ctx context.Context, f ids.FlowID) (bool, error) {
	return l.simple(ctx, "pause_flow", f)
}

// ResumeFlow lets a held flow go on.
func (l *Ledger) ResumeFlow(ctx context.Context, f ids.FlowID) (bool, error) {
	return l.simple(ctx, "resume_flow", f)
}

// DeleteFlow shuts a flow; the leader removes its keys after that.
func (l *Ledger) DeleteFlow(ctx context.Context, f ids.FlowID) (bool, error) {
	return l.simple(ctx, "delete_flow", f)
}

func (l *Ledger) simple(ctx context.Context, verb string, f ids.FlowID) (bool, error) {
	r, err := l.call(ctx, verb, 0, string(f))
	if err != nil {
		return false, err
	}
	if r.code() == -1 {
		return false, fmt.Errorf("%s %s: %w", strings.ReplaceAll(verb, "_", " "), f, ErrGone)
	}
	return r.code() == 1, nil
}

// PurgeFlow removes what is left of a deleted flow. It reports how many of its
// cycles still have to be removed first.
func (l *Ledger) PurgeFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, entry string) (left int64, err error) {
	r, err := l.call(ctx, "purge_flow", epoch, string(f), entry)
	if err != nil {
		return 0, err
	}
	if r.code() == 2 {
		return r.int(1), nil
	}
	return 0, nil
}

// FlowState is a flow as the ledger has it.
type FlowState struct {
	Status       string // active | paused | deleting
	UID          uuid.UUID
	Revision     int64
	Anchor       time.Time
	LastCycle    int64
	LastSlot     time.Time
	Active       int64
	SlotsStarted int64
	SlotsSkipped map[string]int64 // by reason
	Ended        map[string]int64 // cycles by final status
	PausedAt     time.Time
	Plans        []int64         // revisions with a stored plan
	PlanUses     map[int64]int64 // revision → cycles that need its plan
}

// Flow returns a flow's state. ErrGone when the ledger does not know it.
func (l *Ledger) Flow(ctx context.Context, f ids.FlowID) (FlowState, error) {
	m, err := l.rdb.HGetAll(ctx, l.flowKey(f, "state")).Result()
	if err != nil {
		return FlowState{}, fmt.Errorf("read flow %s: %w", f, classify(err))
	}
	if m["status"] == "" {
		return FlowState{}, fmt.Errorf("flow %s: %w", f, ErrGone)
	}
	return FlowOf(m), nil
}

// Flows returns the states of many flows; those it does not know are missing.
func (l *Ledger) Flows(ctx context.Context, flows []ids.FlowID) (map[ids.FlowID]FlowState, error) {
	out := make(map[ids.FlowID]FlowState, len(flows))
	for from := 0; from < len(flows); from += 500 {
		part := flows[from:min(from+500, len(flows))]
		cmds := make([]*redis.MapStringStringCmd, len(part))
		pipe := l.rdb.Pipeline()
		for i, f := range part {
			cmds[i] = pipe.HGetAll(ctx, l.flowKey(f, "state"))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("read flows: %w", classify(err))
		}
		for i, c := range cmds {
			if m := c.Val(); m["status"] != "" {
				out[part[i]] = FlowOf(m)
			}
		}
	}
	return out, nil
}

// FlowIDs lists every flow the ledger has keys of. It reads in parts, so that the
// others need not wait while there are many; a flow that comes or goes meanwhile may
// be there or not.
func (l *Ledger) FlowIDs(ctx context.Context) ([]ids.FlowID, error) {
	var out []ids.FlowID
	seen := map[string]struct{}{} // a set that grows while it is read gives some twice
	for cursor := uint64(0); ; {
		names, next, err := l.rdb.SScan(ctx, l.key("flows"), cursor, "", 1000).Result()
		if err != nil {
			return nil, fmt.Errorf("list flows: %w", classify(err))
		}
		for _, n := range names {
			if _, twice := seen[n]; !twice {
				seen[n] = struct{}{}
				out = append(out, ids.FlowID(n))
			}
		}
		if cursor = next; cursor == 0 {
			return out, nil
		}
	}
}

// FlowOf reads a flow's record.
func FlowOf(m map[string]string) FlowState {
	s := FlowState{
		Status: m["status"], Revision: number(m["revision"]), Anchor: fromMilli(m["anchor"]),
		LastCycle: number(m["last_cycle"]), LastSlot: fromMilli(m["last_slot"]), Active: number(m["active"]),
		SlotsStarted: number(m["slots_started"]), PausedAt: fromMilli(m["paused_at"]),
		SlotsSkipped: map[string]int64{}, Ended: map[string]int64{}, PlanUses: map[int64]int64{},
	}
	s.UID, _ = uuid.Parse(m["uid"])
	for k, v := range m {
		if reason, ok := strings.CutPrefix(k, "slots_skipped:"); ok {
			s.SlotsSkipped[reason] = number(v)
		} else if status, ok := strings.CutPrefix(k, "cycles_"); ok {
			s.Ended[status] = number(v)
		} else if rev, ok := strings.CutPrefix(k, "plan:"); ok {
			if n, err := strconv.ParseInt(rev, 10, 64); err == nil {
				s.Plans = append(s.Plans, n)
				s.PlanUses[n] = number(v)
			}
		}
	}
	return s
}

func isNil(err error) bool { return errors.Is(err, redis.Nil) }
