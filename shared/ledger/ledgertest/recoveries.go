package ledgertest

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

var recoveries = []testCase{
	{"expire happens once and names its claim", func(k *kit) {
		p, c := k.run("a>b")
		a := k.claim(attempt(c, "a", 1))
		k.unchanged(func() {
			foreign := expiry(p, a)
			foreign.Token = uuid.New()
			done, err := k.Expire(k.ctx, epoch, foreign)
			k.ok(err)
			k.equal(done, false)
			early := expiry(p, a) // the lease was renewed since the leader looked
			early.Cause = ledger.LeaseOver
			done, err = k.Expire(k.ctx, epoch, early)
			k.ok(err)
			k.equal(done, false)
		})
		done, err := k.Expire(k.ctx, epoch, expiry(p, a))
		k.ok(err)
		k.equal(done, true)
		k.equal([]any{k.node(c, "a").Attempt, k.node(c, "a").Lost, k.node(c, "a").Status}, []any{2, 1, task.Ready})
		k.unchanged(func() {
			done, err := k.Expire(k.ctx, epoch, expiry(p, a))
			k.ok(err)
			k.equal(done, false)
		})
		b := k.claim(attempt(c, "a", 2))
		k.unchanged(func() {
			done, err := k.Expire(k.ctx, epoch, expiry(p, a))
			k.ok(err)
			k.equal(done, false)
		})
		k.ok(k.Complete(k.ctx, success(p, b)))
		k.unchanged(func() {
			_, err := k.Expire(k.ctx, epoch, expiry(p, b))
			k.ok(err)
		})
		k.wants("expire", "worker gone", 1)
		k.wants("ready", "lost", 1)
	}},
	{"a node lost too often fails", func(k *kit) {
		p, c := k.run("a>b")
		for n := 1; n <= 3; n++ {
			_, err := k.Expire(k.ctx, epoch, expiry(p, k.claim(attempt(c, "a", n))))
			k.ok(err)
		}
		k.status(c, "a", task.Failed)
		k.equal(k.node(c, "a").ErrorClass, "lost")
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(c, "failed")
		k.quiet()
	}},
	{"at most once ends unknown", func(k *kit) {
		for _, policy := range []string{plan.FailCycle, plan.Continue} {
			p := k.activate(build(flow, int64(len(k.plans)+1), "a>b x", atMostOnce("a"), onFailure(policy)))
			c := k.start(k.trigger(p))
			x := expiry(p, k.claim(attempt(c, "a", 1)))
			_, err := k.Expire(k.ctx, epoch, x)
			k.ok(err)
			k.status(c, "a", task.Unknown)
			k.refused(request(attempt(c, "a", 2)), ledger.Over)
			k.unchanged(func() {
				done, err := k.Expire(k.ctx, epoch, x)
				k.ok(err)
				k.equal(done, false)
			})
			k.finish(p, c, "x")
			(&boss{kit: k, epoch: epoch}).lead()
			k.status(c, "b", task.Skipped)
			if policy == plan.Continue {
				k.ended(c, "completed")
			} else {
				k.ended(c, "failed")
			}
		}
	}},
	{"the lease of a gone cycle is removed", func(k *kit) {
		p, c := k.run("a")
		x := expiry(p, k.claim(attempt(c, "a", 1)))
		_, err := k.DeleteFlow(k.ctx, flow)
		k.ok(err)
		k.ok(k.remove(epoch, c.Cycle, nil)) // a plan that is lost: node records stay
		leases, err := k.Leases(k.ctx)
		k.ok(err)
		k.equal(len(leases), 1)
		_, err = k.Expire(k.ctx, epoch, x)
		k.ok(err)
		leases, err = k.Leases(k.ctx)
		k.ok(err)
		k.equal(len(leases), 0)
	}},
	{"retry of a cancelled cycle", func(k *kit) {
		p, c := k.run("a b")
		f := failure(p, k.claim(attempt(c, "a", 1)))
		f.Retries = 1
		_, err := k.Fail(k.ctx, f)
		k.ok(err)
		_, err = k.CancelCycle(k.ctx, 0, flow, c.Cycle, uuid.Nil, ledger.CauseCancelled)
		k.ok(err)
		k.ok(k.Retry(k.ctx, epoch, f.Attempt))
		k.status(c, "a", task.Retrying)
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(c, "cancelled")
		k.quiet()
	}},
	{"mend a node", func(k *kit) {
		p, c := k.run("a>j b>j e h")
		mend := func(n ids.NodeID, at int, seen, repair string) bool {
			done, err := k.MendNode(k.ctx, epoch, attempt(c, n, at), seen, repair, lease)
			k.ok(err)
			return done
		}
		k.unchanged(func() {
			k.equal(mend("a", 1, "dispatched", ledger.MendOffer), false)
			k.equal(mend("a", 2, "ready", ledger.MendOffer), false)
			k.equal(mend("a", 1, "ready", ledger.MendReady), false) // would begin anew
			k.equal(mend("a", 1, "ready", ledger.MendLease), false)
			k.equal(mend("", 0, "", ledger.MendSpread), false)
		})
		k.equal(mend("a", 1, "ready", ledger.MendOffer), true)
		k.claim(attempt(c, "b", 1))
		k.unchanged(func() { k.equal(mend("b", 1, "running", ledger.MendLease), false) })
		f := failure(p, k.claim(attempt(c, "e", 1)))
		f.Retries, f.Delay = 1, time.Hour
		_, err := k.Fail(k.ctx, f)
		k.ok(err)
		k.unchanged(func() { k.equal(mend("e", 1, "retrying", ledger.MendTimer), false) })
		k.equal(mend("j", 0, "", ledger.MendDecide), true)
		k.equal(mend("j", 0, "", ledger.MendReady), true)
		k.unchanged(func() { k.equal(mend("j", 0, "", ledger.MendReady), false) })
		k.ok(k.Hold(k.ctx, epoch, k.posted(ledger.KindReady)[0], "type:x", "no worker"))
		k.wants("repair", "", 3)
		got, err := k.Protections(k.ctx, ledger.ActiveCycle{Flow: flow, Cycle: c.Cycle, UUID: c.UUID}, 1,
			[]ledger.NodeState{k.node(c, "a"), k.node(c, "b"), k.node(c, "e")})
		k.ok(err)
		k.equal([]any{got.Leased, got.Retried, got.Listed, got.Deadline}, []any{map[ids.NodeID]bool{"b": true}, map[ids.NodeID]bool{"e": true}, true, false})
		k.equal(got.Plan, ledger.PlanFields(p))
	}},
	{"a blocked node is not offered by a mend", func(k *kit) {
		_, c := k.run("a")
		k.ok(k.Hold(k.ctx, epoch, k.posted(ledger.KindReady)[0], "type:x", "no worker"))
		k.unchanged(func() {
			done, err := k.MendNode(k.ctx, epoch, attempt(c, "a", 1), "ready", ledger.MendOffer, 0)
			k.ok(err)
			k.equal(done, false)
		})
	}},
	{"mend a spread whose entry is lost", func(k *kit) {
		p, c := k.run("s>x " + strings.ReplaceAll(wide(300), "n", "e") + fan(300))
		e := k.posted(ledger.KindSpread)[0]
		k.ok(k.Drop(k.ctx, epoch, e.ID))
		done, err := k.MendNode(k.ctx, epoch, attempt(c, "", 0), "", ledger.MendSpread, 0)
		k.ok(err)
		k.equal(done, true)
		k.equal(len(k.posted(ledger.KindSpread)), 1)
		k.finish(p, c, "s")
		k.ok(k.Drop(k.ctx, epoch, k.posted(ledger.KindSpread)[1].ID))
		done, err = k.MendNode(k.ctx, epoch, attempt(c, "s", 1), "succeeded", ledger.MendSpread, 0)
		k.ok(err)
		k.equal(done, true)
		b := &boss{kit: k, epoch: epoch}
		b.lead()
		k.equal(len(b.queue), 1+300+301)
	}},
	{"mend counters", func(k *kit) {
		p, c := k.run("a>j b>j x")
		k.finish(p, c, "a")
		active := ledger.ActiveCycle{Flow: flow, Cycle: c.Cycle, UUID: c.UUID}
		k.unchanged(func() {
			done, err := k.MendCounts(k.ctx, epoch, active, 7, map[string]int{"completed_nodes": 1}, nil)
			k.ok(err)
			k.equal(done, false)
		})
		done, err := k.MendCounts(k.ctx, epoch, active, 1, map[string]int{"completed_nodes": 2}, []ledger.JoinFix{
			{Field: "j:live", Seen: "1", Right: 2}, {Field: "j:dead", Seen: "5", Right: 4}, {Field: "j:failed", Seen: "", Right: 1}})
		k.ok(err)
		k.equal(done, true)
		live, dead, failed, err := k.JoinOf(k.ctx, flow, c.Cycle, "j")
		k.ok(err)
		k.equal([]int{live, dead, failed}, []int{2, 0, 1})
		k.equal(k.cycle(c).Completed, int64(2))
		k.wants("repair", "counts", 1)
		// counters that are right again end a cycle whose end was missed
		done, err = k.MendCounts(k.ctx, epoch, active, 2, map[string]int{"completed_nodes": 4, "succeeded_nodes": 4}, nil)
		k.ok(err)
		k.equal(done, true)
		k.equal(k.cycle(c).Status, "completed")
		k.unchanged(func() {
			done, err := k.MendCounts(k.ctx, epoch, active, 4, map[string]int{"completed_nodes": 1}, nil)
			k.ok(err)
			k.equal(done, false)
		})
	}},
}
