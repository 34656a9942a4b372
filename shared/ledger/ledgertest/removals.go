package ledgertest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
)

var removals = []testCase{
	{"archive keeps the record and removes the keys", func(k *kit) {
		p, c := k.run("a>b " + wide(300))
		k.unchanged(func() {
			k.is(k.archive(epoch, k.cycle(c), members(p, -1)), ledger.ErrBusy)
			k.is(k.remove(epoch, c.Cycle, members(p, -1)), ledger.ErrBusy)
		})
		(&boss{kit: k, epoch: epoch}).lead()
		k.finish(p, c, "a", "b")
		k.finish(p, c, wideNodes(300)...)
		_, err := k.ReadArchive(k.ctx, flow, c.Cycle)
		k.is(err, ledger.ErrGone)
		was := k.cycle(c)
		k.ok(k.archive(epoch, was, members(p, -1)))
		k.unchanged(func() { k.ok(k.archive(epoch, was, members(p, -1))) })
		a, err := k.ReadArchive(k.ctx, flow, c.Cycle)
		k.ok(err)
		k.equal([]any{len(a.Nodes), a.Nodes[1].Status, string(a.Outputs["a:out"])}, []any{302, task.Succeeded, "1"})
		k.equal(k.cycle(c).Archived, true)
		for key := range k.dump() {
			if strings.Contains(key, ":node:") || strings.HasSuffix(key, ":joins") || strings.HasSuffix(key, ":outputs") {
				k.Fatalf("%s is left", key)
			}
		}
		k.ok(k.remove(epoch, c.Cycle, nil))
		k.unchanged(func() {
			k.ok(k.remove(epoch, c.Cycle, nil))
			k.is(k.archive(epoch, was, members(p, -1)), ledger.ErrGone)
		})
		for key := range k.dump() {
			if strings.Contains(key, ":cycle:") {
				k.Fatalf("%s is left", key)
			}
		}
		k.equal(k.state().Plans, []int64{1}) // current, so it stays
		k.wants("cycle_removed", "completed", 1)
	}},
	{"several cycles are archived and removed together", func(k *kit) {
		one, c := k.run("a>b c")
		d := k.start(k.trigger(one))
		two := k.activate(build(flow, 2, "a>b c"))
		e, f, g := k.start(k.trigger(two)), k.start(k.trigger(two)), k.start(k.trigger(two))
		for _, x := range []ledger.Started{c, d} {
			k.finish(one, x, "a", "b", "c")
		}
		for _, x := range []ledger.Started{e, f} {
			k.finish(two, x, "a", "b", "c")
		}
		nodes := slices.Repeat([][]ids.NodeID{members(one, -1)}, 5)
		gone := k.cycle(f)
		gone.UUID = uuid.New()
		before := k.dump()
		k.is(k.ArchiveCycles(k.ctx, epoch, []ledger.CycleState{k.cycle(c), k.cycle(g), k.cycle(e), gone, k.cycle(d)}, nodes), ledger.ErrGone)
		for key, text := range k.dump() {
			if strings.Contains(key, fmt.Sprintf(":cycle:%d:", f.Cycle)) || strings.Contains(key, fmt.Sprintf(":cycle:%d:", g.Cycle)) {
				k.equal(text, before[key])
			} else if strings.Contains(key, ":node:") || strings.HasSuffix(key, ":joins") || strings.HasSuffix(key, ":outputs") {
				k.Fatalf("%s is left", key)
			}
		}
		for _, x := range []ledger.Started{c, d, e} {
			a, err := k.ReadArchive(k.ctx, flow, x.Cycle)
			k.ok(err)
			k.equal([]any{k.cycle(x).Archived, len(a.Nodes), a.Nodes[2].Status}, []any{true, 3, task.Succeeded})
		}
		_, err := k.ReadPlan(k.ctx, flow, 1)
		k.is(err, ledger.ErrGone)
		k.equal(k.state().Plans, []int64{2})

		others, err := k.DeleteArchived(k.ctx, epoch, flow, []int64{c.Cycle, f.Cycle, 99, g.Cycle, d.Cycle})
		k.ok(err)
		k.equal(others, []int64{f.Cycle, g.Cycle})
		k.is(k.DeleteCycles(k.ctx, epoch, flow, []int64{g.Cycle, f.Cycle, e.Cycle}, nodes[:3]), ledger.ErrBusy)
		k.unchanged(func() {
			others, err := k.DeleteArchived(k.ctx, epoch, flow, []int64{c.Cycle, d.Cycle, e.Cycle, f.Cycle, g.Cycle})
			k.ok(err)
			k.equal(others, []int64{g.Cycle})
		})
		left, err := k.CycleNumbers(k.ctx, flow)
		k.ok(err)
		k.equal(left, []int64{g.Cycle})
		k.wants("cycle_removed", "completed", 4)
		k.finish(two, g, "a", "b", "c")
		k.ended(g, "completed")
	}},
	{"a plan goes with its last cycle", func(k *kit) {
		one, c := k.run("a")
		d := k.start(k.trigger(one))
		k.activate(build(flow, 2, "a"))
		k.finish(one, c, "a")
		k.finish(one, d, "a")
		k.ok(k.remove(epoch, c.Cycle, members(one, -1)))
		_, err := k.ReadPlan(k.ctx, flow, 1)
		k.ok(err)
		k.ok(k.archive(epoch, k.cycle(d), members(one, -1)))
		k.ok(k.remove(epoch, d.Cycle, nil))
		_, err = k.ReadPlan(k.ctx, flow, 1)
		k.is(err, ledger.ErrGone)
	}},
	{"delete leaves no key behind", func(k *kit) {
		one := k.activate(build(flow, 1, "a>b s>x h l g k "+fan(300), timeout(time.Hour)))
		keyed := k.trigger(one)
		keyed.TriggerKey = "t"
		c := k.start(keyed)
		k.finish(one, c, "a", "s")
		f := failure(one, k.claim(attempt(c, "l", 1)))
		f.Retries, f.Delay = 1, time.Hour
		_, err := k.Fail(k.ctx, f)
		k.ok(err)
		running := k.claim(attempt(c, "b", 1))
		k.ok(k.Decline(k.ctx, attempt(c, "g", 1), worker, time.Hour))
		for _, e := range k.posted(ledger.KindReady) {
			if e.Node == "h" {
				k.ok(k.Hold(k.ctx, epoch, e, "type:z", "no worker"))
			}
		}
		two := k.activate(build(flow, 2, "a>b"))
		s := slot(two, 1000)
		s.Overlap = true
		k.start(s)
		d := k.start(k.trigger(two))
		k.finish(two, d, "a", "b")
		k.ok(k.archive(epoch, k.cycle(d), members(two, -1)))
		_, err = k.PauseFlow(k.ctx, flow)
		k.ok(err)
		k.refused(request(attempt(c, "k", 1)), ledger.Held)
		_, err = k.DeleteFlow(k.ctx, flow)
		k.ok(err)
		left, err := k.PurgeFlow(k.ctx, epoch, flow, "")
		k.ok(err)
		k.equal(left, int64(3))
		k.ok(k.Complete(k.ctx, success(one, running))) // workers go on meanwhile

		b := &boss{kit: k, epoch: epoch}
		b.lead()
		d2 := k.dump()
		for _, key := range []string{":epoch", ":schema", ":journal"} {
			delete(d2, k.Prefix()+key)
		}
		delete(d2, k.Prefix()+":outbox") // empty stream
		gone, err := k.Deleted(k.ctx, []uuid.UUID{one.UID, uuid.New()})
		k.ok(err)
		k.equal([]bool{gone[one.UID], len(gone) == 2}, []bool{true, true})
		delete(d2, k.Prefix()+":deleted")
		delete(d2, k.Prefix()+":holds") // names of waits, of any flow
		if len(d2) > 0 {
			k.Fatalf("left behind: %v", d2)
		}
		k.quiet()
		k.wants("flow_deleted", "", 1)
		k.wants("flow_purged", "", 1)
		_, err = k.PurgeFlow(k.ctx, epoch, flow, "1-1")
		k.ok(err)
	}},
	{"a running flow is not purged", func(k *kit) {
		k.run("a")
		k.unchanged(func() {
			left, err := k.PurgeFlow(k.ctx, epoch, flow, "")
			k.ok(err)
			k.equal(left, int64(0))
		})
	}},
}
