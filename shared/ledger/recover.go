package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

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
