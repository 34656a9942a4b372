package ledgertest

import (
	"context"
	"github.com/google/go-cmp/cmp"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

var chains = []testCase{
	{"chain of three", func(k *kit) {
		p, c := k.run("a>b b>c")
		b := &boss{kit: k, epoch: epoch}
		for _, n := range []ids.NodeID{"a", "b", "c"} {
			k.status(c, n, task.Ready)
			b.lead()
			k.status(c, n, task.Dispatched)
			a := b.queue[len(b.queue)-1]
			k.equal(a, attempt(c, n, 1))
			got := k.claim(a)
			k.status(c, n, task.Running)
			k.equal(got.Node.ID, n)
			k.equal(string(got.Node.Parameters), `{"k":1}`)
			k.ok(k.Complete(k.ctx, success(p, got)))
			k.status(c, n, task.Succeeded)
		}
		if got := k.posted(ledger.KindClosed); len(got) != 1 || got[0].UUID != c.UUID {
			k.Fatalf("closed entries: %v", got)
		}
		k.ended(c, "completed")
		b.lead()
		k.quiet()
		k.wants("cycle_end", "completed", 1)
		k.wants("dispatch", "", 3)
		k.wants("claim", "", 3)
		k.equal(k.state().Ended["completed"], int64(1))
	}},
	{"a plan is read as it was written", func(k *kit) {
		p := build(flow, 7, wide(1200)+" a.x>j a.y>j b>j", join("j", plan.AllDone), atMostOnce("b"), timeout(time.Minute), onFailure(plan.Continue))
		k.ok(k.WritePlan(k.ctx, p))
		k.ok(k.WritePlan(k.ctx, p))
		got, err := k.ReadPlan(k.ctx, flow, 7)
		k.ok(err)
		k.equal(cmp.Equal(got.Header(), p.Header()), true)
		k.equal(got.Nodes, p.Nodes)
		_, err = k.ReadPlan(k.ctx, flow, 8)
		k.is(err, ledger.ErrGone)
	}},
	{"the outbox can be waited for", func(k *kit) {
		none, err := k.WaitOutbox(k.ctx, "", 10, 10*time.Millisecond)
		k.ok(err)
		k.equal(len(none), 0)
		got := make(chan []ledger.Entry, 1)
		go func() {
			all, err := k.WaitOutbox(k.ctx, "", 10, 10*time.Second)
			if err != nil {
				k.Error(err)
			}
			got <- all
		}()
		_, c := k.run("a")
		first := <-got
		k.equal(first[0].Attempt, attempt(c, "a", 1))
		k.equal(first[0].Kind, ledger.KindReady)
		rest, err := k.Outbox(k.ctx, first[0].ID, 10)
		k.ok(err)
		k.equal(len(rest), 0)
		k.ok(k.Drop(k.ctx, epoch, first[0].ID))
		k.equal(len(k.outbox()), 0)
	}},
	{"waiting for the outbox ends with its context", func(k *kit) {
		ctx, cancel := context.WithCancel(k.ctx)
		done := make(chan error, 1)
		go func() {
			_, err := k.WaitOutbox(ctx, "", 10, time.Hour)
			done <- err
		}()
		cancel()
		select {
		case <-done:
		case <-time.After(time.Minute):
			k.Fatal("it waits on")
		}
		none, err := k.WaitOutbox(k.ctx, "", 10, 10*time.Millisecond) // and can be called again
		k.ok(err)
		k.equal(len(none), 0)
	}},
	{"what is dispatched leaves what others posted before, between and after", func(k *kit) {
		k.run(wide(6))
		all := k.outbox()
		k.equal(len(all), 6)
		left := func(of ...int) {
			k.Helper()
			var want []ledger.Entry
			for _, i := range of {
				want = append(want, all[i])
			}
			k.equal(k.outbox(), append([]ledger.Entry{}, want...))
		}
		k.ok(k.Dispatched(k.ctx, epoch, []ledger.Entry{all[3], all[1]}))
		left(0, 2, 4, 5)
		k.ok(k.Dispatched(k.ctx, epoch, []ledger.Entry{all[2], all[0]})) // the oldest, and no others
		left(4, 5)
		k.ok(k.Dispatched(k.ctx, epoch, []ledger.Entry{all[4], all[0]})) // one of them again
		left(5)
		k.wants("dispatch", "", 5)
		k.ok(k.Dispatched(k.ctx, epoch, all[5:]))
		left()
		k.run(wide(2))
		k.equal(len(k.outbox()), 2)
	}},
	{"dispatched twice, late and with a gone cycle", func(k *kit) {
		_, c := k.run("a b")
		all := k.posted(ledger.KindReady)
		k.claim(attempt(c, "b", 1)) // faster than the confirm
		k.ok(k.Dispatched(k.ctx, epoch, all))
		k.status(c, "a", task.Dispatched)
		k.status(c, "b", task.Running)
		k.unchanged(func() { k.ok(k.Dispatched(k.ctx, epoch, all)) })
		k.wants("dispatch", "", 2)
		gone := all[0]
		gone.Cycle = 99
		k.unchanged(func() { k.ok(k.Dispatched(k.ctx, epoch, []ledger.Entry{gone})) })
	}},
}
