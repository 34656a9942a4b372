package ledgertest

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

func wish(nodes ...ids.NodeID) ledger.Next {
	return ledger.Next{Token: uuid.New(), Worker: worker, Lease: lease, Nodes: nodes}
}

// completeNext completes a claim and demands that the node want is granted with it; "" = none.
func (k *kit) completeNext(p *plan.Plan, c ledger.Claim, q ledger.Next, want ids.NodeID) ledger.Claim {
	k.Helper()
	if want == "" {
		k.completeAll(p, c, q)
		return ledger.Claim{}
	}
	return k.completeAll(p, c, q, want)[0]
}

// completeAll completes a claim and demands that these nodes are granted with it.
func (k *kit) completeAll(p *plan.Plan, c ledger.Claim, q ledger.Next, want ...ids.NodeID) []ledger.Claim {
	k.Helper()
	next, err := k.CompleteNext(k.ctx, success(p, c), q)
	k.ok(err)
	if len(next) != len(want) {
		k.Fatalf("got %v, want %v", next, want)
	}
	for i, n := range next {
		k.equal([]any{n.Attempt.Node, n.Node.ID, n.N, n.Token}, []any{want[i], want[i], 1, q.Token})
	}
	return next
}

// wishes is a wish for several of these nodes at once.
func wishes(most int, nodes ...ids.NodeID) ledger.Next {
	q := wish(nodes...)
	q.Most = most
	return q
}

// offered lists the nodes of the ready entries that wait in the outbox.
func (k *kit) offered() []ids.NodeID {
	var out []ids.NodeID
	for _, e := range k.posted(ledger.KindReady) {
		out = append(out, e.Node)
	}
	return out
}

var directs = []testCase{
	{"a successor is claimed with the report, and is not offered", func(k *kit) {
		p, c := k.run("a>b b>d")
		a := k.claim(attempt(c, "a", 1))
		done := success(p, a)
		done.Outputs = map[string]json.RawMessage{"out": json.RawMessage(`"of a"`)}
		before, q := k.offered(), wish("b")
		got, err := k.CompleteNext(k.ctx, done, q)
		k.ok(err)
		next := got[0]
		k.status(c, "a", task.Succeeded)
		k.status(c, "b", task.Running)
		k.equal(k.offered(), before)
		k.equal(next.Values, []json.RawMessage{json.RawMessage(`"of a"`)})
		k.equal([]any{next.Occasion, next.Slot.UnixMilli(), next.OnFailure, next.Retries}, []any{a.Occasion, a.Slot.UnixMilli(), a.OnFailure, 0})
		node := k.node(c, "b")
		k.equal([]any{node.Token, node.Worker, node.Attempt}, []any{q.Token.String(), string(worker), 1})
		k.near(node.StartedAt, k.node(c, "a").CompletedAt)
		leases, err := k.Leases(k.ctx)
		k.ok(err)
		k.equal([]any{len(leases), leases[0].Node}, []any{1, ids.NodeID("b")})
		k.wants("ready", "inputs", 0)
		k.wants("claim", "direct", 1)
		k.refused(request(attempt(c, "b", 1)), ledger.Over)
		k.consistent()
		beats, err := k.Heartbeat(k.ctx, worker, lease, []ledger.HeldClaim{{Attempt: next.Attempt, Token: next.Token}})
		k.ok(err)
		k.equal(beats, []ledger.Beat{ledger.Renewed})
		d := k.completeNext(p, next, wish("d"), "d")
		k.completeNext(p, d, wish("a", "b", "d"), "")
		k.ended(c, "completed")
	}},
	{"the report of a direct claim's predecessor may be repeated", func(k *kit) {
		p, c := k.run("a>b b>d")
		a := k.claim(attempt(c, "a", 1))
		q := wish("x", "b")
		first := k.completeNext(p, a, q, "b")
		before, leases := k.dump(), k.Prefix()+":leases"
		q.Lease *= 2
		k.equal(k.completeNext(p, a, q, "b"), first)
		after := k.dump()
		if before[leases] == after[leases] {
			k.Fatal("the lease is no younger")
		}
		delete(before, leases)
		delete(after, leases)
		k.equal(after, before)
		k.unchanged(func() {
			k.completeNext(p, a, wish("b"), "") // another's wish
			k.completeNext(p, a, wish(), "")
			_, refusal, err := k.Claim(k.ctx, ledger.ClaimRequest{Attempt: first.Attempt, Token: first.Token, Worker: worker, Lease: lease})
			k.ok(err)
			k.equal(refusal, ledger.Granted)
		})
		k.completeNext(p, first, wish("b"), "")
		k.unchanged(func() { k.completeNext(p, a, q, "") })
	}},
	{"what may not be claimed is offered", func(k *kit) {
		p, c := k.run("a>b b>d")
		k.completeNext(p, k.claim(attempt(c, "a", 1)), wish("d"), "")
		k.status(c, "b", task.Ready)
		b := k.claim(attempt(c, "b", 1))
		_, err := k.PauseFlow(k.ctx, flow)
		k.ok(err)
		k.completeNext(p, b, wish("d"), "")
		k.equal(k.offered(), []ids.NodeID{"a", "b", "d"})
		k.status(c, "d", task.Ready)
	}},
	{"a cycle that ends lets nothing be claimed directly", func(k *kit) {
		p, c := k.run("a>b")
		a := k.claim(attempt(c, "a", 1))
		_, err := k.CancelCycle(k.ctx, 0, flow, c.Cycle, c.UUID, ledger.CauseCancelled)
		k.ok(err)
		k.completeNext(p, a, wish("b"), "")
		k.wants("claim", "direct", 0)
	}},
	{"a join is claimed by who completes it", func(k *kit) {
		p, c := k.run("a>d b>d")
		a, b := k.claim(attempt(c, "a", 1)), k.claim(attempt(c, "b", 1))
		k.completeNext(p, a, wish("d"), "")
		done := success(p, b)
		done.Outputs = map[string]json.RawMessage{"out": json.RawMessage("2")}
		got, err := k.CompleteNext(k.ctx, done, wish("d"))
		k.ok(err)
		d := got[0]
		k.equal(len(d.Values), 2)
		k.equal(d.Values[1], json.RawMessage("2"))
		k.completeNext(p, d, wish(), "")
		k.ended(c, "completed")
	}},
	{"one of several successors is claimed, the others are offered", func(k *kit) {
		p, c := k.run("a>b a>d a>e")
		k.completeNext(p, k.claim(attempt(c, "a", 1)), wish("d", "e"), "d")
		k.equal(k.offered(), []ids.NodeID{"a", "b", "e"})
		k.consistent()
	}},
	{"several successors are claimed at once, as many as are asked for", func(k *kit) {
		p, c := k.run("a>b a>d a>e a>f b>x f>x")
		a, q := k.claim(attempt(c, "a", 1)), wishes(2, "f", "x", "e", "b")
		got := k.completeAll(p, a, q, "b", "e")
		k.equal(k.offered(), []ids.NodeID{"a", "d", "f"})
		for _, n := range got {
			k.equal(k.node(c, n.Attempt.Node).Token, q.Token.String())
		}
		leases, err := k.Leases(k.ctx)
		k.ok(err)
		k.equal(len(leases), 2)
		k.wants("claim", "direct", 2)
		k.consistent()
		k.equal(k.completeAll(p, a, q, "b", "e"), got)
		k.completeNext(p, got[0], wishes(3, "x"), "")
		k.completeAll(p, a, q, "e") // what is still held of it
		k.completeNext(p, k.claim(attempt(c, "f", 1)), wishes(3, "x"), "x")
		k.consistent()
	}},
	{"what can't be claimed of several is offered", func(k *kit) {
		p, c := k.run("a>b a>d e>d")
		k.completeAll(p, k.claim(attempt(c, "a", 1)), wishes(4, "b", "d"), "b")
		k.completeAll(p, k.claim(attempt(c, "e", 1)), wishes(4, "b", "d"), "d")
		k.consistent()
	}},
	{"a direct claim expires as any", func(k *kit) {
		p, c := k.run("a>b")
		b := k.completeNext(p, k.claim(attempt(c, "a", 1)), wish("b"), "b")
		ended, err := k.Expire(k.ctx, epoch, expiry(p, b))
		k.ok(err)
		k.equal(ended, true)
		k.status(c, "b", task.Ready)
		k.is(k.Complete(k.ctx, success(p, b)), ledger.ErrNotMine)
		k.ok(k.Complete(k.ctx, success(p, k.claim(attempt(c, "b", 2)))))
		k.ended(c, "completed")
	}},
	{"completions that go together claim directly too", func(k *kit) {
		p, c := k.run("a>d b>d e>f")
		claims := []ledger.Claim{k.claim(attempt(c, "a", 1)), k.claim(attempt(c, "b", 1)), k.claim(attempt(c, "e", 1))}
		done := make([]completion, len(claims))
		for i, claim := range claims {
			s := success(p, claim)
			s.Outputs = map[string]json.RawMessage{"out": json.RawMessage(`"` + claim.Attempt.Node + `"`)}
			done[i] = completion{s, wish("d", "f")}
		}
		got := completeAll(k.ctx, k.Ledger, done)
		for i, want := range []ids.NodeID{"", "d", "f"} {
			k.ok(got[i].Err)
			if (want == "") != (got[i].Next == nil) || want != "" && got[i].Next[0].Attempt.Node != want {
				k.Fatalf("completion %d: got %v, want %q", i, got[i].Next, want)
			}
		}
		k.equal(got[1].Next[0].Values, []json.RawMessage{json.RawMessage(`"a"`), json.RawMessage(`"b"`)})
		k.equal(got[2].Next[0].Values, []json.RawMessage{json.RawMessage(`"e"`)})
		k.status(c, "d", task.Running)
		k.status(c, "f", task.Running)
		k.consistent()
		if again := completeAll(k.ctx, k.Ledger, done); again[1].Next == nil || again[1].Next[0].Token != got[1].Next[0].Token {
			k.Fatalf("repeated: %v", again[1])
		}
	}},
}
