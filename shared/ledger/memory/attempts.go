package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/ledger/memory/mutant"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// Claim grants one worker the right to finish an attempt.
func (l *Ledger) Claim(_ context.Context, q ledger.ClaimRequest) (ledger.Claim, ledger.Refusal, error) {
	defer l.begin()()
	p, token := at(q.Attempt, 0), q.Token.String()
	refuse := func(r ledger.Refusal, why string) (ledger.Claim, ledger.Refusal, error) {
		l.turnAway(p, token, string(q.Worker), "claim", why)
		return ledger.Claim{}, r, nil
	}
	if !l.here(p) {
		return refuse(ledger.Gone, "gone")
	}
	status, attempt := l.state(p)
	if attempt != q.N {
		return refuse(ledger.Over, l.standing(p))
	}
	mine := status == task.Running && l.get(p.node, "token") == token
	if mutant.Active == mutant.ServerToken {
		mine = false
	}
	if mutant.Active == mutant.Steal && status == task.Running && !mine && q.Redelivered && l.open(p) {
		l.put(p.node, "token", token, "worker", string(q.Worker))
		mine = true
	}
	if !mine {
		switch {
		case status == task.Running && q.Redelivered:
			l.suspect(p, q)
			return ledger.Claim{}, ledger.Suspected, nil
		case !offerable(status):
			return refuse(ledger.Over, l.standing(p))
		case !l.open(p):
			return refuse(ledger.Ending, "ending")
		}
	}
	n := l.planOf(p).node(q.Node)
	if n == nil {
		return refuse(ledger.PlanMissing, "no plan")
	}
	if !mine {
		switch refusal := l.grant(p, q, n); refusal {
		case ledger.Granted:
		case ledger.Ending:
			return refuse(refusal, "ending")
		default:
			return ledger.Claim{}, refusal, nil
		}
	}
	return l.answer(p, q, n), ledger.Granted, nil
}

// suspect notes that the message of a claim was delivered again: the leader is
// to look, and the lease ends sooner unless it is renewed.
func (l *Ledger) suspect(p place, q ledger.ClaimRequest) {
	member, soon := leaseMember(p.Attempt), l.now+(q.Lease*2/5).Milliseconds()
	if ends, ok := l.score(leasesKey, member); ok && ends > soon {
		l.rank(leasesKey, member, soon)
	}
	l.put(p.node, "suspect", "1")
	l.post(ledger.KindSuspect, p.Attempt, q.N)
	l.note(p, "suspect", q.N, l.get(p.node, "token"), string(q.Worker), "")
}

func (l *Ledger) grant(p place, q ledger.ClaimRequest, n *plan.Node) ledger.Refusal {
	if l.has(p.cycle, component(n.Component)) {
		return ledger.Ending
	}
	status := l.get(flowKey(p.Flow, "state"), "status")
	if status != "active" && status != "paused" {
		return ledger.Ending
	}
	before, declined, waitsFor := l.get(p.node, "held"), l.get(p.node, "blocker") == "declined", ""
	if status == "paused" {
		waitsFor = "flow:" + string(p.Flow)
		l.hold(p, waitsFor)
		l.put(p.node, "status", "ready", "blocker", "paused", "held", waitsFor)
	} else {
		l.run(p, q.Token.String(), q.Worker)
	}
	if before != waitsFor {
		l.unhold(p, before)
	}
	if declined {
		l.unrank(timersKey, timerMember("offer", p.Attempt))
	}
	if status == "paused" {
		l.note(p, "held", q.N, "", string(q.Worker), "paused")
		return ledger.Held
	}
	l.rank(leasesKey, leaseMember(p.Attempt), l.now+q.Lease.Milliseconds())
	l.note(p, "claim", q.N, q.Token.String(), string(q.Worker), "")
	return ledger.Granted
}

func (l *Ledger) run(p place, token string, w ids.WorkerID) {
	l.put(p.node, "status", "running", "token", token, "worker", string(w), "started_at", itoa(l.now))
	l.drop(p.node, "blocker", "suspect", "held")
}

func (l *Ledger) answer(p place, q ledger.ClaimRequest, n *plan.Node) ledger.Claim {
	c := ledger.Claim{Attempt: q.Attempt, Token: q.Token, Node: *n, Slot: fromMilli(l.number(p.cycle, "slot")),
		Retries: int(l.number(p.node, "retry_count")), OnFailure: l.get(p.cycle, "on_failure"), Values: make([]json.RawMessage, len(n.Inputs))}
	c.Occasion, _ = uuid.Parse(l.get(p.cycle, "occasion")) // written by StartCycle
	outputs := l.hashes[p.base+":outputs"]
	for i, in := range n.Inputs {
		if v, ok := outputs[string(in.Source)+":"+in.SourceHandle]; ok {
			c.Values[i] = json.RawMessage(v)
		}
	}
	return c
}

// Heartbeat renews the claims of one worker process.
func (l *Ledger) Heartbeat(_ context.Context, w ids.WorkerID, lease time.Duration, claims []ledger.HeldClaim) ([]ledger.Beat, error) {
	defer l.begin()()
	out := make([]ledger.Beat, 0, len(claims))
	for _, c := range claims {
		out = append(out, l.beat(at(c.Attempt, 0), c.Token.String(), w, lease))
	}
	return out, nil
}

func (l *Ledger) beat(p place, token string, w ids.WorkerID, lease time.Duration) ledger.Beat {
	if !l.here(p) {
		return ledger.Lost
	}
	status, attempt := l.state(p)
	held := attempt == p.N && status == task.Running && l.get(p.node, "token") == token
	if attempt == p.N && offerable(status) && l.open(p) { // the ledger forgot the claim
		before := l.get(p.node, "held")
		l.run(p, token, w)
		l.unhold(p, before)
		l.unrank(timersKey, timerMember("offer", p.Attempt))
		l.note(p, "claim", p.N, token, string(w), "again, by heartbeat")
		held = true
	}
	if !held {
		ended := status.Final() && l.get(p.node, "token") == token || l.get(p.node, "failed_token") == token
		if !ended { // it may just have reported its own end
			l.note(p, "lost", p.N, token, string(w), "")
		}
		return ledger.Lost
	}
	l.rank(leasesKey, leaseMember(p.Attempt), l.now+lease.Milliseconds())
	if !l.open(p) {
		return ledger.Cancel
	}
	return ledger.Renewed
}

// mine reports whether the place's attempt runs under a token.
func (l *Ledger) mine(p place, token string) bool {
	status, attempt := l.state(p)
	return status == task.Running && attempt == p.N && l.get(p.node, "token") == token
}

// Complete counts an attempt that did not fail and lets its successors go.
func (l *Ledger) Complete(ctx context.Context, c ledger.Completion) error {
	_, err := l.CompleteNext(ctx, c, ledger.Next{})
	return err
}

// CompleteNext is Complete, and claims nodes of q that become ready by it.
func (l *Ledger) CompleteNext(_ context.Context, c ledger.Completion, q ledger.Next) ([]ledger.Claim, error) {
	defer l.begin()()
	p, token := at(c.Attempt, 0), c.Token.String()
	if !l.here(p) {
		l.turnAway(p, token, "", "complete", "gone")
		return nil, fmt.Errorf("complete %s: %w", c.Attempt, ledger.ErrGone)
	}
	status, attempt := l.state(p)
	switch {
	case mutant.Active == mutant.NoToken && status != "", mutant.Active == mutant.SeedCount:
	case attempt == c.N && status == c.Status && l.get(p.node, "token") == token:
		next := l.direct(p, q)
		for _, n := range next {
			l.rank(leasesKey, leaseMember(n.Attempt), l.now+q.Lease.Milliseconds())
		}
		return next, nil
	case !l.mine(p, token):
		l.turnAway(p, token, "", "complete", l.standing(p))
		return nil, fmt.Errorf("complete %s: %w", c.Attempt, ledger.ErrNotMine)
	}
	handles := slices.Sorted(maps.Keys(c.Outputs))
	bytes := l.number(p.cycle, "output_bytes")
	for _, h := range handles {
		bytes += int64(len(h) + len(c.Outputs[h]))
	}
	if bytes > task.MaxCycleOutputBytes {
		return nil, fmt.Errorf("complete %s: %w: %d bytes with this node's, at most %d", c.Attempt, ledger.ErrTooLarge, bytes, task.MaxCycleOutputBytes)
	}
	over := l.ending(p, c.Plan)
	l.unrank(leasesKey, leaseMember(p.Attempt))
	if len(handles) > 0 {
		for _, h := range handles {
			l.put(p.base+":outputs", string(p.Node)+":"+h, string(c.Outputs[h]))
		}
		l.put(p.node, "handles", strings.Join(handles, "\n"))
		l.put(p.cycle, "output_bytes", itoa(bytes))
	}
	if dead := deadEdges(c); dead != "" {
		l.put(p.node, "dead", dead)
	}
	if c.Reason != "" {
		l.put(p.node, "reason", c.Reason)
	}
	l.finish(p, c.N, c.Status, token, l.get(p.node, "worker"), c.Reason)
	switch {
	case over:
	case c.Status == task.Stopped:
		l.put(p.cycle, component(c.Plan.Component), "stopped")
		l.post(ledger.KindSweep, p.Attempt, 0)
	default:
		next := l.may(p, c.Plan, q)
		l.spreadOut(p, c.Plan, c.Decided, next)
	}
	l.closeCycle(p)
	return l.direct(p, q), nil
}

// may returns q if its nodes may be claimed as they become ready, else a wish for none.
func (l *Ledger) may(p place, n *plan.Node, q ledger.Next) ledger.Next {
	if len(q.Nodes) > 0 && l.get(flowKey(p.Flow, "state"), "status") != "active" {
		return ledger.Next{}
	}
	known := l.planOf(p)
	q.Nodes = slices.DeleteFunc(slices.Clone(q.Nodes), func(id ids.NodeID) bool {
		target := known.node(id)
		return target == nil || target.Component != n.Component
	})
	return q
}

// direct answers the claims that q got by a completion.
func (l *Ledger) direct(p place, q ledger.Next) (claims []ledger.Claim) {
	for _, id := range q.Nodes {
		target := p.of(id)
		target.N = 1
		if !l.mine(target, q.Token.String()) {
			continue
		}
		if n := l.planOf(p).node(id); n != nil {
			claims = append(claims, l.answer(target, ledger.ClaimRequest{Attempt: target.Attempt, Token: q.Token}, n))
		}
	}
	ledger.InOrder(claims)
	return claims
}

// startDirect claims a node that becomes ready, without offering it.
func (l *Ledger) startDirect(p place, q ledger.Next) {
	l.rank(leasesKey, leaseMember(p.Attempt), l.now+q.Lease.Milliseconds())
	l.put(p.node, "status", "running", "attempt", "1", "ready_at", itoa(l.now), "token", q.Token.String(), "worker", string(q.Worker), "started_at", itoa(l.now))
	l.note(p, "claim", 1, q.Token.String(), string(q.Worker), "direct")
}

// deadEdges lists the indexes of a success's out-edges that carry nothing.
func deadEdges(c ledger.Completion) string {
	if c.Status != task.Succeeded {
		return ""
	}
	var dead []string
	index := 0
	for i := range c.Plan.Successors {
		for range c.Plan.Successors[i].Edges {
			if c.Decided(index) != ledger.Live {
				dead = append(dead, strconv.Itoa(index))
			}
			index++
		}
	}
	return strings.Join(dead, ",")
}

// Fail ends an attempt that failed.
func (l *Ledger) Fail(_ context.Context, f ledger.Failure) (ledger.Failed, error) {
	defer l.begin()()
	p, token := at(f.Attempt, 0), f.Token.String()
	if !l.here(p) {
		l.turnAway(p, token, "", "fail", "gone")
		return ledger.Failed{}, fmt.Errorf("fail %s: %w", f.Attempt, ledger.ErrGone)
	}
	status, attempt := l.state(p)
	if attempt == f.N && l.get(p.node, "failed_token") == token {
		if status == task.Retrying {
			return ledger.Failed{Retry: fromMilli(l.number(p.node, "due"))}, nil
		}
		return ledger.Failed{}, nil
	}
	if !l.mine(p, token) {
		l.turnAway(p, token, "", "fail", l.standing(p))
		return ledger.Failed{}, fmt.Errorf("fail %s: %w", f.Attempt, ledger.ErrNotMine)
	}
	worker, retries := l.get(p.node, "worker"), l.number(p.node, "retry_count")
	over := l.ending(p, f.Plan)
	why := ledger.ClipError(f.Error)
	l.unrank(leasesKey, leaseMember(p.Attempt))
	l.put(p.node, "error_message", why, "error_class", string(f.Class), "failed_token", token)
	switch {
	case !over && retries < int64(f.Retries):
		due := l.now + f.Delay.Milliseconds()
		l.put(p.node, "status", "retrying", "retry_count", itoa(retries+1), "due", itoa(due))
		l.drop(p.node, "token")
		l.rank(timersKey, timerMember("retry", p.Attempt), due)
		l.post(ledger.KindTimer, p.Attempt, f.N)
		l.note(p, "retry_later", f.N, token, worker, itoa(due))
		return ledger.Failed{Retry: fromMilli(due)}, nil
	case over:
		l.finish(p, f.N, l.endsAs(p), token, worker, string(f.Class))
	default:
		l.finish(p, f.N, task.Failed, token, worker, string(f.Class))
		l.giveUp(p, f.N, f.Plan, why, f.OnFailure)
	}
	l.closeCycle(p)
	return ledger.Failed{}, nil
}

// endsAs is what a running node becomes whose cycle or component is over.
func (l *Ledger) endsAs(p place) task.Status {
	if l.open(p) {
		return task.Stopped
	}
	return task.Cancelled
}

// Release hands a claim back without using the retry budget.
func (l *Ledger) Release(_ context.Context, a ids.Attempt, token uuid.UUID, started bool) error {
	defer l.begin()()
	p := at(a, 0)
	n := l.planOf(p).node(a.Node)
	switch {
	case !l.here(p):
		l.turnAway(p, token.String(), "", "release", "gone")
		return fmt.Errorf("release %s: %w", a, ledger.ErrGone)
	case !l.mine(p, token.String()):
		l.turnAway(p, token.String(), "", "release", l.standing(p))
		return fmt.Errorf("release %s: %w", a, ledger.ErrNotMine)
	case !l.open(p) || n != nil && l.has(p.cycle, component(n.Component)):
		return fmt.Errorf("release %s: %w", a, ledger.ErrEnding)
	case started && (n == nil || n.Delivery == plan.AtMostOnce):
		return fmt.Errorf("release %s: %w", a, ledger.ErrStarted)
	}
	l.unrank(leasesKey, leaseMember(a))
	l.makeReady(p, a.N+1, "released")
	return nil
}

// Decline says that a worker was offered a node type it does not carry.
func (l *Ledger) Decline(_ context.Context, a ids.Attempt, w ids.WorkerID, delay time.Duration) error {
	defer l.begin()()
	p := at(a, 0)
	status, attempt := l.state(p)
	if !l.here(p) || attempt != a.N || !offerable(status) {
		return nil
	}
	declines, ms := l.number(p.node, "declines")+1, delay.Milliseconds()
	if declines <= 64 { // the broker offers in turn: the right worker may be next
		ms = min(ms, 10)
	}
	l.rank(timersKey, timerMember("offer", a), l.now+ms)
	l.put(p.node, "status", "dispatched", "blocker", "declined", "declines", itoa(declines))
	l.post(ledger.KindTimer, a, a.N)
	l.note(p, "declined", a.N, "", string(w), "")
	return nil
}

// stored is a plan as a cycle finds it; nil when it is not kept.
type stored struct{ *plan.Plan }

func (l *Ledger) planOf(p place) stored {
	return stored{l.plans[planKey(p.Flow, l.get(p.cycle, "revision"))]}
}

func (s stored) node(id ids.NodeID) *plan.Node {
	if s.Plan == nil {
		return nil
	}
	return s.Node(id)
}
