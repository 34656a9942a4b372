package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// Claim is a worker's exclusive right to finish one attempt.
type Claim struct {
	ids.Attempt
	Token uuid.UUID
	Node  plan.Node
	// Occasion is what intent ids are made of.
	Occasion uuid.UUID
	Slot     time.Time
	Retries  int // failures so far
	// OnFailure is the cycle's failure policy.
	OnFailure string
	// Values has one value per input of the node, in the inputs' order; nil
	// where the source emitted none.
	Values []json.RawMessage
}

// ClaimRequest asks for an attempt.
type ClaimRequest struct {
	ids.Attempt
	Token       uuid.UUID // made by the worker, so that asking twice is harmless
	Worker      ids.WorkerID
	Lease       time.Duration
	Redelivered bool
}

// Refusal says why a claim was not granted. In every case the message has done
// its work and is to be acked.
type Refusal int

// Refusals of a claim.
const (
	Granted     Refusal = iota
	Gone                // the cycle is gone
	Over                // the attempt is over, claimed by another, or another is due
	Ending              // the cycle or component takes no more claims
	Held                // the flow is paused; the node waits in the ledger
	Suspected           // another worker holds it; the leader will look whether that worker lives
	PlanMissing         // the ledger lost the plan; the audit sees to it
)

func (r Refusal) String() string {
	return [...]string{"granted", "gone", "over", "ending", "held", "suspected", "plan missing"}[r]
}

// Claim asks for an attempt. A refusal is no error.
func (l *Ledger) Claim(ctx context.Context, q ClaimRequest) (Claim, Refusal, error) {
	suspect := q.Lease * 2 / 5
	r, err := l.call(ctx, "claim", 0, string(q.Worker), q.Lease.Milliseconds(), suspect.Milliseconds(),
		string(q.Flow), q.Cycle, q.UUID.String(), string(q.Node), q.N, q.Token.String(), flag(q.Redelivered))
	if err != nil {
		return Claim{}, Over, err
	}
	if r.code() != 1 {
		if c := -r.code(); c >= int64(Gone) && c <= int64(PlanMissing) {
			return Claim{}, Refusal(c), nil
		}
		return Claim{}, Over, unexpected("claim", r)
	}
	c, err := l.granted("claim", q.Attempt, q.Token, granted{plan: r.text(1), occasion: r.text(2), slot: r.text(3), onFailure: r.text(5), values: r[min(6, len(r)):]})
	if err != nil {
		return c, PlanMissing, err
	}
	c.Retries = int(r.int(4))
	return c, Granted, nil
}

// granted is what a script answers to a claim that it grants.
type granted struct {
	plan, occasion, slot, onFailure string
	values                          []any
}

func (l *Ledger) granted(verb string, a ids.Attempt, token uuid.UUID, g granted) (c Claim, err error) {
	c = Claim{Attempt: a, Token: token, Slot: fromMilli(g.slot), OnFailure: g.onFailure}
	if c.Node, err = l.nodes.decode(g.plan); err != nil {
		return c, fmt.Errorf("%s %s: plan: %w", verb, a, err)
	}
	if c.Occasion, err = uuid.Parse(g.occasion); err != nil {
		return c, fmt.Errorf("%s %s: occasion: %w", verb, a, err)
	}
	c.Values = make([]json.RawMessage, len(c.Node.Inputs))
	for i := range min(len(c.Values), len(g.values)) {
		if s, ok := g.values[i].(string); ok {
			c.Values[i] = json.RawMessage(s)
		}
	}
	return c, nil
}

// Beat is what a heartbeat says of one claim.
type Beat int

// Answers of a heartbeat.
const (
	Lost    Beat = iota // not yours any more: stop, the result will be refused
	Renewed             // go on
	Cancel              // renewed, but the cycle is ending: stop
)

// HeldClaim is a claim as a heartbeat names it.
type HeldClaim struct {
	ids.Attempt
	Token uuid.UUID
}

// Heartbeat renews the claims of one worker process.
func (l *Ledger) Heartbeat(ctx context.Context, w ids.WorkerID, lease time.Duration, claims []HeldClaim) ([]Beat, error) {
	out := make([]Beat, 0, len(claims))
	for part := range slices.Chunk(claims, 128) {
		args := make([]any, 0, 2+6*len(part))
		args = append(args, string(w), lease.Milliseconds())
		for _, c := range part {
			args = append(args, string(c.Flow), c.Cycle, c.UUID.String(), string(c.Node), c.N, c.Token.String())
		}
		r, err := l.call(ctx, "heartbeat", 0, args...)
		if err != nil {
			return nil, err
		}
		if len(r) != len(part) {
			return nil, unexpected("heartbeat", r)
		}
		for i := range r {
			out = append(out, Beat(r.int(i)))
		}
	}
	return out, nil
}

// Completion is an attempt that did not fail.
type Completion struct {
	ids.Attempt
	Token   uuid.UUID
	Plan    *plan.Node
	Status  task.Status // Succeeded or Stopped
	Reason  string
	Outputs map[string]json.RawMessage
	Decided Decided // results of the out-edges; unused when Stopped
}

// Complete counts an attempt that did not fail and lets its successors go.
// Repeating it is harmless. Errors: ErrGone, ErrNotMine, ErrTooLarge.
func (l *Ledger) Complete(ctx context.Context, c Completion) error {
	_, err := l.CompleteNext(ctx, c, Next{})
	return err
}

// Next is the wish of a worker to claim successors of what it completes, with the
// completion itself.
type Next struct {
	Token  uuid.UUID // of all these claims; made by the worker, as for any claim
	Worker ids.WorkerID
	Lease  time.Duration
	Nodes  []ids.NodeID // that it would take; none = no wish
	Most   int          // how many of them at the same time; 0 = one
}

func (q Next) nodes() string {
	var b strings.Builder
	for _, n := range q.Nodes {
		b.WriteByte('\n')
		b.WriteString(string(n))
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	return b.String()
}

// CompleteNext is Complete, and grants the first attempts of those of q's nodes that
// become ready by it, in the order of the plan and q.Most at most, if nothing speaks against a claim. These nodes are not
// offered then. It returns the claims in the order of their nodes' ids, none if it granted
// none. Repeating it is harmless; the answer is the same as long as these claims
// hold. An error other than Complete's says that the completion is counted, and that the
// claims, if any were granted, are of no use.
func (l *Ledger) CompleteNext(ctx context.Context, c Completion, q Next) ([]Claim, error) {
	handles := make([]string, 0, len(c.Outputs))
	bytes := 0
	for h, v := range c.Outputs {
		handles = append(handles, h)
		bytes += len(h) + len(v)
	}
	sort.Strings(handles)
	total, given := 0, 0
	var dead []string
	if c.Status == task.Succeeded {
		total = len(c.Plan.Successors)
		given = min(total, Chunk)
		index := 0
		for i := range c.Plan.Successors {
			for range c.Plan.Successors[i].Edges {
				if c.Decided(index) != Live {
					dead = append(dead, strconv.Itoa(index))
				}
				index++
			}
		}
	}
	token := ""
	if len(q.Nodes) > 0 {
		token = q.Token.String()
	}
	args := make([]any, 0, 20+2*len(handles)+6*given)
	args = append(args, task.MaxCycleOutputBytes, string(q.Worker), q.Lease.Milliseconds(),
		string(c.Flow), c.Cycle, c.UUID.String(), string(c.Attempt.Node), c.N, c.Token.String(), string(c.Status), c.Reason,
		c.Plan.Component, bytes, strings.Join(dead, ","), len(handles), total, given, token, max(q.Most, 1), q.nodes())
	for _, h := range handles {
		args = append(args, h, []byte(c.Outputs[h]))
	}
	args = successorArgs(args, c.Plan, 0, given, c.Decided)
	r, err := l.call(ctx, "complete", 0, args...)
	if err != nil {
		return nil, err
	}
	if r.code() == -3 {
		return nil, fmt.Errorf("complete %s: %w: %d bytes with this node's, at most %d", c.Attempt, ErrTooLarge, r.int(1), task.MaxCycleOutputBytes)
	}
	if err := settled("complete", c.Attempt, r); err != nil || len(r) < 5 {
		return nil, err
	}
	claims := make([]Claim, 0, len(r)-4)
	for _, v := range r[4:] {
		of, _ := v.([]any)
		next, one := c.Attempt, reply(of)
		next.Node, next.N = ids.NodeID(one.text(0)), 1
		claim, err := l.granted("complete", next, q.Token, granted{plan: one.text(1), occasion: r.text(1), slot: r.text(2), onFailure: r.text(3), values: one[min(2, len(one)):]})
		if err != nil {
			return nil, err
		}
		claims = append(claims, claim)
	}
	InOrder(claims)
	return claims, nil
}

// InOrder sorts claims by their nodes' ids.
func InOrder(claims []Claim) {
	if len(claims) > 1 {
		slices.SortFunc(claims, func(a, b Claim) int { return cmp.Compare(a.Attempt.Node, b.Attempt.Node) })
	}
}

// Failure is an attempt that failed.
type Failure struct {
	ids.Attempt
	Token uuid.UUID
	Plan  *plan.Node
	Class task.Class
	Error string
	// Retries is how many retries the policy grants in all for this class.
	Retries   int
	Delay     time.Duration
	OnFailure string
}

// Failed is the answer to Fail.
type Failed struct {
	Retry time.Time // when the next attempt is due; zero when the failure is final
}

// Fail ends an attempt that failed. Repeating it is harmless. Errors: ErrGone,
// ErrNotMine.
func (l *Ledger) Fail(ctx context.Context, f Failure) (Failed, error) {
	total := len(f.Plan.Successors)
	given := min(total, Chunk)
	args := []any{string(f.Flow), f.Cycle, f.UUID.String(), string(f.Attempt.Node), f.N, f.Token.String(), string(f.Class), ClipError(f.Error),
		f.Retries, f.Delay.Milliseconds(), f.OnFailure, f.Plan.Component, total, given}
	args = successorArgs(args, f.Plan, 0, given, AllEdges(FailedSource))
	r, err := l.call(ctx, "fail", 0, args...)
	if err != nil {
		return Failed{}, err
	}
	if r.code() == 3 {
		return Failed{Retry: fromMilli(r.text(1))}, nil
	}
	return Failed{}, settled("fail", f.Attempt, r)
}

// Release hands a claim back without using the retry budget. started says that
// the handler was, or may have been, called; an at-most-once node is then never
// offered again. Errors: ErrGone, ErrNotMine, ErrEnding, ErrStarted.
func (l *Ledger) Release(ctx context.Context, a ids.Attempt, token uuid.UUID, started bool) error {
	r, err := l.call(ctx, "release", 0, string(a.Flow), a.Cycle, a.UUID.String(), string(a.Node), a.N, token.String(), flag(started))
	if err != nil {
		return err
	}
	switch r.code() {
	case -3:
		return fmt.Errorf("release %s: %w", a, ErrEnding)
	case -4:
		return fmt.Errorf("release %s: %w", a, ErrStarted)
	}
	return settled("release", a, r)
}

// Decline says that a worker was offered a node type it does not carry; the
// offer is made again after delay.
func (l *Ledger) Decline(ctx context.Context, a ids.Attempt, w ids.WorkerID, delay time.Duration) error {
	_, err := l.call(ctx, "decline", 0, string(a.Flow), a.Cycle, a.UUID.String(), string(a.Node), a.N, delay.Milliseconds(), string(w))
	return err
}

func settled(verb string, a ids.Attempt, r reply) error {
	switch r.code() {
	case 1, 2:
		return nil
	case -1:
		return fmt.Errorf("%s %s: %w", verb, a, ErrGone)
	case -2:
		return fmt.Errorf("%s %s: %w", verb, a, ErrNotMine)
	}
	return unexpected(verb, r)
}

// ClipError cuts an error's text to what a node keeps of it.
func ClipError(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= task.MaxErrorBytes {
		return s
	}
	return strings.ToValidUTF8(s[:task.MaxErrorBytes], "") + "…"
}
