package ledgertest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
)

var claims = []testCase{
	{"a claim is granted again to its token only", func(k *kit) {
		p, c := k.run("a")
		q := request(attempt(c, "a", 1))
		first, refusal, err := k.Claim(k.ctx, q)
		k.ok(err)
		k.equal(refusal, ledger.Granted)
		k.unchanged(func() {
			again, refusal, err := k.Claim(k.ctx, q)
			k.ok(err)
			k.equal([]any{refusal, again}, []any{ledger.Granted, first})
			k.refused(request(attempt(c, "a", 1)), ledger.Over)
			k.refused(request(attempt(c, "a", 2)), ledger.Over)
			k.refused(request(attempt(c, "x", 1)), ledger.Over)
		})
		k.equal(first.Occasion, k.cycle(c).Occasion)
		k.equal(first.Slot.UnixMilli(), c.At.UnixMilli())
		leases, err := k.Leases(k.ctx)
		k.ok(err)
		k.equal([]any{len(leases), leases[0].Node}, []any{1, ids.NodeID("a")})
		k.wants("claim", "", 1)
		k.ok(k.Complete(k.ctx, success(p, first)))
		k.unchanged(func() { k.refused(q, ledger.Over) })
	}},
	{"a redelivered message marks the holder suspect", func(k *kit) {
		_, c := k.run("a")
		holder := k.claim(attempt(c, "a", 1))
		before, err := k.Leases(k.ctx)
		k.ok(err)
		other := request(attempt(c, "a", 1))
		other.Redelivered = true
		k.refused(other, ledger.Suspected)
		after, err := k.Leases(k.ctx)
		k.ok(err)
		if !after[0].Ends.Before(before[0].Ends) {
			k.Fatalf("lease ends at %s, was %s", after[0].Ends, before[0].Ends)
		}
		k.equal(len(k.posted(ledger.KindSuspect)), 1)
		k.equal(k.node(c, "a").Token, holder.Token.String())
		k.wants("suspect", "", 1)
		beats, err := k.Heartbeat(k.ctx, worker, lease, []ledger.HeldClaim{{Attempt: holder.Attempt, Token: holder.Token}})
		k.ok(err)
		k.equal(beats, []ledger.Beat{ledger.Renewed}) // a live holder is safe
		other.Token = holder.Token
		_, refusal, err := k.Claim(k.ctx, other)
		k.ok(err)
		k.equal(refusal, ledger.Granted)
	}},
	{"refusals of a claim", func(k *kit) {
		p, c := k.run("a a2 b>d e")
		gone := attempt(c, "a", 1)
		gone.UUID = uuid.New()
		k.unchanged(func() {
			k.refused(request(gone), ledger.Gone)
			gone.Cycle = 77
			k.refused(request(gone), ledger.Gone)
		})
		_, err := k.Fail(k.ctx, failure(p, k.claim(attempt(c, "a", 1))))
		k.ok(err)
		k.finish(p, c, "a2") // another component goes on
		_, err = k.CancelCycle(k.ctx, 0, flow, c.Cycle, c.UUID, ledger.CauseCancelled)
		k.ok(err)
		k.unchanged(func() { k.refused(request(attempt(c, "b", 1)), ledger.Ending) })
	}},
	{"an ended component takes no more claims", func(k *kit) {
		p, c := k.run("a>c b>c d")
		_, err := k.Fail(k.ctx, failure(p, k.claim(attempt(c, "a", 1))))
		k.ok(err)
		k.unchanged(func() { k.refused(request(attempt(c, "b", 1)), ledger.Ending) })
		k.finish(p, c, "d")
		(&boss{kit: k, epoch: epoch}).lead()
		k.ended(c, "failed")
	}},
	{"a flow that is being deleted takes no more claims", func(k *kit) {
		_, c := k.run("a")
		_, err := k.DeleteFlow(k.ctx, flow)
		k.ok(err)
		k.unchanged(func() { k.refused(request(attempt(c, "a", 1)), ledger.Ending) })
	}},
	{"a claim without a plan", func(k *kit) {
		p := k.activate(build(flow, 1, "a"))
		ghost := build(flow, 1, "a ghost")
		c := k.start(k.trigger(ghost))
		k.unchanged(func() { k.refused(request(attempt(c, "ghost", 1)), ledger.PlanMissing) })
		k.equal(len(p.Nodes), 1)
	}},
	{"inputs arrive in the order of the edges", func(k *kit) {
		p, c := k.run("a.x>j b.y>j a.none>j a.zero>j b.empty>j")
		give := func(n ids.NodeID, values map[string]string) {
			done := success(p, k.claim(attempt(c, n, 1)))
			done.Outputs = map[string]json.RawMessage{}
			for h, v := range values {
				done.Outputs[h] = json.RawMessage(v)
			}
			k.ok(k.Complete(k.ctx, done))
		}
		give("a", map[string]string{"x": `"ü\n|"`, "zero": "0"})
		give("b", map[string]string{"y": "null", "empty": `""`})
		got := k.claim(attempt(c, "j", 1))
		k.equal(got.Values, []json.RawMessage{json.RawMessage(`"ü\n|"`), json.RawMessage("null"), nil, json.RawMessage("0"), json.RawMessage(`""`)})
		k.equal(len(got.Node.Inputs), 5)
		stored, err := k.Outputs(k.ctx, flow, c.Cycle, []string{"a:x", "a:none", "b:empty"})
		k.ok(err)
		k.equal(stored, []json.RawMessage{json.RawMessage(`"ü\n|"`), nil, json.RawMessage(`""`)})
		k.equal(k.node(c, "a").Handles, []string{"x", "zero"})
	}},
	{"three thousand inputs", func(k *kit) {
		var words strings.Builder
		for i := range 3000 {
			fmt.Fprintf(&words, "s.h%d>j ", i)
		}
		p, c := k.run(words.String())
		done := success(p, k.claim(attempt(c, "s", 1)))
		for i := range 3000 {
			done.Outputs[fmt.Sprintf("h%d", i)] = json.RawMessage(fmt.Sprint(i))
		}
		delete(done.Outputs, "h1500")
		k.ok(k.Complete(k.ctx, done))
		got := k.claim(attempt(c, "j", 1))
		k.equal(len(got.Values), 3000)
		for i, v := range got.Values {
			want := fmt.Sprint(i)
			if i == 1500 {
				want = ""
			}
			if string(v) != want {
				k.Fatalf("input %d is %q", i, v)
			}
		}
	}},
	{"heartbeat renews, ends and tells of losses", func(k *kit) {
		p, c := k.run("a b")
		a, b := k.claim(attempt(c, "a", 1)), k.claim(attempt(c, "b", 1))
		held := []ledger.HeldClaim{{Attempt: a.Attempt, Token: a.Token}, {Attempt: b.Attempt, Token: b.Token},
			{Attempt: a.Attempt, Token: uuid.New()}, {Attempt: attempt(ledger.Started{Cycle: 9, UUID: c.UUID}, "a", 1), Token: a.Token}}
		before, err := k.Leases(k.ctx)
		k.ok(err)
		beats, err := k.Heartbeat(k.ctx, worker, 2*lease, held)
		k.ok(err)
		k.equal(beats, []ledger.Beat{ledger.Renewed, ledger.Renewed, ledger.Lost, ledger.Lost})
		after, err := k.Leases(k.ctx)
		k.ok(err)
		if !after[0].Ends.After(before[0].Ends.Add(lease / 2)) {
			k.Fatalf("lease ends at %s, was %s", after[0].Ends, before[0].Ends)
		}
		k.wants("lost", "", 1)
		_, err = k.Expire(k.ctx, epoch, expiry(p, b))
		k.ok(err)
		_, err = k.CancelCycle(k.ctx, 0, flow, c.Cycle, c.UUID, ledger.CauseCancelled)
		k.ok(err)
		beats, err = k.Heartbeat(k.ctx, worker, lease, held[:2])
		k.ok(err)
		k.equal(beats, []ledger.Beat{ledger.Cancel, ledger.Lost})
	}},
	{"a claim that Redis forgot is made again by its heartbeat", func(k *kit) {
		p, c := k.run("a b")
		for _, n := range []ids.NodeID{"a", "b"} { // as a rollback to before the claim leaves them: ready and dispatched
			token := uuid.New()
			if n == "b" {
				k.ok(k.Dispatched(k.ctx, epoch, k.posted(ledger.KindReady)))
			} else {
				k.ok(k.Hold(k.ctx, epoch, k.posted(ledger.KindReady)[0], "type:x", "no worker"))
			}
			beats, err := k.Heartbeat(k.ctx, worker, lease, []ledger.HeldClaim{{Attempt: attempt(c, n, 1), Token: token}})
			k.ok(err)
			k.equal(beats, []ledger.Beat{ledger.Renewed})
			k.status(c, n, task.Running)
			k.equal(k.node(c, n).Blocker, "")
			k.refused(request(attempt(c, n, 1)), ledger.Over)
			k.ok(k.Complete(k.ctx, success(p, ledger.Claim{Attempt: attempt(c, n, 1), Token: token})))
		}
		k.ended(c, "completed")
		(&boss{kit: k, epoch: epoch}).lead()
		k.quiet()
	}},
	{"three hundred claims in one heartbeat", func(k *kit) {
		_, c := k.run(wide(300))
		(&boss{kit: k, epoch: epoch}).lead()
		var held []ledger.HeldClaim
		for i, n := range wideNodes(300) {
			q := k.claim(attempt(c, n, 1))
			held = append(held, ledger.HeldClaim{Attempt: q.Attempt, Token: q.Token})
			if i%100 == 99 {
				held[i].Token = uuid.New()
			}
		}
		beats, err := k.Heartbeat(k.ctx, worker, lease, held)
		k.ok(err)
		k.equal(len(beats), 300)
		for i, b := range beats {
			if (b == ledger.Lost) != (i%100 == 99) {
				k.Fatalf("claim %d: %d", i, b)
			}
		}
		none, err := k.Heartbeat(k.ctx, worker, lease, nil)
		k.ok(err)
		k.equal(len(none), 0)
	}},
	{"decline and offer again", func(k *kit) {
		p, c := k.run("a")
		k.ok(k.Decline(k.ctx, attempt(c, "a", 1), worker, time.Hour)) // before the confirm
		k.ok(k.Dispatched(k.ctx, epoch, k.posted(ledger.KindReady)))
		k.equal(k.node(c, "a").Blocker, "declined")
		timers, err := k.Timers(k.ctx, 10)
		k.ok(err)
		k.equal([]any{len(timers), timers[0].Kind, timers[0].Attempt}, []any{1, "offer", attempt(c, "a", 1)})
		done, err := k.OfferAgain(k.ctx, epoch, attempt(c, "a", 1), "declined")
		k.ok(err)
		k.equal(done, true)
		k.status(c, "a", task.Ready)
		k.equal(k.node(c, "a").Blocker, "")
		k.wants("declined", "", 1)
		k.ok(k.Decline(k.ctx, attempt(c, "a", 1), worker, time.Hour))
		a := k.claim(attempt(c, "a", 1)) // a copy of the message reached another worker
		timers, err = k.Timers(k.ctx, 10)
		k.ok(err)
		k.equal(len(timers), 0)
		k.unchanged(func() {
			done, err := k.OfferAgain(k.ctx, epoch, attempt(c, "a", 1), "declined")
			k.ok(err)
			k.equal(done, false)
			k.ok(k.Decline(k.ctx, attempt(c, "a", 1), worker, time.Hour))
			gone := attempt(c, "a", 1)
			gone.UUID = uuid.New()
			k.ok(k.Decline(k.ctx, gone, worker, time.Hour))
		})
		k.ok(k.Complete(k.ctx, success(p, a)))
	}},
	{"release", func(k *kit) {
		p, c := k.run("a b>d")
		a := k.claim(attempt(c, "a", 1))
		k.ok(k.Release(k.ctx, a.Attempt, a.Token, true))
		k.status(c, "a", task.Ready)
		k.equal(k.node(c, "a").Attempt, 2)
		k.unchanged(func() {
			k.is(k.Release(k.ctx, a.Attempt, a.Token, true), ledger.ErrNotMine)
			k.is(k.Complete(k.ctx, success(p, a)), ledger.ErrNotMine)
			gone := a.Attempt
			gone.UUID = uuid.New()
			k.is(k.Release(k.ctx, gone, a.Token, true), ledger.ErrGone)
		})
		k.wants("ready", "released", 1)
		second := k.claim(attempt(c, "a", 2))
		k.equal(second.Retries, 0)
		_, err := k.CancelCycle(k.ctx, 0, flow, c.Cycle, c.UUID, ledger.CauseCancelled)
		k.ok(err)
		k.unchanged(func() { k.is(k.Release(k.ctx, second.Attempt, second.Token, true), ledger.ErrEnding) })
	}},
}
