package ledgertest

import (
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
)

var endings = []testCase{
	{"cycles that end together", func(k *kit) {
		p, one := k.run("a")
		two := k.start(k.trigger(p))
		done := []completion{{Completion: success(p, k.claim(attempt(one, "a", 1)))}, {Completion: success(p, k.claim(attempt(two, "a", 1)))}}
		for _, got := range completeAll(k.ctx, k.Ledger, done) {
			k.ok(got.Err)
		}
		k.ended(one, "completed")
		k.ended(two, "completed")
		all := k.journal()
		for i, r := range all[:len(all)-1] { // an audit can tell a lost end by that
			if next := all[i+1]; r.Op == "outcome" && (next.Op != "cycle_end" || next.UUID != r.UUID) {
				k.Errorf("the last outcome of cycle %d is followed by %s of cycle %d", r.Cycle, next.Op, next.Cycle)
			}
		}
		k.equal(all[len(all)-1].Op, "cycle_end")
	}},
	{"cancel", func(k *kit) {
		p, c := k.run("a>b x>y z")
		a := k.claim(attempt(c, "a", 1))
		k.finish(p, c, "z")
		k.unchanged(func() {
			_, err := k.CancelCycle(k.ctx, 0, flow, 9, uuid.Nil, ledger.CauseCancelled)
			k.is(err, ledger.ErrGone)
			_, err = k.CancelCycle(k.ctx, 0, flow, c.Cycle, uuid.New(), ledger.CauseCancelled)
			k.is(err, ledger.ErrGone)
		})
		was, err := k.CancelCycle(k.ctx, 0, flow, c.Cycle, c.UUID, ledger.CauseCancelled)
		k.ok(err)
		k.equal(was, "running")
		k.unchanged(func() {
			was, err := k.CancelCycle(k.ctx, 0, flow, c.Cycle, c.UUID, ledger.CauseCancelled)
			k.ok(err)
			k.equal(was, "cancelling")
		})
		b := &boss{kit: k, epoch: epoch}
		b.lead()
		k.equal(k.cycle(c).Status, "cancelling") // a still runs
		k.status(c, "a", task.Running)
		k.ok(k.Complete(k.ctx, success(p, a)))
		k.ended(c, "cancelled")
		k.equal(k.cycle(c).Counts, map[task.Status]int64{task.Succeeded: 2, task.Cancelled: 3})
		k.wants("cycle_cancel", "cancelled", 1)
		k.unchanged(func() {
			was, err := k.CancelCycle(k.ctx, 0, flow, c.Cycle, c.UUID, ledger.CauseCancelled)
			k.ok(err)
			k.equal(was, "cancelled")
		})
		b.lead()
		k.quiet()
	}},
	{"timeout", func(k *kit) {
		p := k.activate(build(flow, 1, "a>b", timeout(time.Hour)))
		c := k.start(k.trigger(p))
		timers, err := k.Timers(k.ctx, 10)
		k.ok(err)
		k.equal([]any{len(timers), timers[0].Kind, timers[0].UUID}, []any{1, "deadline", c.UUID})
		k.equal(timers[0].Due, k.cycle(c).Deadline)
		k.unchanged(func() {
			was, err := k.CancelCycle(k.ctx, epoch, flow, c.Cycle, c.UUID, ledger.CauseTimeout)
			k.ok(err)
			k.equal(was, "")
		})
		k.finish(p, c, "a", "b")
		k.ended(c, "completed")
		k.untimed()
		(&boss{kit: k, epoch: epoch}).lead()
		k.quiet()

		two := k.activate(build(flow, 2, "a>b", timeout(time.Millisecond)))
		d := k.start(k.trigger(two))
		poll(k, func() bool {
			was, err := k.CancelCycle(k.ctx, epoch, flow, d.Cycle, d.UUID, ledger.CauseTimeout)
			k.ok(err)
			return was == "running"
		})
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(d, "timeout")
		k.equal(k.cycle(d).Error, "cycle_timeout passed")
		k.quiet()
	}},
	{"the end takes the deadline away, also of cycles that end together", func(k *kit) {
		p := k.activate(build(flow, 1, "a b", timeout(time.Hour)))
		c := k.start(k.trigger(p))
		var done []completion
		for _, n := range []ids.NodeID{"a", "b"} {
			done = append(done, completion{success(p, k.claim(attempt(c, n, 1))), wish()})
		}
		for _, d := range completeAll(k.ctx, k.Ledger, done) {
			k.ok(d.Err)
		}
		k.ended(c, "completed")
		k.untimed()
	}},
	{"a wide cycle is cancelled in parts by two leaders", func(k *kit) {
		p, c := k.run(wide(700))
		_, err := k.CancelCycle(k.ctx, epoch, flow, c.Cycle, c.UUID, ledger.CauseCancelled)
		k.ok(err)
		e := k.posted(ledger.KindSweep)[0]
		half := e
		half.ID = ""
		k.ok(k.Sweep(k.ctx, epoch, half, "cancelled", "cancelled", wideNodes(700)[:300])) // then the first leader dies
		_, err = k.Takeover(k.ctx, epoch+1)
		k.ok(err)
		k.unchanged(func() { k.fenced(k.Sweep(k.ctx, epoch, e, "cancelled", "cancelled", members(p, -1))) })
		(&boss{kit: k, epoch: epoch + 1}).lead()
		k.ended(c, "cancelled")
		k.equal(k.cycle(c).Counts[task.Cancelled], int64(700))
		k.unchanged(func() { k.ok(k.Sweep(k.ctx, epoch+1, e, "cancelled", "cancelled", members(p, -1))) })
	}},
	{"a sweep whose reason is gone changes nothing", func(k *kit) { // Redis went back in time since the leader looked
		p, c := k.run("a>b")
		e := ledger.Entry{ID: "1-1", Attempt: attempt(c, "a", 0)}
		k.unchanged(func() {
			k.ok(k.Sweep(k.ctx, epoch, e, "skipped", upstream, members(p, -1)))
			e.Node = ledger.EndMark(0)
			k.ok(k.Sweep(k.ctx, epoch, e, "skipped", upstream, members(p, -1)))
			e.Node = ""
			k.ok(k.Sweep(k.ctx, epoch, e, "skipped", upstream, members(p, -1)))
			k.ok(k.Sweep(k.ctx, epoch, e, "cancelled", "cancelled", members(p, -1)))
		})
		k.finish(p, c, "a") // an end, but none that ends others
		k.unchanged(func() {
			e.Node = "a"
			k.ok(k.Sweep(k.ctx, epoch, e, "skipped", upstream, members(p, -1)))
		})
		k.finish(p, c, "b")
		k.ended(c, "completed")
	}},
	{"two failures in a cycle end it once", func(k *kit) {
		p, c := k.run("a>b x>y")
		for _, n := range []ids.NodeID{"a", "x"} {
			_, err := k.Fail(k.ctx, failure(p, k.claim(attempt(c, n, 1))))
			k.ok(err)
		}
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(c, "failed")
		k.equal(k.state().Ended, map[string]int64{"failed": 1})
	}},
	{"many cycles at once", func(k *kit) {
		p := k.activate(build(flow, 1, "a>b"))
		var all []ledger.Started
		for range 5 {
			all = append(all, k.start(k.trigger(p)))
		}
		k.equal(k.state().Active, int64(5))
		for i, c := range all {
			k.finish(p, c, "a", "b")
			k.ended(c, "completed")
			k.equal(k.state().Active, int64(4-i))
		}
		got, err := k.Cycles(k.ctx, flow, 2, 5)
		k.ok(err)
		k.equal([]any{len(got), got[0].Cycle, got[1].Cycle}, []any{2, int64(4), int64(3)})
	}},
}

// untimed demands that no timer is set.
func (k *kit) untimed() {
	k.Helper()
	timers, err := k.Timers(k.ctx, 10)
	k.ok(err)
	k.equal(len(timers), 0)
}
