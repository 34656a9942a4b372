package ledgertest

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

func (k *kit) fenced(err error) {
	k.Helper()
	if !ledger.Fenced(err) {
		k.Fatalf("error is %v, want a refusal by epoch", err)
	}
}

// verbs are all calls that carry an epoch.
func verbs(k *kit, p *plan.Plan, c ledger.Started, held ledger.Claim) map[string]func(ids.Epoch) error {
	e := k.outbox()[0]
	active := ledger.ActiveCycle{Flow: flow, Cycle: c.Cycle, UUID: c.UUID}
	return map[string]func(ids.Epoch) error{
		"once_era":    func(x ids.Epoch) error { _, err := k.OnceEra(k.ctx, x, "e"); return err },
		"takeover":    func(x ids.Epoch) error { _, err := k.Takeover(k.ctx, x); return err },
		"start_cycle": func(x ids.Epoch) error { _, err := k.StartCycle(k.ctx, x, slot(p, 5000)); return err },
		"skip_slots": func(x ids.Epoch) error {
			return k.SkipSlots(k.ctx, x, flow, p.UID, time.Time{}, time.UnixMilli(5000), time.UnixMilli(6000), 2, "downtime")
		},
		"purge_flow":    func(x ids.Epoch) error { _, err := k.PurgeFlow(k.ctx, x, flow, ""); return err },
		"dispatched":    func(x ids.Epoch) error { return k.Dispatched(k.ctx, x, []ledger.Entry{e}) },
		"drop_entries":  func(x ids.Epoch) error { return k.Drop(k.ctx, x, e.ID) },
		"set_clock":     func(x ids.Epoch) error { _, err := k.SetClock(k.ctx, x, 0, time.Hour); return err },
		"confirm_clock": func(x ids.Epoch) error { _, err := k.ConfirmClock(k.ctx, x, 0); return err },
		"check_epoch":   func(x ids.Epoch) error { return k.CheckEpoch(k.ctx, x, 3) },
		"decide": func(x ids.Epoch) error {
			return k.Decide(k.ctx, x, e, p.Node("b"), ledger.Verdict{Run: true, Reason: "x", Live: 1})
		},
		"spread": func(x ids.Epoch) error {
			_, err := k.SpreadEdges(k.ctx, x, e, p.Node("a"), 0, ledger.AllEdges(ledger.Live))
			return err
		},
		"sweep": func(x ids.Epoch) error {
			return k.Sweep(k.ctx, x, e, "skipped", "x", members(p, -1))
		},
		"hold":         func(x ids.Epoch) error { return k.Hold(k.ctx, x, e, "type:x", "no worker") },
		"release_held": func(x ids.Epoch) error { _, err := k.ReleaseHeld(k.ctx, x, "type:y", ""); return err },
		"expire":       func(x ids.Epoch) error { _, err := k.Expire(k.ctx, x, expiry(p, held)); return err },
		"retry":        func(x ids.Epoch) error { return k.Retry(k.ctx, x, attempt(c, "r", 1)) },
		"offer_again":  func(x ids.Epoch) error { _, err := k.OfferAgain(k.ctx, x, attempt(c, "o", 1), "x"); return err },
		"cancel_cycle": func(x ids.Epoch) error {
			_, err := k.CancelCycle(k.ctx, x, flow, c.Cycle, c.UUID, ledger.CauseCancelled)
			return err
		},
		"mend_counts": func(x ids.Epoch) error {
			_, err := k.MendCounts(k.ctx, x, active, 0, map[string]int{"completed_nodes": 0}, nil)
			return err
		},
		"mend_node": func(x ids.Epoch) error {
			_, err := k.MendNode(k.ctx, x, attempt(c, "o", 1), "ready", ledger.MendOffer, lease)
			return err
		},
		"mend_flow":      func(x ids.Epoch) error { _, err := k.MendFlow(k.ctx, x, flow, "1"); return err },
		"mend_active":    func(x ids.Epoch) error { _, err := k.MendActive(k.ctx, x, active); return err },
		"mend_closed":    func(x ids.Epoch) error { _, err := k.MendClosed(k.ctx, x, active); return err },
		"mend_purge":     func(x ids.Epoch) error { _, err := k.MendPurge(k.ctx, x, flow); return err },
		"told":           func(x ids.Epoch) error { return k.Told(k.ctx, x, e) },
		"note_repair":    func(x ids.Epoch) error { return k.NoteRepair(k.ctx, x, e.Attempt, "x", "y") },
		"archive_cycles": func(x ids.Epoch) error { return k.archive(x, k.cycle(c), members(p, -1)) },
		"delete_cycles":  func(x ids.Epoch) error { return k.remove(x, c.Cycle, members(p, -1)) },
	}
}

var fences = []testCase{
	{"a lower epoch writes nothing", func(k *kit) {
		p, c := k.run("a>b r o q", onFailure(plan.Continue))
		held := k.claim(attempt(c, "a", 1))
		f := failure(p, k.claim(attempt(c, "r", 1)))
		f.Retries = 1
		_, err := k.Fail(k.ctx, f)
		k.ok(err)
		k.ok(k.Hold(k.ctx, epoch, k.posted(ledger.KindReady)[3], "type:y", "no worker"))
		for name, call := range verbs(k, p, c, held) {
			k.unchanged(func() {
				err := call(epoch - 1)
				if !ledger.Fenced(err) {
					k.Fatalf("%s by a lower epoch: %v", name, err)
				}
			})
		}
	}},
	{"each refusal by epoch is journalled and counted once", func(k *kit) {
		p, c := k.run("a>b r o q")
		held := k.claim(attempt(c, "a", 1))
		before := k.Refused()
		all := verbs(k, p, c, held)
		for name, call := range all {
			k.fenced(call(epoch - 1))
			if name == "check_epoch" {
				name = "publish 3"
			}
			k.wants("fenced", "10 "+name, 1)
		}
		k.wants("fenced", "", len(all))
		for _, r := range k.journal() {
			if r.Op == "fenced" && r.Epoch != epoch-1 {
				k.Fatalf("record %+v, want the refused epoch", r)
			}
		}
		for verb, n := range k.Refused() {
			if n != before[verb]+1 {
				k.Fatalf("%d refusals of %s are counted", n-before[verb], verb)
			}
			delete(all, verb)
		}
		k.equal(len(all), 0)
		k.ok(k.CheckEpoch(k.ctx, epoch, 3))
		k.ok(k.CheckEpoch(k.ctx, epoch+1, 3))
	}},
	{"a refused worker is journalled with its token and why", func(k *kit) {
		p, c := k.run("a>b")
		held := k.claim(attempt(c, "a", 1))
		zombie := held
		zombie.Token = uuid.New()
		gone := zombie
		gone.UUID = uuid.New()
		k.is(k.Complete(k.ctx, success(p, zombie)), ledger.ErrNotMine)
		_, err := k.Fail(k.ctx, failure(p, zombie))
		k.is(err, ledger.ErrNotMine)
		k.is(k.Release(k.ctx, zombie.Attempt, zombie.Token, false), ledger.ErrNotMine)
		k.is(k.EndUnknown(k.ctx, ledger.Doubt{Attempt: zombie.Attempt, Token: zombie.Token, Plan: p.Node("a")}), ledger.ErrNotMine)
		k.is(k.EndUnknown(k.ctx, ledger.Doubt{Attempt: gone.Attempt, Token: gone.Token, Plan: p.Node("a")}), ledger.ErrGone)
		k.is(k.Complete(k.ctx, success(p, gone)), ledger.ErrGone)
		_, err = k.Fail(k.ctx, failure(p, gone))
		k.is(err, ledger.ErrGone)
		k.is(k.Release(k.ctx, gone.Attempt, gone.Token, false), ledger.ErrGone)
		for _, verb := range []string{"complete", "fail", "release", "end_unknown"} {
			k.wants("refused", verb+": running 1", 1)
			k.wants("refused", verb+": gone", 1)
		}
		for _, r := range k.journal() {
			if r.Op == "refused" && (r.Token != zombie.Token.String() || r.Node != "a" || r.N != 1) {
				k.Fatalf("record %+v, want the attempt and the token presented", r)
			}
		}
		k.refused(request(attempt(c, "a", 1)), ledger.Over)
		k.refused(request(attempt(c, "b", 1)), ledger.Over)
		k.refused(request(gone.Attempt), ledger.Gone)
		k.wants("refused", "claim: running 1", 1)
		k.wants("refused", "claim: waiting 0", 1)
		k.wants("refused", "claim: gone", 1)
		k.ok(k.Complete(k.ctx, success(p, held)))
		k.ok(k.Complete(k.ctx, success(p, held))) // known as its own: no refusal
		k.is(k.Complete(k.ctx, success(p, zombie)), ledger.ErrNotMine)
		k.wants("refused", "complete: succeeded 1", 1)
		_, err = k.CancelCycle(k.ctx, 0, flow, c.Cycle, c.UUID, ledger.CauseCancelled)
		k.ok(err)
		k.refused(request(attempt(c, "b", 1)), ledger.Ending)
		k.wants("refused", "claim: ending", 1)
		k.wants("refused", "", 13)
	}},
	{"a verb of a higher epoch shuts lower ones out", func(k *kit) {
		_, c := k.run("a b")
		k.ok(k.Drop(k.ctx, epoch+5, "1-1"))
		k.unchanged(func() {
			_, err := k.OfferAgain(k.ctx, epoch, attempt(c, "a", 1), "x")
			k.fenced(err)
			_, err = k.Takeover(k.ctx, epoch+4)
			k.fenced(err)
		})
		_, err := k.Takeover(k.ctx, epoch+5) // again by the same leader
		k.ok(err)
	}},
	{"large epochs are kept exactly", func(k *kit) {
		const huge = ids.Epoch(1)<<53 - 2
		_, err := k.Takeover(k.ctx, huge)
		k.ok(err)
		k.equal(k.dump()[k.Prefix()+":epoch"], "9007199254740990")
		k.unchanged(func() {
			_, err := k.Takeover(k.ctx, huge-1)
			var f *ledger.FencedError
			if !errors.As(err, &f) || f.Higher != huge || f.Own != huge-1 {
				k.Fatalf("refusal: %+v", f)
			}
		})
	}},
	{"epoch and clock", func(k *kit) {
		at, err := k.Takeover(k.ctx, epoch)
		k.ok(err)
		now, err := k.Now(k.ctx)
		k.ok(err)
		if d := now.Sub(at); d < -time.Second || d > 5*time.Second {
			k.Fatalf("takeover at %s, clock %s", at, now)
		}
		k.wants("takeover", "", 2)
	}},
}
