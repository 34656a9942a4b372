package ledgertest

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"encoding/json"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// fan names a node with n successors of its own.
func fan(n int) string {
	var b strings.Builder
	for _, id := range wideNodes(n) {
		fmt.Fprintf(&b, "s>%s ", id)
	}
	return b.String()
}

var settles = []testCase{
	{"complete counts once", func(k *kit) {
		p, c := k.run("a>b")
		a := k.claim(attempt(c, "a", 1))
		k.ok(k.Complete(k.ctx, success(p, a)))
		k.unchanged(func() {
			k.ok(k.Complete(k.ctx, success(p, a)))
			foreign := success(p, a)
			foreign.Token = uuid.New()
			k.is(k.Complete(k.ctx, foreign), ledger.ErrNotMine)
			k.is(k.Complete(k.ctx, stop(p, a)), ledger.ErrNotMine)
			gone := success(p, a)
			gone.UUID = uuid.New()
			k.is(k.Complete(k.ctx, gone), ledger.ErrGone)
			_, err := k.Fail(k.ctx, failure(p, a))
			k.is(err, ledger.ErrNotMine)
		})
		k.wants("outcome", "succeeded", 1)
		s := k.cycle(c)
		k.equal([]any{s.Completed, s.Counts[task.Succeeded]}, []any{int64(1), int64(1)})
		k.status(c, "b", task.Ready)
		k.consistent()
	}},
	{"complete after the claim was revoked", func(k *kit) {
		p, c := k.run("a")
		a := k.claim(attempt(c, "a", 1))
		done, err := k.Expire(k.ctx, epoch, expiry(p, a))
		k.ok(err)
		k.equal(done, true)
		k.unchanged(func() { k.is(k.Complete(k.ctx, success(p, a)), ledger.ErrNotMine) })
		k.ok(k.Complete(k.ctx, success(p, k.claim(attempt(c, "a", 2)))))
		k.ended(c, "completed")
	}},
	{"outputs of a cycle are limited", func(k *kit) {
		p, c := k.run("a b")
		big := func(n ids.NodeID, size int) (ledger.Completion, ledger.Claim) {
			q := k.claim(attempt(c, n, 1))
			done := success(p, q)
			done.Outputs = map[string]json.RawMessage{"out": json.RawMessage(bytes.Repeat([]byte("1"), size))}
			return done, q
		}
		first, _ := big("a", task.MaxCycleOutputBytes-10)
		k.ok(k.Complete(k.ctx, first))
		second, q := big("b", 10)
		k.unchanged(func() { k.is(k.Complete(k.ctx, second), ledger.ErrTooLarge) })
		f := failure(p, q)
		f.Class = task.Permanent
		_, err := k.Fail(k.ctx, f)
		k.ok(err)
		k.ended(c, "failed")
	}},
	{"stop ends its component and no other", func(k *kit) {
		p, c := k.run("a>b b>d x>y")
		a := k.claim(attempt(c, "a", 1))
		k.ok(k.Complete(k.ctx, stop(p, a)))
		k.unchanged(func() { k.ok(k.Complete(k.ctx, stop(p, a))) })
		e := k.posted(ledger.KindSweep)
		k.equal([]any{len(e), e[0].Node}, []any{1, ids.NodeID("a")})
		k.equal(k.cycle(c).Components, map[string]string{"0": "stopped"})
		k.ok(k.Sweep(k.ctx, epoch, e[0], "stopped", "component_stopped", members(p, 0)))
		k.status(c, "d", task.Stopped)
		k.equal(k.node(c, "d").Reason, "component_stopped")
		k.finish(p, c, "x", "y")
		k.ended(c, "completed")
	}},
	{"joins count edges, not nodes", func(k *kit) {
		p, c := k.run("a.x>j a.y>j b>j")
		k.finish(p, c, "a")
		live, dead, failed, err := k.JoinOf(k.ctx, flow, c.Cycle, "j")
		k.ok(err)
		k.equal([]int{live, dead, failed}, []int{2, 0, 0})
		k.status(c, "j", task.Waiting)
		k.finish(p, c, "b")
		k.status(c, "j", task.Ready)
		joins, err := k.Joins(k.ctx, flow, c.Cycle)
		k.ok(err)
		k.equal(joins, map[string]string{"j:live": "3"})
		k.equal(len(k.posted(ledger.KindDecide)), 0)
	}},
	{"edges that are all a node waits for are not counted", func(k *kit) {
		p, c := k.run("a.x>b a.y>b b>j a>j")
		k.finish(p, c, "a")
		k.status(c, "b", task.Ready)
		joins, err := k.Joins(k.ctx, flow, c.Cycle)
		k.ok(err)
		k.equal(joins, map[string]string{"j:live": "1"})
		k.finish(p, c, "b")
		k.status(c, "j", task.Ready)
		joins, err = k.Joins(k.ctx, flow, c.Cycle)
		k.ok(err)
		k.equal(joins, map[string]string{"j:live": "2"})
	}},
	{"edges that are all a node waits for are counted when one is dead", func(k *kit) {
		p, c := k.run("a.x>b a.y>b")
		done := success(p, k.claim(attempt(c, "a", 1)))
		done.Decided = func(i int) ledger.Result { return ledger.Result(i) } // live, dead
		k.ok(k.Complete(k.ctx, done))
		k.status(c, "b", task.Waiting)
		joins, err := k.Joins(k.ctx, flow, c.Cycle)
		k.ok(err)
		k.equal(joins, map[string]string{"b:live": "1", "b:dead": "1"})
		k.equal(len(k.posted(ledger.KindDecide)), 1)
	}},
	{"dead edges are for the leader to decide", func(k *kit) {
		p, c := k.run("a.x>j a.y>j b>j j>z")
		done := success(p, k.claim(attempt(c, "a", 1)))
		done.Decided = func(i int) ledger.Result {
			if i == 1 {
				return ledger.Dead
			}
			return ledger.Live
		}
		k.ok(k.Complete(k.ctx, done))
		k.equal(k.node(c, "a").Dead, "1")
		k.equal(len(k.posted(ledger.KindDecide)), 0)
		k.finish(p, c, "b")
		k.status(c, "j", task.Waiting)
		e := k.posted(ledger.KindDecide)[0]
		k.equal(e.Node, ids.NodeID("j"))
		skip := ledger.Verdict{Reason: "dead", Passes: ledger.Dead, Live: 2, Dead: 1}
		for _, other := range []ledger.Verdict{{Run: true, Live: 3}, {Reason: "dead", Live: 2}, {Reason: "dead", Dead: 1, Live: 1, Failed: 1}} {
			k.unchanged(func() { k.ok(k.Decide(k.ctx, epoch, e, p.Node("j"), other)) }) // read before Redis went back in time
		}
		k.ok(k.Decide(k.ctx, epoch, e, p.Node("j"), skip))
		k.status(c, "j", task.Skipped)
		k.unchanged(func() { k.ok(k.Decide(k.ctx, epoch, e, p.Node("j"), skip)) })
		z := k.posted(ledger.KindDecide)
		k.equal([]any{len(z), z[0].Node}, []any{1, ids.NodeID("z")})
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(c, "completed")
		k.equal(k.cycle(c).Counts, map[task.Status]int64{task.Succeeded: 2, task.Skipped: 2})
	}},
	{"other join rules are decided by the leader", func(k *kit) {
		p, c := k.run("a>j b>j", join("j", plan.AllDone))
		k.finish(p, c, "a", "b")
		k.status(c, "j", task.Waiting)
		e := k.posted(ledger.KindDecide)[0]
		k.ok(k.Decide(k.ctx, epoch, e, p.Node("j"), ledger.Verdict{Run: true, Reason: "all_done", Live: 2}))
		k.status(c, "j", task.Ready)
		k.unchanged(func() {
			k.ok(k.Decide(k.ctx, epoch, e, p.Node("j"), ledger.Verdict{Run: true, Reason: "all_done", Live: 2}))
		})
		k.finish(p, c, "j")
		k.ended(c, "completed")
	}},
	{"a thousand successors are counted in parts", func(k *kit) {
		p, c := k.run(fan(1000))
		k.finish(p, c, "s")
		k.equal(len(k.posted(ledger.KindReady)), 1+256)
		e := k.posted(ledger.KindSpread)[0]
		k.equal(k.node(c, "s").Spread, true)
		next, err := k.SpreadEdges(k.ctx, epoch, e, p.Node("s"), 256, ledger.DeadEdges(""))
		k.ok(err)
		k.equal(next, 384)
		k.unchanged(func() {
			_, err := k.SpreadEdges(k.ctx, epoch, e, p.Node("s"), 256, ledger.DeadEdges(""))
			k.ok(err)
		})
		b := &boss{kit: k, epoch: epoch}
		b.lead()
		k.equal(len(b.queue), 1001)
		k.equal(k.node(c, "s").Spread, false)
	}},
	{"a skipped node's many edges", func(k *kit) {
		p, c := k.run("a>s "+fan(600), onFailure(plan.Continue))
		f := failure(p, k.claim(attempt(c, "a", 1)))
		_, err := k.Fail(k.ctx, f)
		k.ok(err)
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(c, "completed")
		k.equal(k.cycle(c).Counts, map[task.Status]int64{task.Failed: 1, task.Skipped: 601})
	}},
	{"a failed node's many edges", func(k *kit) {
		p, c := k.run(fan(600), onFailure(plan.Continue))
		_, err := k.Fail(k.ctx, failure(p, k.claim(attempt(c, "s", 1))))
		k.ok(err)
		k.equal(len(k.posted(ledger.KindSpread)), 1)
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(c, "completed")
		k.equal(k.cycle(c).Counts[task.Skipped], int64(600))
	}},
	{"fail with retries", func(k *kit) {
		p, c := k.run("a")
		a := k.claim(attempt(c, "a", 1))
		f := failure(p, a)
		f.Retries, f.Delay = 1, time.Hour
		first, err := k.Fail(k.ctx, f)
		k.ok(err)
		now, err := k.Now(k.ctx)
		k.ok(err)
		if d := first.Retry.Sub(now); d < 59*time.Minute || d > 61*time.Minute {
			k.Fatalf("retry in %s", d)
		}
		k.status(c, "a", task.Retrying)
		k.unchanged(func() {
			again, err := k.Fail(k.ctx, f)
			k.ok(err)
			k.equal(again, first)
			k.ok(k.Retry(k.ctx, epoch, a.Attempt)) // not due
			k.refused(request(a.Attempt), ledger.Over)
			k.refused(request(attempt(c, "a", 2)), ledger.Over)
		})
		timers, err := k.Timers(k.ctx, 10)
		k.ok(err)
		k.equal([]any{len(timers), timers[0].Kind, timers[0].Attempt}, []any{1, "retry", a.Attempt})
		k.equal(len(k.posted(ledger.KindTimer)), 1)
		k.wants("retry_later", "", 1)
		k.consistent()
	}},
	{"retry when due, then the budget is used up", func(k *kit) {
		p, c := k.run("a>b")
		f := failure(p, k.claim(attempt(c, "a", 1)))
		f.Retries, f.Delay, f.Error = 1, 0, strings.Repeat("ü", task.MaxErrorBytes)
		_, err := k.Fail(k.ctx, f)
		k.ok(err)
		k.ok(k.Retry(k.ctx, epoch, f.Attempt))
		k.status(c, "a", task.Ready)
		k.unchanged(func() { k.ok(k.Retry(k.ctx, epoch, f.Attempt)) })
		second := k.claim(attempt(c, "a", 2))
		k.equal(second.Retries, 1)
		f.Attempt, f.Token = second.Attempt, second.Token
		last, err := k.Fail(k.ctx, f)
		k.ok(err)
		k.equal(last.Retry.IsZero(), true)
		k.unchanged(func() {
			again, err := k.Fail(k.ctx, f)
			k.ok(err)
			k.equal(again.Retry.IsZero(), true)
		})
		k.status(c, "a", task.Failed)
		k.equal(k.node(c, "a").ErrorClass, "retryable")
		if n := len(k.node(c, "a").Error); n > task.MaxErrorBytes+3 || n < task.MaxErrorBytes-3 {
			k.Fatalf("the error has %d bytes", n)
		}
		k.equal(len(k.posted(ledger.KindAlert)), 1)
		(&boss{kit: k, epoch: epoch}).lead()
		k.status(c, "b", task.Skipped)
		k.ended(c, "failed")
		if e := k.cycle(c).Error; !strings.HasPrefix(e, "a: ü") {
			k.Fatalf("error of the cycle: %.20q", e)
		}
	}},
	{"a failure under continue skips what needs it", func(k *kit) {
		p, c := k.run("a>b b>d x>d x>y", onFailure(plan.Continue), join("d", plan.NoneFailed))
		_, err := k.Fail(k.ctx, failure(p, k.claim(attempt(c, "a", 1))))
		k.ok(err)
		k.finish(p, c, "x", "y")
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(c, "completed")
		k.equal(k.cycle(c).Counts, map[task.Status]int64{task.Failed: 1, task.Skipped: 2, task.Succeeded: 2})
		k.equal(len(k.cycle(c).Components), 0)
	}},
	{"an attempt that was told to end", func(k *kit) {
		p, c := k.run("a>b")
		f := failure(p, k.claim(attempt(c, "a", 1)))
		f.Class = task.Abandoned
		_, err := k.Fail(k.ctx, f) // in an open cycle: a failure, and the cycle does not hang
		k.ok(err)
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(c, "failed")
		_, d := k.plans[1], k.start(k.trigger(p))
		f = failure(p, k.claim(attempt(d, "a", 1)))
		f.Class, f.Retries = task.Abandoned, 5
		_, err = k.CancelCycle(k.ctx, 0, flow, d.Cycle, d.UUID, ledger.CauseCancelled)
		k.ok(err)
		_, err = k.Fail(k.ctx, f)
		k.ok(err)
		k.status(d, "a", task.Cancelled)
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(d, "cancelled")
	}},
	{"results of an ended component are counted, not passed on", func(k *kit) {
		p, c := k.run("a>d b>d e>d g>d")
		b, e, g := k.claim(attempt(c, "b", 1)), k.claim(attempt(c, "e", 1)), k.claim(attempt(c, "g", 1))
		_, err := k.Fail(k.ctx, failure(p, k.claim(attempt(c, "a", 1))))
		k.ok(err)
		(&boss{kit: k, epoch: epoch}).lead()
		k.ok(k.Complete(k.ctx, success(p, b)))
		f := failure(p, e)
		f.Retries = 5
		_, err = k.Fail(k.ctx, f)
		k.ok(err)
		k.status(c, "e", task.Stopped)
		k.is(k.Release(k.ctx, g.Attempt, g.Token, true), ledger.ErrEnding)
		_, err = k.Expire(k.ctx, epoch, expiry(p, g))
		k.ok(err)
		k.status(c, "g", task.Stopped)
		k.ended(c, "failed")
		k.equal(k.cycle(c).Counts, map[task.Status]int64{task.Failed: 1, task.Succeeded: 1, task.Stopped: 2, task.Skipped: 1})
	}},
}
