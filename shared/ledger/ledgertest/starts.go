package ledgertest

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
)

// wide names n nodes without edges.
func wide(n int) string {
	var b strings.Builder
	for _, id := range wideNodes(n) {
		fmt.Fprintf(&b, "%s ", id)
	}
	return b.String()
}

func wideNodes(n int) []ids.NodeID {
	out := make([]ids.NodeID, n)
	for i := range out {
		out[i] = ids.NodeID(fmt.Sprintf("n%d", i))
	}
	return out
}

var starts = []testCase{
	{"a slot makes one cycle", func(k *kit) {
		p := k.activate(build(flow, 1, "a>b"))
		c := k.start(slot(p, 1000))
		k.equal(c.Cycle, int64(1))
		k.equal(c.UUID, ids.CycleUUID(ids.Occasion(p.UID, "1000"), 1))
		k.unchanged(func() {
			again := k.start(slot(p, 1000))
			k.equal([]any{again.Cycle, again.Before}, []any{int64(1), true})
			past := slot(p, 900)
			past.Overlap = true
			_, err := k.StartCycle(k.ctx, epoch, past)
			k.is(err, ledger.ErrAccounted)
		})
		s := k.cycle(c)
		k.equal([]any{s.Status, s.Trigger, s.Slot.UnixMilli(), s.Total}, []any{"running", "slot", int64(1000), int64(2)})
		k.equal(k.state().SlotsStarted, int64(1))
		k.equal(k.state().LastSlot.UnixMilli(), int64(1000))
		k.status(c, "a", task.Ready)
		k.status(c, "b", task.Waiting)
		k.wants("cycle_start", "1000 1", 1)
		active, err := k.Active(k.ctx)
		k.ok(err)
		k.equal([]any{len(active), active[0].UUID}, []any{1, c.UUID})
	}},
	{"a slot of a replaced revision is not started twice", func(k *kit) {
		p := k.activate(build(flow, 1, "a"))
		k.start(slot(p, 1000))
		two := k.activate(build(flow, 2, "a"))
		k.unchanged(func() {
			_, err := k.StartCycle(k.ctx, epoch, slot(two, 1000))
			k.is(err, ledger.ErrAccounted)
			_, err = k.StartCycle(k.ctx, epoch, slot(p, 2000))
			k.is(err, ledger.ErrStale)
		})
	}},
	{"a slot ahead of the clock", func(k *kit) {
		p := k.activate(build(flow, 1, "a"))
		now, err := k.Now(k.ctx)
		k.ok(err)
		k.unchanged(func() {
			c := k.start(slot(p, now.Add(time.Hour).UnixMilli()))
			if c.Ahead < 59*time.Minute || c.Ahead > 61*time.Minute || c.Cycle != 0 {
				k.Fatalf("ahead: %+v", c)
			}
		})
	}},
	{"overlap is skipped and accounted once", func(k *kit) {
		p := k.activate(build(flow, 1, "a"))
		c := k.start(slot(p, 1000))
		k.equal(k.start(slot(p, 2000)).Skipped, "overlap")
		k.unchanged(func() {
			_, err := k.StartCycle(k.ctx, epoch, slot(p, 2000))
			k.is(err, ledger.ErrAccounted)
		})
		busy := k.trigger(p)
		busy.Overlap = false
		k.unchanged(func() {
			got, err := k.StartCycle(k.ctx, epoch, busy)
			k.is(err, ledger.ErrBusy)
			k.equal(got.Cycle, c.Cycle)
		})
		allowed := slot(p, 3000)
		allowed.Overlap, allowed.MaxActive = true, 1
		k.equal(k.start(allowed).Skipped, "overlap backlog"[8:])
		k.equal(k.state().SlotsSkipped, map[string]int64{"overlap": 1, "backlog": 1})
		k.wants("slot_skipped", "2000 2000 1 overlap", 1)
		k.wants("slot_skipped", "3000 3000 1 backlog", 1)
		k.finish(p, c, "a")
		k.equal(k.start(slot(p, 4000)).Cycle, int64(2))
	}},
	{"skip slots", func(k *kit) {
		p := k.activate(build(flow, 1, "a"))
		skip := func(u uuid.UUID, first, last int64) error {
			return k.SkipSlots(k.ctx, epoch, flow, u, time.Time{}, time.UnixMilli(first), time.UnixMilli(last), (last-first)/1000+1, "downtime")
		}
		k.ok(skip(p.UID, 1000, 5000))
		k.unchanged(func() {
			k.ok(skip(p.UID, 1000, 5000))
			k.is(skip(p.UID, 5000, 6000), ledger.ErrAccounted)
			k.is(skip(uuid.New(), 6000, 6000), ledger.ErrGone)
			_, err := k.StartCycle(k.ctx, epoch, slot(p, 5000))
			k.is(err, ledger.ErrAccounted)
		})
		k.equal(k.state().SlotsSkipped, map[string]int64{"downtime": 5})
		k.wants("slot_skipped", "1000 5000 5 downtime", 1)
	}},
	{"slots that Redis forgot", func(k *kit) {
		p := k.activate(build(flow, 1, "a"))
		skip := func(known, at int64) error {
			return k.SkipSlots(k.ctx, epoch, flow, p.UID, time.UnixMilli(known), time.UnixMilli(at), time.UnixMilli(at), 1, "downtime")
		}
		since := func(known, at int64) ledger.Start {
			s := slot(p, at)
			s.Since, s.Overlap = time.UnixMilli(known), true
			return s
		}
		k.unchanged(func() {
			k.is(skip(1000, 2000), ledger.ErrForgotten)
			_, err := k.StartCycle(k.ctx, epoch, since(1000, 2000))
			k.is(err, ledger.ErrForgotten)
		})
		k.equal(k.start(since(0, 1000)).Cycle, int64(1))
		k.ok(skip(1000, 2000))
		k.equal(k.start(since(2000, 3000)).Cycle, int64(2))
		k.unchanged(func() {
			k.is(skip(4000, 5000), ledger.ErrForgotten)
			_, err := k.StartCycle(k.ctx, epoch, since(4000, 5000))
			k.is(err, ledger.ErrForgotten)
			_, err = k.StartCycle(k.ctx, epoch, since(4000, 2000))
			k.is(err, ledger.ErrAccounted)
			k.equal(k.start(since(2000, 3000)).Before, true)
		})
		k.equal(k.start(since(2500, 4000)).Cycle, int64(3)) // more is accounted than the caller knows
	}},
	{"triggers", func(k *kit) {
		p := k.activate(build(flow, 1, "a"))
		keyed := k.trigger(p)
		keyed.TriggerKey = "order 7"
		c := k.start(keyed)
		other := k.trigger(p)
		other.TriggerKey = "order 7"
		plain := k.trigger(p)
		d, err := k.StartCycle(k.ctx, 0, plain) // by any replica
		k.ok(err)
		k.unchanged(func() {
			again := k.start(other)
			k.equal([]any{again.Cycle, again.Before}, []any{c.Cycle, true})
			again, err := k.StartCycle(k.ctx, 0, plain) // the client repeats a command by itself
			k.ok(err)
			k.equal([]any{again.Cycle, again.Before}, []any{d.Cycle, true})
		})
		k.equal(k.cycle(c).Trigger, "manual")
		k.equal(k.state().LastSlot.IsZero(), true)
	}},
	{"refusals of a start", func(k *kit) {
		p := build(flow, 1, "a")
		k.unchanged(func() {
			_, err := k.StartCycle(k.ctx, epoch, slot(p, 1000))
			k.is(err, ledger.ErrGone)
		})
		k.activate(p)
		_, err := k.PauseFlow(k.ctx, flow)
		k.ok(err)
		k.unchanged(func() {
			_, err := k.StartCycle(k.ctx, epoch, slot(p, 1000))
			k.is(err, ledger.ErrPaused)
		})
		_, err = k.DeleteFlow(k.ctx, flow)
		k.ok(err)
		k.unchanged(func() {
			_, err := k.StartCycle(k.ctx, epoch, slot(p, 1000))
			k.is(err, ledger.ErrGone)
			k.is(k.SkipSlots(k.ctx, epoch, flow, p.UID, time.Time{}, time.UnixMilli(1), time.UnixMilli(2), 1, "x"), ledger.ErrGone)
		})
	}},
	{"a thousand entry nodes are offered in parts", func(k *kit) {
		p, c := k.run(wide(1000))
		k.equal(len(k.posted(ledger.KindReady)), 256)
		e := k.posted(ledger.KindSpread)[0]
		from, open, err := k.SpreadFrom(k.ctx, e)
		k.ok(err)
		k.equal([]any{from, open}, []any{256, true})
		next, err := k.SpreadEntries(k.ctx, epoch, e, p.Entries(), from)
		k.ok(err)
		k.equal(next, 384)
		k.unchanged(func() { // the part again, as after a lost answer
			_, err := k.SpreadEntries(k.ctx, epoch, e, p.Entries(), from)
			k.ok(err)
		})
		b := &boss{kit: k, epoch: epoch} // another leader goes on
		b.lead()
		k.equal(len(b.queue), 1000)
		_, open, err = k.SpreadFrom(k.ctx, e)
		k.ok(err)
		k.equal(open, false)
		k.unchanged(func() {
			_, err := k.SpreadEntries(k.ctx, epoch, e, p.Entries(), 768)
			k.ok(err)
		})
		k.status(c, "n999", task.Dispatched)
	}},
}
