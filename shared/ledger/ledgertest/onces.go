package ledgertest

import (
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

func doubt(p *plan.Plan, c ledger.Claim) ledger.Doubt {
	return ledger.Doubt{Attempt: c.Attempt, Token: c.Token, Plan: p.Node(c.Attempt.Node), OnFailure: p.OnFailure, Why: "its once-key is another's"}
}

var onces = []testCase{
	{"the holder of a claim ends its node unknown", func(k *kit) {
		for _, policy := range []string{plan.FailCycle, plan.Continue} {
			p := k.activate(build(flow, int64(len(k.plans)+1), "a>b x", atMostOnce("a"), onFailure(policy)))
			c := k.start(k.trigger(p))
			d := doubt(p, k.claim(attempt(c, "a", 1)))
			k.unchanged(func() {
				foreign := d
				foreign.Token = uuid.New()
				k.is(k.EndUnknown(k.ctx, foreign), ledger.ErrNotMine)
				foreign = d
				foreign.N++
				k.is(k.EndUnknown(k.ctx, foreign), ledger.ErrNotMine)
				foreign = d
				foreign.UUID = uuid.New()
				k.is(k.EndUnknown(k.ctx, foreign), ledger.ErrGone)
			})
			k.ok(k.EndUnknown(k.ctx, d))
			k.unchanged(func() {
				k.ok(k.EndUnknown(k.ctx, d))
				k.is(k.Complete(k.ctx, success(p, ledger.Claim{Attempt: d.Attempt, Token: d.Token})), ledger.ErrNotMine)
				k.is(k.Release(k.ctx, d.Attempt, d.Token, false), ledger.ErrNotMine)
				k.refused(request(attempt(c, "a", 2)), ledger.Over)
			})
			k.status(c, "a", task.Unknown)
			k.equal([]string{k.node(c, "a").ErrorClass, k.node(c, "a").Error}, []string{"once", d.Why})
			k.wants("outcome", "unknown: once-key of another", len(k.plans))
			k.equal(len(k.posted(ledger.KindAlert)), 1)
			k.finish(p, c, "x")
			(&boss{kit: k, epoch: epoch}).lead()
			k.status(c, "b", task.Skipped)
			k.ended(c, map[string]string{plan.FailCycle: "failed", plan.Continue: "completed"}[policy])
			k.equal(k.cycle(c).Counts[task.Unknown], int64(1))
		}
		k.quiet()
	}},
	{"a doubt while the cycle ends", func(k *kit) {
		p, c := k.run("a b>d", atMostOnce("a"))
		d := doubt(p, k.claim(attempt(c, "a", 1)))
		_, err := k.CancelCycle(k.ctx, 0, flow, c.Cycle, c.UUID, ledger.CauseCancelled)
		k.ok(err)
		k.ok(k.EndUnknown(k.ctx, d))
		k.unchanged(func() { k.ok(k.EndUnknown(k.ctx, d)) })
		k.status(c, "a", task.Cancelled)
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(c, "cancelled")
		k.quiet()
	}},
	{"an at-most-once node is handed back only if it was not started", func(k *kit) {
		_, c := k.run("a b", atMostOnce("a"))
		a := k.claim(attempt(c, "a", 1))
		k.unchanged(func() { k.is(k.Release(k.ctx, a.Attempt, a.Token, true), ledger.ErrStarted) })
		k.ok(k.Release(k.ctx, a.Attempt, a.Token, false))
		k.equal([]any{k.node(c, "a").Status, k.node(c, "a").Attempt}, []any{task.Ready, 2})
		b := k.claim(attempt(c, "b", 1))
		k.ok(k.Release(k.ctx, b.Attempt, b.Token, true))
		k.equal([]any{k.node(c, "b").Status, k.node(c, "b").Attempt}, []any{task.Ready, 2})
		k.consistent()
	}},
	{"a lost at-most-once node without a once-key is offered again", func(k *kit) {
		p, c := k.run("a>b", atMostOnce("a"))
		for n := 1; n <= 3; n++ {
			x := expiry(p, k.claim(attempt(c, "a", n)))
			x.Unstarted = true
			done, err := k.Expire(k.ctx, epoch, x)
			k.ok(err)
			k.equal(done, true)
			k.unchanged(func() {
				done, err := k.Expire(k.ctx, epoch, x)
				k.ok(err)
				k.equal(done, false)
			})
			if n < 3 {
				k.equal([]any{k.node(c, "a").Status, k.node(c, "a").Attempt}, []any{task.Ready, n + 1})
			}
		}
		k.wants("expire", "worker gone, no once-key", 3)
		k.status(c, "a", task.Failed) // lost too often, as any node
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(c, "failed")
	}},
	{"what a claimed node waits for", func(k *kit) {
		p, c := k.run("a", atMostOnce("a"))
		a := k.claim(attempt(c, "a", 1))
		k.unchanged(func() {
			k.ok(k.Block(k.ctx, a.Attempt, uuid.New(), ledger.BlockedByEtcd))
			gone := a.Attempt
			gone.UUID = uuid.New()
			k.ok(k.Block(k.ctx, gone, a.Token, ledger.BlockedByEtcd))
		})
		k.ok(k.Block(k.ctx, a.Attempt, a.Token, ledger.BlockedByOnceKey))
		k.equal(k.node(c, "a").Blocker, ledger.BlockedByOnceKey)
		k.ok(k.Block(k.ctx, a.Attempt, a.Token, ""))
		k.equal(k.node(c, "a").Blocker, "")
		k.ok(k.Block(k.ctx, a.Attempt, a.Token, ledger.BlockedByEtcd))
		x := expiry(p, a)
		x.Unstarted = true
		_, err := k.Expire(k.ctx, epoch, x)
		k.ok(err)
		k.equal(k.node(c, "a").Blocker, "")
		k.unchanged(func() { k.ok(k.Block(k.ctx, a.Attempt, a.Token, ledger.BlockedByEtcd)) })
		b := k.claim(attempt(c, "a", 2))
		k.ok(k.Block(k.ctx, b.Attempt, b.Token, ledger.BlockedByOnceKey))
		k.ok(k.Complete(k.ctx, success(p, b)))
		k.equal(k.node(c, "a").Blocker, "")
	}},
	{"coordinators announce where they are", func(k *kit) {
		one := ledger.Coordinator{ID: "c1", URL: "http://10.0.0.1:7002/x|y", Host: "h1"}
		two := ledger.Coordinator{ID: "c2", URL: "http://10.0.0.2:7002"}
		for range 2 {
			k.ok(k.BeatCoordinator(k.ctx, two, time.Minute))
			k.ok(k.BeatCoordinator(k.ctx, one, time.Minute))
		}
		found, err := k.Coordinators(k.ctx)
		k.ok(err)
		k.equal(len(found), 2)
		k.ok(k.LeaveCoordinator(k.ctx, two))
		k.ok(k.BeatCoordinator(k.ctx, two, -time.Second)) // its time is over
		found, err = k.Coordinators(k.ctx)
		k.ok(err)
		k.equal(found, []ledger.Coordinator{one})
		k.ok(k.LeaveCoordinator(k.ctx, one))
		found, err = k.Coordinators(k.ctx)
		k.ok(err)
		k.equal(len(found), 0)
	}},
	{"the era of the once-keys", func(k *kit) {
		_, err := k.OnceEra(k.ctx, epoch-1, "old")
		k.equal(ledger.Fenced(err), true)
		first, err := k.OnceEra(k.ctx, epoch, "one")
		k.ok(err)
		now, err := k.Now(k.ctx)
		k.ok(err)
		if d := now.Sub(first); d < 0 || d > time.Minute {
			k.Fatalf("the era began at %s, it is %s", first, now)
		}
		k.unchanged(func() {
			again, err := k.OnceEra(k.ctx, epoch, "one")
			k.ok(err)
			k.equal(again, first)
		})
		other, err := k.OnceEra(k.ctx, epoch, "two")
		k.ok(err)
		if other.Before(first) {
			k.Fatalf("a later era began at %s, before %s", other, first)
		}
		_, c := k.run("a")
		found, err := k.Occasions(k.ctx, flow)
		k.ok(err)
		k.equal(found, map[uuid.UUID]bool{k.cycle(c).Occasion: true})
		found, err = k.Occasions(k.ctx, ids.FlowID("x"))
		k.ok(err)
		k.equal(len(found), 0)
	}},
}
