package ledgertest

import (
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
)

var flows = []testCase{
	{"activate a new, the same, a changed and an old revision", func(k *kit) {
		one, two := build(flow, 1, "a"), build(flow, 2, "a>b")
		k.is(k.ActivateFlow(k.ctx, activation(one)), ledger.ErrNoPlan)
		k.activate(one)
		k.equal(k.state().Status, "active")
		k.equal(k.state().Plans, []int64{1})
		k.unchanged(func() { k.ok(k.ActivateFlow(k.ctx, activation(one))) })
		k.activate(two)
		k.equal(k.state().Revision, int64(2))
		k.equal(k.state().Plans, []int64{2}) // nothing ran on 1
		_, err := k.ReadPlan(k.ctx, flow, 1)
		k.is(err, ledger.ErrGone)
		k.unchanged(func() { k.is(k.ActivateFlow(k.ctx, activation(one)), ledger.ErrStale) })
		k.wants("flow_activated", "", 2)
		all, err := k.FlowIDs(k.ctx)
		k.ok(err)
		k.equal(all, []ids.FlowID{flow})
	}},
	{"slots that a replaced schedule left behind", func(k *kit) {
		one, two := k.activate(build(flow, 1, "a")), build(flow, 2, "a")
		k.finish(one, k.start(slot(one, 3000)), "a")
		k.ok(k.WritePlan(k.ctx, two))
		a := activation(two)
		a.Left = []ledger.Run{{First: time.UnixMilli(4000), Last: time.UnixMilli(6000), Count: 3, Reason: "replaced"},
			{First: time.UnixMilli(7500), Last: time.UnixMilli(7500), Count: 1, Reason: "replaced"}}
		k.unchanged(func() {
			for _, since := range []time.Time{{}, time.UnixMilli(2000), time.UnixMilli(4000)} {
				a.Since = since
				k.is(k.ActivateFlow(k.ctx, a), ledger.ErrAccounted)
			}
		})
		a.Since = time.UnixMilli(3000)
		k.ok(k.ActivateFlow(k.ctx, a))
		k.equal(k.state().SlotsSkipped, map[string]int64{"replaced": 4})
		k.equal(k.state().LastSlot.UnixMilli(), int64(7500))
		k.equal(k.state().Revision, int64(2))
		k.wants("slot_skipped", "4000 6000 3 replaced", 1)
		k.wants("slot_skipped", "7500 7500 1 replaced", 1)
		k.unchanged(func() { k.ok(k.ActivateFlow(k.ctx, a)) }) // active already
	}},
	{"a plan stays while a cycle runs on it", func(k *kit) {
		one, c := k.run("a")
		k.activate(build(flow, 2, "a"))
		k.equal(len(k.state().Plans), 2)
		k.finish(one, c, "a")
		_, err := k.ReadPlan(k.ctx, flow, 1)
		k.ok(err)
		k.ok(k.archive(epoch, k.cycle(c), members(one, -1)))
		k.equal(k.state().Plans, []int64{2})
	}},
	{"activate paused", func(k *kit) {
		p := build(flow, 1, "a")
		k.ok(k.WritePlan(k.ctx, p))
		a := activation(p)
		a.Paused = true
		k.ok(k.ActivateFlow(k.ctx, a))
		k.equal(k.state().Status, "paused")
		a.Paused = false
		k.ok(k.ActivateFlow(k.ctx, a))
		k.equal(k.state().Status, "paused") // only resume ends a pause
	}},
	{"a deleted flow is not activated, another incarnation after the purge is", func(k *kit) {
		p, _ := k.run("a")
		other := build(flow, 1, "a", uid(uuid.New()))
		k.ok(k.WritePlan(k.ctx, p))
		k.unchanged(func() { k.is(k.ActivateFlow(k.ctx, activation(other)), ledger.ErrDeleting) })
		changed, err := k.DeleteFlow(k.ctx, flow)
		k.ok(err)
		k.equal(changed, true)
		again, err := k.DeleteFlow(k.ctx, flow) // asks the leader once more, in case the first entry was lost
		k.ok(err)
		k.equal(again, false)
		k.unchanged(func() {
			k.is(k.ActivateFlow(k.ctx, activation(p)), ledger.ErrDeleting)
			_, err := k.PauseFlow(k.ctx, flow)
			k.is(err, ledger.ErrGone)
			_, err = k.ResumeFlow(k.ctx, flow)
			k.is(err, ledger.ErrGone)
		})
		k.ok(k.WritePlan(k.ctx, other)) // written too early: the purge takes it along
		(&boss{kit: k, epoch: epoch}).lead()
		k.is(k.ActivateFlow(k.ctx, activation(other)), ledger.ErrNoPlan)
		k.activate(other)
		k.equal(k.state().UID, other.UID)
	}},
	{"unknown flows", func(k *kit) {
		k.unchanged(func() {
			for _, call := range []func() (bool, error){
				func() (bool, error) { return k.PauseFlow(k.ctx, "x") },
				func() (bool, error) { return k.ResumeFlow(k.ctx, "x") },
				func() (bool, error) { return k.DeleteFlow(k.ctx, "x") },
			} {
				_, err := call()
				k.is(err, ledger.ErrGone)
			}
			_, err := k.Flow(k.ctx, "x")
			k.is(err, ledger.ErrGone)
		})
	}},
	{"pause holds claims, resume releases them", func(k *kit) {
		p, c := k.run("a b c")
		k.claim(attempt(c, "a", 1))
		for _, want := range []bool{true, false} {
			changed, err := k.PauseFlow(k.ctx, flow)
			k.ok(err)
			k.equal(changed, want)
		}
		offers := k.posted(ledger.KindReady)
		k.refused(request(attempt(c, "b", 1)), ledger.Held)
		k.refused(request(attempt(c, "b", 1)), ledger.Held) // redelivered
		k.ok(k.Dispatched(k.ctx, epoch, offers))            // the confirm comes after the refusal
		k.status(c, "b", task.Ready)
		k.refused(request(attempt(c, "c", 1)), ledger.Held) // was dispatched
		k.equal(k.node(c, "b").Blocker, "paused")
		_, err := k.StartCycle(k.ctx, epoch, k.trigger(p))
		k.is(err, ledger.ErrPaused)
		for _, want := range []bool{true, false} {
			changed, err := k.ResumeFlow(k.ctx, flow)
			k.ok(err)
			k.equal(changed, want)
		}
		k.equal(len(k.posted(ledger.KindRelease)), 1)
		b := &boss{kit: k, epoch: epoch}
		b.lead()
		k.equal(len(b.queue), 2)
		for _, n := range []ids.NodeID{"b", "c"} {
			k.status(c, n, task.Dispatched)
			k.equal(k.node(c, n).Blocker, "")
			k.finish(p, c, n)
		}
	}},
	{"held and cancelled", func(k *kit) {
		_, c := k.run("a b>d")
		_, err := k.PauseFlow(k.ctx, flow)
		k.ok(err)
		k.refused(request(attempt(c, "a", 1)), ledger.Held)
		_, err = k.CancelCycle(k.ctx, 0, flow, c.Cycle, uuid.Nil, ledger.CauseCancelled)
		k.ok(err)
		b := &boss{kit: k, epoch: epoch}
		b.lead()
		k.ended(c, "cancelled")
		k.quiet()
		_, err = k.ResumeFlow(k.ctx, flow)
		k.ok(err)
		k.unchanged(func() { k.refused(request(attempt(c, "a", 1)), ledger.Over) })
	}},
	{"hold for a worker type", func(k *kit) {
		p, c := k.run("a b")
		what := ledger.HeldByType("default", "noop")
		for _, e := range k.posted(ledger.KindReady) {
			k.ok(k.Hold(k.ctx, epoch, e, what, "no worker"))
		}
		k.equal(len(k.outbox()), 0)
		k.equal(k.node(c, "a").Blocker, "no worker")
		holds, err := k.Holds(k.ctx)
		k.ok(err)
		k.equal(holds, []string{what})
		k.finish(p, c, "b") // an old message of it reached a worker
		n, err := k.ReleaseHeld(k.ctx, epoch, what, "")
		k.ok(err)
		k.equal(n, int64(1))
		k.equal(len(k.posted(ledger.KindReady)), 1)
		k.unchanged(func() {
			n, err := k.ReleaseHeld(k.ctx, epoch, what, "")
			k.ok(err)
			k.equal(n, int64(0))
		})
		holds, err = k.Holds(k.ctx)
		k.ok(err)
		k.equal(len(holds), 0)
		k.finish(p, c, "a")
		k.ended(c, "completed")
		// an offer of a node that is over is not held
		k.unchanged(func() {
			k.ok(k.Hold(k.ctx, epoch, ledger.Entry{ID: "1-1", Attempt: attempt(c, "a", 1)}, what, "no worker"))
		})
	}},
	{"what a hold did with the entry is journalled once", func(k *kit) {
		p, c := k.run("a b")
		all := k.posted(ledger.KindReady)
		k.ok(k.Hold(k.ctx, epoch, all[0], "type:x", "no worker"))
		k.ok(k.Hold(k.ctx, epoch, all[0], "type:x", "no worker"))
		k.wants("held", "no worker", 2)
		k.wants("held", "no worker, again", 1)
		k.finish(p, c, "b")
		k.ok(k.Hold(k.ctx, epoch, all[1], "type:x", "no worker"))
		k.wants("dropped", "no worker", 1)
		k.ok(k.Hold(k.ctx, epoch, all[1], "type:x", "no worker"))
		k.wants("dropped", "no worker", 1)
		k.equal(len(k.posted(ledger.KindReady)), 0)
	}},
	{"a held node offered again leaves its set", func(k *kit) {
		_, c := k.run("a")
		k.ok(k.Hold(k.ctx, epoch, k.posted(ledger.KindReady)[0], "type:x", "no worker"))
		done, err := k.OfferAgain(k.ctx, epoch, attempt(c, "a", 1), "audit")
		k.ok(err)
		k.equal(done, true)
		n, err := k.ReleaseHeld(k.ctx, epoch, "type:x", "")
		k.ok(err)
		k.equal(n, int64(0))
		k.equal(len(k.posted(ledger.KindReady)), 1)
	}},
	{"release in parts", func(k *kit) {
		_, c := k.run(wide(600))
		(&boss{kit: k, epoch: epoch}).lead()
		_, err := k.PauseFlow(k.ctx, flow)
		k.ok(err)
		for _, n := range wideNodes(600) {
			k.refused(request(attempt(c, n, 1)), ledger.Held)
		}
		_, err = k.ResumeFlow(k.ctx, flow)
		k.ok(err)
		n, err := k.ReleaseFlow(k.ctx, epoch, flow, k.posted(ledger.KindRelease)[0].ID)
		k.ok(err)
		k.equal(n, int64(600))
		k.equal(len(k.posted(ledger.KindRelease)), 0)
		k.equal(len(k.posted(ledger.KindReady)), 600)
	}},
	{"worker records", func(k *kit) {
		w := ledger.Worker{ID: worker, Pool: "gpu", Types: []string{"a", "b"}, Concurrency: 4, Pack: 16, Busy: 1, Version: "1", Health: "h:1", StartedAt: time.UnixMilli(5).UTC()}
		k.ok(k.BeatWorker(k.ctx, w, time.Minute))
		k.ok(k.BeatWorker(k.ctx, ledger.Worker{ID: "w2", Pool: "p"}, 50*time.Millisecond))
		got, err := k.Worker(k.ctx, worker)
		k.ok(err)
		k.equal(got.Health, "h:1")
		var all []ledger.Worker
		poll(k, func() bool { all, err = k.Workers(k.ctx); return err != nil || len(all) < 2 })
		k.ok(err)
		k.equal(len(all), 1)
		if all[0].LastBeat.IsZero() {
			k.Fatal("the beat has no time")
		}
		all[0].LastBeat = time.Time{}
		k.equal(all[0], w)
		k.ok(k.LeaveWorker(k.ctx, worker))
		k.ok(k.LeaveWorker(k.ctx, worker))
		k.ok(k.LeaveWorker(k.ctx, "w2"))
		_, err = k.Worker(k.ctx, worker)
		k.is(err, ledger.ErrGone)
		for key := range k.dump() {
			if key == k.Prefix()+":workers" || key == k.Prefix()+":worker:"+string(worker) {
				k.Fatalf("%s is left", key)
			}
		}
	}},
}

// poll waits until a condition holds.
func poll(k *kit, holds func() bool) {
	k.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			k.Fatal("waited 10 s in vain")
		}
	}
}
