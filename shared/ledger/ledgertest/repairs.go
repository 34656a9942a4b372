package ledgertest

import (
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// repairs are those that need something lost which no verb loses: each is made
// where nothing is missing, and must then change nothing, and after the loss, if
// a verb can bring about what the loss looks like.
var repairs = []testCase{
	{"what is not lost is not repaired", func(k *kit) {
		p, c := k.run("a h d")
		ready := k.posted(ledger.KindReady)
		k.ok(k.Hold(k.ctx, epoch, ready[1], "type:x", "no_worker"))
		k.ok(k.Dispatched(k.ctx, epoch, ready[2:]))
		k.ok(k.Decline(k.ctx, attempt(c, "d", 1), worker, time.Hour))
		active := ledger.ActiveCycle{Flow: flow, Cycle: c.Cycle, UUID: c.UUID}
		got, err := k.Protections(k.ctx, active, p.Revision, []ledger.NodeState{k.node(c, "a"), k.node(c, "h"), k.node(c, "d")})
		k.ok(err)
		k.equal([]any{got.Kept, got.Offered}, []any{map[ids.NodeID]bool{"h": true}, map[ids.NodeID]bool{"d": true}})
		k.unchanged(func() {
			for _, m := range []struct {
				node         ids.NodeID
				at           int
				status, kind string
			}{{"h", 1, "ready", ledger.MendHeld}, {"a", 1, "ready", ledger.MendHeld}, {"d", 1, "dispatched", ledger.MendDeclined},
				{"a", 1, "ready", ledger.MendDeclined}, {"", 0, "", ledger.MendCycle}, {"h", 1, "ready", ledger.MendOffer}} {
				done, err := k.MendNode(k.ctx, epoch, attempt(c, m.node, m.at), m.status, m.kind, 0)
				k.ok(err)
				k.equal(done, false)
			}
			for _, mend := range []func() (bool, error){
				func() (bool, error) { return k.MendActive(k.ctx, epoch, active) },
				func() (bool, error) { return k.MendClosed(k.ctx, epoch, active) },
				func() (bool, error) { return k.MendFlow(k.ctx, epoch, flow, "7") },
				func() (bool, error) { return k.MendFlow(k.ctx, epoch, flow, "1") },
				func() (bool, error) { return k.MendPurge(k.ctx, epoch, flow) },
			} {
				done, err := mend()
				k.ok(err)
				k.equal(done, false)
			}
		})
	}},
	{"an offer made again is known as such", func(k *kit) {
		_, c := k.run("a")
		k.ok(k.Dispatched(k.ctx, epoch, k.posted(ledger.KindReady)))
		k.equal(k.node(c, "a").Again, false)
		done, err := k.OfferAgain(k.ctx, epoch, attempt(c, "a", 1), "message lost")
		k.ok(err)
		k.equal([]bool{done, k.node(c, "a").Again}, []bool{true, true})
		k.wants("repair", "message", 1)
		done, err = k.OfferAgain(k.ctx, epoch, attempt(c, "a", 1), "queue lost")
		k.ok(err)
		k.equal(done, true)
		k.wants("repair", "message", 2)
		_, err = k.Expire(k.ctx, epoch, expiry(k.plans[1], k.claim(attempt(c, "a", 1))))
		k.ok(err)
		k.equal(k.node(c, "a").Again, false)
	}},
	{"a deadline without a timer", func(k *kit) {
		_, c := k.run("a")
		active := ledger.ActiveCycle{Flow: flow, Cycle: c.Cycle, UUID: c.UUID}
		due := time.UnixMilli(2_000_000_000_000).UTC()
		done, err := k.MendDeadlineOf(k.ctx, epoch, active, due)
		k.ok(err)
		k.equal(done, true)
		k.equal(k.cycle(c).Deadline, due)
		k.unchanged(func() {
			done, err := k.MendDeadlineOf(k.ctx, epoch, active, due)
			k.ok(err)
			k.equal(done, false)
		})
		timers, err := k.Timers(k.ctx, 10)
		k.ok(err)
		k.equal([]any{len(timers), timers[0].Kind, timers[0].Due.UTC()}, []any{1, "deadline", due})
	}},
	{"an end that nobody heard of", func(k *kit) {
		p, c := k.run("a")
		k.finish(p, c, "a")
		active := ledger.ActiveCycle{Flow: flow, Cycle: c.Cycle, UUID: c.UUID}
		closing, err := k.Closing(k.ctx, time.Now().Add(time.Hour))
		k.ok(err)
		k.equal(len(closing), 1)
		k.equal([]any{closing[0].Flow, closing[0].Cycle, closing[0].UUID}, []any{flow, c.Cycle, c.UUID})
		k.ok(k.Drop(k.ctx, epoch, k.posted(ledger.KindClosed)[0].ID)) // the loss
		done, err := k.MendClosed(k.ctx, epoch, active)
		k.ok(err)
		k.equal(done, true)
		k.ok(k.Told(k.ctx, epoch, k.posted(ledger.KindClosed)[0]))
		k.equal(len(k.posted(ledger.KindClosed)), 0)
		k.unchanged(func() {
			done, err := k.MendClosed(k.ctx, epoch, active)
			k.ok(err)
			k.equal(done, false)
		})
		k.wants("repair", "closed", 1)
	}},
	{"ends that are heard together", func(k *kit) {
		p, first := k.run("a")
		k.finish(p, first, "a")
		second := k.start(k.trigger(p))
		k.finish(p, second, "a")
		at := func(c ledger.Started, id uuid.UUID) ids.Attempt {
			return ids.Attempt{Flow: flow, Cycle: c.Cycle, UUID: id}
		}
		got, err := k.CyclesOf(k.ctx, []ids.Attempt{at(second, second.UUID), at(first, uuid.New()), at(first, first.UUID), {Flow: "none", Cycle: 1, UUID: first.UUID}})
		k.ok(err)
		k.equal([]any{len(got), got[0].Cycle, got[0].UUID, got[1].UUID, got[2].Cycle, got[3].UUID},
			[]any{4, second.Cycle, second.UUID, uuid.Nil, first.Cycle, uuid.Nil})
		k.equal(got[2], k.cycle(first))
		k.ok(k.Told(k.ctx, epoch, k.posted(ledger.KindClosed)...))
		k.equal(len(k.posted(ledger.KindClosed)), 0)
		closing, err := k.Closing(k.ctx, time.Now().Add(time.Hour))
		k.ok(err)
		k.equal(len(closing), 0)
	}},
	{"a removal that nobody asks for", func(k *kit) {
		k.run("a")
		_, err := k.DeleteFlow(k.ctx, flow)
		k.ok(err)
		k.ok(k.Drop(k.ctx, epoch, k.posted(ledger.KindPurge)[0].ID)) // the loss
		done, err := k.MendPurge(k.ctx, epoch, flow)
		k.ok(err)
		k.equal([]any{done, len(k.posted(ledger.KindPurge))}, []any{true, 1})
		k.wants("repair", "purge", 1)
	}},
	{"repairs are counted, recoveries are kept", func(k *kit) {
		k.ok(k.NoteRepair(k.ctx, epoch, ids.Attempt{Flow: flow}, "plan", "its plan is lost"))
		k.ok(k.NoteRepair(k.ctx, epoch, ids.Attempt{Flow: flow}, "plan", "its plan is lost"))
		for range 25 {
			k.ok(k.NoteRecovery(k.ctx, "etcd was rebuilt", "2 flows restored", "catalog", 2))
		}
		counts, err := k.Repairs(k.ctx)
		k.ok(err)
		k.equal(counts, map[string]int64{"plan": 2, "catalog": 50})
		all, err := k.Recoveries(k.ctx)
		k.ok(err)
		k.equal([]any{len(all), all[0].What}, []any{20, "etcd was rebuilt: 2 flows restored"})
		if d := time.Since(all[0].At); d < -time.Minute || d > time.Minute {
			k.Fatalf("noted at %s", all[0].At)
		}
		k.wants("recovery", "etcd was rebuilt: 2 flows restored", 25)
	}},
	{"heads of flows", func(k *kit) {
		p, c := k.run("a")
		slot := time.UnixMilli(1_700_000_000_000).UTC()
		k.ok(k.SkipSlots(k.ctx, epoch, flow, p.UID, time.Time{}, slot, slot, 1, "missed"))
		heads, err := k.FlowHeads(k.ctx, []ids.FlowID{"nowhere", flow})
		k.ok(err)
		k.equal(heads, []ledger.FlowHead{{}, {Status: "active", UID: p.UID, Revision: 1, Anchor: k.state().Anchor, LastSlot: slot, LastCycle: c.Cycle}})
		if heads, err := k.FlowHeads(k.ctx, nil); err != nil || len(heads) > 0 {
			k.Fatalf("of none: %v, %v", heads, err)
		}
	}},
	{"flows at a look", func(k *kit) {
		p, _ := k.run("a>b c")
		looks, listed, err := k.LookAtFlows(k.ctx, map[ids.FlowID]int64{flow: 1, "nowhere": 1})
		k.ok(err)
		k.equal(listed, map[ids.FlowID]bool{flow: true})
		k.equal(looks, map[ids.FlowID]ledger.FlowLook{"nowhere": {},
			flow: {Known: true, Status: "active", UID: p.UID, Revision: 1, Active: "1", Config: true, Plan: ledger.PlanFields(p)}})
	}},
}
