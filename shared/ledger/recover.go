package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Lease is a running claim and the time its lease ends, as the ledger has it.
type Lease struct {
	ids.Attempt // N is 0: the attempt stands in the node's record
	Ends        time.Time
}

// Leases returns every running claim.
func (l *Ledger) Leases(ctx context.Context) ([]Lease, error) {
	all, err := l.rdb.ZRangeWithScores(ctx, l.key("leases"), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", classify(err))
	}
	out := make([]Lease, 0, len(all))
	for _, z := range all {
		member, _ := z.Member.(string)
		a, ok := parseMember(strings.Split(member, "|"))
		if !ok {
			continue // not ours; nothing may be done with it
		}
		out = append(out, Lease{Attempt: a, Ends: time.UnixMilli(int64(z.Score))})
	}
	return out, nil
}

func parseMember(p []string) (ids.Attempt, bool) {
	if len(p) < 3 {
		return ids.Attempt{}, false
	}
	a := ids.Attempt{Flow: ids.FlowID(p[0]), Cycle: number(p[1])}
	u, err := uuid.Parse(p[2])
	a.UUID = u
	if len(p) > 3 {
		a.Node = ids.NodeID(p[3])
	}
	if len(p) > 4 {
		a.N = int(number(p[4]))
	}
	return a, err == nil && a.Cycle > 0
}

// LeaseOver is the cause of a revocation that rests on the lease alone.
const LeaseOver = "lease over"

// Expiry revokes a claim.
type Expiry struct {
	ids.Attempt
	Token     uuid.UUID
	Plan      *plan.Node
	OnFailure string
	MaxLost   int
	Cause     string // for the journal; LeaseOver is refused while the lease is not over
	// Unstarted says that etcd was asked and has no once-key of the node: an
	// at-most-once node that was claimed, and never started, is offered again.
	Unstarted bool
}

// Expire revokes the claim if it is still the one named. It reports whether it
// was.
func (l *Ledger) Expire(ctx context.Context, epoch ids.Epoch, x Expiry) (bool, error) {
	once := 0
	switch {
	case x.Plan.Delivery == plan.AtMostOnce && x.Unstarted:
		once = 2
	case x.Plan.Delivery == plan.AtMostOnce:
		once = 1
	}
	total := len(x.Plan.Successors)
	given := min(total, Chunk)
	args := []any{string(x.Flow), x.Cycle, x.UUID.String(), string(x.Node), x.N, x.Token.String(), x.MaxLost, once,
		x.OnFailure, x.Plan.Component, x.Cause, total, given}
	args = successorArgs(args, x.Plan, 0, given, AllEdges(FailedSource))
	r, err := l.call(ctx, "expire", epoch, args...)
	if err != nil {
		return false, err
	}
	return r.code() == 1 || r.code() == 3, nil
}

// Timer is something due at a time.
type Timer struct {
	Kind string // retry | offer | deadline
	ids.Attempt
	Due time.Time
}

// Timers returns up to count timers, the earliest first.
func (l *Ledger) Timers(ctx context.Context, count int64) ([]Timer, error) {
	all, err := l.rdb.ZRangeWithScores(ctx, l.key("timers"), 0, count-1).Result()
	if err != nil {
		return nil, fmt.Errorf("read timers: %w", classify(err))
	}
	out := make([]Timer, 0, len(all))
	for _, z := range all {
		member, _ := z.Member.(string)
		p := strings.Split(member, "|")
		a, ok := parseMember(p[1:])
		if !ok {
			continue
		}
		out = append(out, Timer{Kind: p[0], Attempt: a, Due: time.UnixMilli(int64(z.Score))})
	}
	return out, nil
}

// Retry begins the next attempt after a retry timer.
func (l *Ledger) Retry(ctx context.Context, epoch ids.Epoch, a ids.Attempt) error {
	_, err := l.call(ctx, "retry", epoch, string(a.Flow), a.Cycle, a.UUID.String(), string(a.Node), a.N)
	return err
}

// OfferAgain rings once more for the same attempt.
func (l *Ledger) OfferAgain(ctx context.Context, epoch ids.Epoch, a ids.Attempt, why string) (bool, error) {
	r, err := l.call(ctx, "offer_again", epoch, string(a.Flow), a.Cycle, a.UUID.String(), string(a.Node), a.N, why)
	return err == nil && r.code() == 1, err
}

// ActiveCycle names a cycle that has not ended.
type ActiveCycle struct {
	Flow  ids.FlowID
	Cycle int64
	UUID  uuid.UUID
	Since time.Time
}

// Active returns every cycle that has not ended, the oldest first.
func (l *Ledger) Active(ctx context.Context) ([]ActiveCycle, error) {
	all, err := l.rdb.ZRangeWithScores(ctx, l.key("active"), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read active cycles: %w", classify(err))
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

// Repairs that MendNode makes.
const (
	MendReady  = "ready"
	MendOffer  = "offer"
	MendLease  = "lease"
	MendTimer  = "timer"
	MendDecide = "decide"
	MendSpread = "spread" // node "" = the cycle's entry nodes
)

// MendNode puts back what a node lacks, if the node is still as the audit saw
// it (a.N and status). It reports whether it mended.
func (l *Ledger) MendNode(ctx context.Context, epoch ids.Epoch, a ids.Attempt, status, repair string, lease time.Duration) (bool, error) {
	r, err := l.call(ctx, "mend_node", epoch, string(a.Flow), a.Cycle, a.UUID.String(), string(a.Node), a.N, status, repair, lease.Milliseconds())
	return err == nil && r.code() == 1, err
}

// JoinFix is one counter of a join that is wrong.
type JoinFix struct {
	Field string // node:live, node:dead or node:failed
	Seen  string // "" = not there
	Right int
}

// MendCounts replaces a cycle's counters, if completed_nodes is still seen.
func (l *Ledger) MendCounts(ctx context.Context, epoch ids.Epoch, c ActiveCycle, seen int64, counters map[string]int, joins []JoinFix) (bool, error) {
	args := []any{string(c.Flow), c.Cycle, c.UUID.String(), seen, len(counters)}
	for k, v := range counters {
		args = append(args, k, v)
	}
	head := len(args)
	mended := false
	parts := slices.Collect(slices.Chunk(joins, 1000))
	if len(parts) == 0 {
		parts = [][]JoinFix{nil}
	}
	for _, part := range parts {
		args = args[:head]
		for _, j := range part {
			args = append(args, j.Field, j.Seen, j.Right)
		}
		r, err := l.call(ctx, "mend_counts", epoch, args...)
		if err != nil {
			return mended, err
		}
		mended = mended || r.code() == 1
		if done, ok := counters["completed_nodes"]; ok {
			args[3] = int64(done) // a further part meets what this one wrote
		}
	}
	return mended, nil
}

// MendFlow counts a flow's open cycles anew, if the count is still seen, and
// lists again those that Active lacks. It reports whether it mended.
func (l *Ledger) MendFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, seen int64) (bool, error) {
	r, err := l.call(ctx, "mend_flow", epoch, string(f), seen)
	return err == nil && r.code() == 1, err
}

// Posted tells what stands in the outbox.
type Posted struct {
	attempts map[string]bool
	cycles   map[string]bool
}

// PostedOf tells what stands among these entries.
func PostedOf(entries []Entry) Posted {
	p := Posted{attempts: map[string]bool{}, cycles: map[string]bool{}}
	for _, e := range entries {
		p.note(e)
	}
	return p
}

func (p Posted) note(e Entry) {
	p.attempts[string(e.Kind)+" "+e.Attempt.String()] = true
	p.cycles[fmt.Sprintf("%s %s/%d", e.Kind, e.Flow, e.Cycle)] = true
}

// Attempt reports whether an entry of that kind names exactly that attempt.
func (p Posted) Attempt(k Kind, a ids.Attempt) bool { return p.attempts[string(k)+" "+a.String()] }

// Cycle reports whether any entry of that kind names the cycle.
func (p Posted) Cycle(k Kind, f ids.FlowID, n int64) bool {
	return p.cycles[fmt.Sprintf("%s %s/%d", k, f, n)]
}

// ReadPosted reads the whole outbox.
func (l *Ledger) ReadPosted(ctx context.Context) (Posted, error) {
	p := PostedOf(nil)
	for after := ""; ; {
		part, err := l.Outbox(ctx, after, 1000)
		if err != nil {
			return p, err
		}
		for _, e := range part {
			p.note(e)
			after = e.ID
		}
		if len(part) < 1000 {
			return p, nil
		}
	}
}

// Protections tells which of the given running nodes have a lease and which of
// the retrying ones have a timer.
func (l *Ledger) Protections(ctx context.Context, c ActiveCycle, nodes []NodeState) (leases, timers map[ids.NodeID]bool, err error) {
	pipe := l.rdb.Pipeline()
	type want struct {
		node  ids.NodeID
		lease *redis.FloatCmd
		timer *redis.FloatCmd
	}
	var wants []want
	base := fmt.Sprintf("%s|%d|%s|", c.Flow, c.Cycle, c.UUID)
	for _, n := range nodes {
		switch n.Status {
		case "running":
			wants = append(wants, want{node: n.Node, lease: pipe.ZScore(ctx, l.key("leases"), base+string(n.Node))})
		case "retrying":
			wants = append(wants, want{node: n.Node, timer: pipe.ZScore(ctx, l.key("timers"), fmt.Sprintf("retry|%s%s|%d", base, n.Node, n.Attempt))})
		}
	}
	leases, timers = map[ids.NodeID]bool{}, map[ids.NodeID]bool{}
	if len(wants) == 0 {
		return leases, timers, nil
	}
	if _, err := pipe.Exec(ctx); err != nil && !isNil(err) {
		return nil, nil, fmt.Errorf("read leases and timers: %w", classify(err))
	}
	for _, w := range wants {
		if w.lease != nil && w.lease.Err() == nil {
			leases[w.node] = true
		}
		if w.timer != nil && w.timer.Err() == nil {
			timers[w.node] = true
		}
	}
	return leases, timers, nil
}
