package ledgertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// Random lets workers and two leaders of different epochs do steps random
// things, repeated and stale ones included, to cycles of a random flow, and then
// drains them: every node has one counted outcome, every cycle ended once, and
// nothing is left under way. Each draw gets a ledger of its own from open.
func Random(t *testing.T, steps int, open func(t *testing.T) (Ledger, func())) {
	rapid.Check(t, func(r *rapid.T) {
		l, done := open(t)
		defer done()
		k := newKit(fatal{t, r}, l)
		w := newWorld(k, r)
		for range steps {
			w.step()
		}
		w.drain()
		k.consistent()
		k.quiet()
	})
}

// fatal reports failures to rapid, so that it can shrink them.
type fatal struct {
	testing.TB
	r *rapid.T
}

func (f fatal) Helper()                   { f.r.Helper() }
func (f fatal) Fatal(args ...any)         { f.r.Fatal(args...) }
func (f fatal) Fatalf(s string, a ...any) { f.r.Fatalf(s, a...) }
func (f fatal) Context() context.Context  { return f.TB.Context() }

type world struct {
	*kit
	r       *rapid.T
	p       *plan.Plan
	leaders [2]*boss
	cycles  []ledger.Started
	held    []ledger.Claim // claims that workers believe to have; never forgotten
	asked   []ledger.ClaimRequest
	seen    []ledger.Entry // entries of any time
}

func newWorld(k *kit, r *rapid.T) *world {
	w := &world{kit: k, r: r}
	count := rapid.SampledFrom([]int{1, 2, 3, 4, 5, 6, 7}).Draw(r, "nodes")
	var words strings.Builder
	for i := range count {
		fmt.Fprintf(&words, "n%d ", i)
		for j := range i {
			for range rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2}).Draw(r, "edges") {
				fmt.Fprintf(&words, "n%d.%s>n%d ", j, rapid.SampledFrom([]string{"x", "y"}).Draw(r, "handle"), i)
			}
		}
	}
	var opts []option
	for i := range count {
		n := ids.NodeID(fmt.Sprintf("n%d", i))
		opts = append(opts, join(n, rapid.SampledFrom([]string{plan.AllSuccess, plan.AllSuccess, plan.AllDone, plan.OneSuccess, plan.NoneFailed}).Draw(r, "join")))
		if rapid.IntRange(0, 4).Draw(r, "delivery") == 0 {
			opts = append(opts, atMostOnce(n))
		}
	}
	opts = append(opts, onFailure(rapid.SampledFrom([]string{plan.FailCycle, plan.Continue}).Draw(r, "on failure")))
	w.p = k.activate(build(flow, 1, words.String(), opts...))
	w.leaders = [2]*boss{{kit: k, epoch: epoch}, {kit: k, epoch: epoch + 1}}
	w.cycles = append(w.cycles, k.start(k.trigger(w.p)))
	return w
}

// may accepts the refusals that a stale or repeated call meets.
func (w *world) may(err error) {
	w.Helper()
	if err == nil || ledger.Fenced(err) {
		return
	}
	for _, known := range []error{ledger.ErrGone, ledger.ErrNotMine, ledger.ErrPaused, ledger.ErrEnding, ledger.ErrStarted, ledger.ErrBusy, ledger.ErrAccounted} {
		if errors.Is(err, known) {
			return
		}
	}
	w.Fatal(err)
}

func (w *world) anyAttempt() ids.Attempt {
	offered := append(w.leaders[0].queue, w.leaders[1].queue...)
	if len(offered) > 0 && rapid.IntRange(0, 3).Draw(w.r, "offered") > 0 {
		return rapid.SampledFrom(offered).Draw(w.r, "offer")
	}
	c := rapid.SampledFrom(w.cycles).Draw(w.r, "cycle")
	n := rapid.IntRange(0, len(w.p.Nodes)-1).Draw(w.r, "node")
	return attempt(c, w.p.Nodes[n].ID, rapid.IntRange(1, 3).Draw(w.r, "attempt"))
}

func (w *world) anyLeader() *boss {
	return w.leaders[rapid.IntRange(0, 1).Draw(w.r, "leader")]
}

func (w *world) step() {
	switch rapid.SampledFrom([]string{"lead", "lead", "claim", "claim", "claim", "claims", "completions", "settle", "settle", "settle", "settle", "decline", "pause", "cancel", "start", "timers", "stale", "offer", "hold", "mend"}).Draw(w.r, "step") {
	case "lead":
		b := w.anyLeader()
		all := w.outbox()
		w.seen = append(w.seen, all...)
		for _, e := range all[:min(len(all), rapid.IntRange(0, 6).Draw(w.r, "entries"))] {
			w.may(b.act(e))
		}
	case "stale":
		if len(w.seen) > 0 {
			w.may(w.anyLeader().act(rapid.SampledFrom(w.seen).Draw(w.r, "old entry")))
		}
	case "claim":
		q := request(w.anyAttempt())
		if len(w.asked) > 0 && rapid.IntRange(0, 3).Draw(w.r, "again") == 0 {
			q = rapid.SampledFrom(w.asked).Draw(w.r, "old request")
		}
		q.Redelivered = rapid.Bool().Draw(w.r, "redelivered")
		w.asked = append(w.asked, q)
		c, refusal, err := w.Claim(w.ctx, q)
		w.ok(err)
		if refusal == ledger.Granted {
			w.held = append(w.held, c)
		}
	case "claims":
		w.claimTogether()
	case "completions":
		w.completeTogether()
	case "start":
		if len(w.cycles) < 3 {
			c, err := w.StartCycle(w.ctx, 0, w.trigger(w.p))
			w.may(err)
			if err == nil {
				w.cycles = append(w.cycles, c)
			}
		}
	case "pause":
		if rapid.Bool().Draw(w.r, "pause") {
			_, err := w.PauseFlow(w.ctx, flow)
			w.ok(err)
		} else {
			_, err := w.ResumeFlow(w.ctx, flow)
			w.ok(err)
		}
	case "cancel":
		if rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5, 6, 7}).Draw(w.r, "really") == 7 {
			c := rapid.SampledFrom(w.cycles).Draw(w.r, "cycle")
			_, err := w.CancelCycle(w.ctx, 0, flow, c.Cycle, c.UUID, ledger.CauseCancelled)
			w.ok(err)
		}
	case "timers":
		w.may(w.anyLeader().timers(time.Now().Add(time.Hour)))
	case "offer":
		_, err := w.OfferAgain(w.ctx, w.anyLeader().epoch, w.anyAttempt(), "x")
		w.may(err)
	case "hold":
		if ready := w.posted(ledger.KindReady); len(ready) > 0 {
			w.may(w.Hold(w.ctx, w.anyLeader().epoch, rapid.SampledFrom(ready).Draw(w.r, "ready"), "type:x", "no worker"))
		}
	case "mend":
		w.mend()
	case "decline":
		w.ok(w.Decline(w.ctx, w.anyAttempt(), worker, 0))
	default:
		w.settle()
	}
}

// mend asks for a repair that is not needed, as a second audit does.
func (w *world) mend() {
	b := w.anyLeader()
	if rapid.IntRange(0, 3).Draw(w.r, "of the flow") == 0 {
		_, err := w.MendFlow(w.ctx, b.epoch, flow, fmt.Sprint(w.state().Active))
		w.may(err)
		return
	}
	a := w.anyAttempt()
	s, err := w.Nodes(w.ctx, flow, a.Cycle, []ids.NodeID{a.Node})
	w.ok(err)
	seen, repair := string(s[0].Status), rapid.SampledFrom([]string{ledger.MendOffer, ledger.MendLease, ledger.MendTimer, ledger.MendSpread,
		ledger.MendHeld, ledger.MendDeclined, ledger.MendCycle}).Draw(w.r, "repair")
	if s[0].Status == task.Waiting {
		seen = ""
	}
	_, err = w.MendNode(w.ctx, b.epoch, a, seen, repair, lease)
	w.may(err)
}

// settle does something with a claim, however old.
func (w *world) settle() {
	if len(w.held) == 0 {
		return
	}
	c := rapid.SampledFrom(w.held).Draw(w.r, "claim")
	switch rapid.SampledFrom([]string{"complete", "complete", "complete", "stop", "fail", "expire", "beat", "release", "doubt"}).Draw(w.r, "settle") {
	case "complete":
		next, err := w.CompleteNext(w.ctx, w.success(c), w.next())
		w.may(err)
		w.hold(next...)
	case "stop":
		w.may(w.Complete(w.ctx, stop(w.p, c)))
	case "fail":
		f := failure(w.p, c)
		f.Retries = rapid.IntRange(0, 2).Draw(w.r, "retries")
		f.Class = rapid.SampledFrom([]task.Class{task.Retryable, task.Permanent, task.Abandoned}).Draw(w.r, "class")
		_, err := w.Fail(w.ctx, f)
		w.may(err)
	case "expire":
		_, err := w.Expire(w.ctx, w.anyLeader().epoch, expiry(w.p, c))
		w.may(err)
	case "beat":
		_, err := w.Heartbeat(w.ctx, worker, lease, []ledger.HeldClaim{{Attempt: c.Attempt, Token: c.Token}})
		w.ok(err)
	case "release":
		w.may(w.Release(w.ctx, c.Attempt, c.Token, rapid.Bool().Draw(w.r, "started")))
	case "doubt":
		w.may(w.EndUnknown(w.ctx, doubt(w.p, c)))
	}
}

// next is a wish for some nodes, or for none.
func (w *world) next() ledger.Next {
	q := ledger.Next{Token: uuid.New(), Worker: worker, Lease: lease, Most: rapid.IntRange(0, 3).Draw(w.r, "most")}
	for _, n := range w.p.Nodes {
		if rapid.Bool().Draw(w.r, "direct") {
			q.Nodes = append(q.Nodes, n.ID)
		}
	}
	return q
}

// hold keeps claims that came with a completion.
func (w *world) hold(claims ...ledger.Claim) { w.held = append(w.held, claims...) }

func (w *world) complete(c ledger.Claim) error { return w.Complete(w.ctx, w.success(c)) }

func (w *world) success(c ledger.Claim) ledger.Completion {
	done := success(w.p, c)
	done.Outputs = map[string]json.RawMessage{"x": json.RawMessage("0")}
	dead := rapid.IntRange(0, 7).Draw(w.r, "dead")
	done.Decided = func(i int) ledger.Result {
		if i == dead {
			return ledger.Dead
		}
		return ledger.Live
	}
	return done
}

// drain lets the second leader and one worker bring everything to its end.
func (w *world) drain() {
	_, err := w.Takeover(w.ctx, epoch+1)
	w.ok(err)
	_, err = w.ResumeFlow(w.ctx, flow)
	w.ok(err)
	b := w.leaders[1]
	for range 60 {
		b.lead()
		holds, err := w.Holds(w.ctx)
		w.ok(err)
		for _, h := range holds {
			_, err := w.ReleaseHeld(w.ctx, b.epoch, h, "")
			w.ok(err)
		}
		w.ok(b.timers(time.Now().Add(time.Hour)))
		b.lead()
		leases, err := w.Leases(w.ctx)
		w.ok(err)
		for _, l := range leases { // nobody beats any more
			s, err := w.Nodes(w.ctx, flow, l.Cycle, []ids.NodeID{l.Node})
			w.ok(err)
			l.N = s[0].Attempt
			x := ledger.Expiry{Attempt: l.Attempt, Plan: w.p.Node(l.Node), OnFailure: w.p.OnFailure, MaxLost: 2, Cause: "drain"}
			w.ok(x.Token.UnmarshalText([]byte(s[0].Token)))
			_, err = w.Expire(w.ctx, b.epoch, x)
			w.ok(err)
		}
		b.lead()
		queue := append(w.leaders[0].queue, b.queue...) // a broker keeps what a deposed leader published
		w.leaders[0].queue, b.queue = nil, nil
		for _, a := range queue {
			c, refusal, err := w.Claim(w.ctx, request(a))
			w.ok(err)
			if refusal == ledger.Granted {
				w.ok(w.complete(c))
			}
		}
		active, err := w.Active(w.ctx)
		w.ok(err)
		if len(active) == 0 {
			b.lead()
			w.ok(b.timers(time.Now().Add(time.Hour)))
			return
		}
		if len(queue) == 0 && len(leases) == 0 && len(w.outbox()) == 0 {
			w.Fatalf("stuck: %v", w.dump())
		}
	}
	w.Fatalf("not drained: %v", w.dump())
}
