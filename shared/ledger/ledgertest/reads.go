package ledgertest

import (
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"strings"
)

var reads = []testCase{
	{"what is not there", func(k *kit) {
		k.unchanged(func() {
			_, err := k.Cycle(k.ctx, flow, 1)
			k.is(err, ledger.ErrGone)
			_, err = k.Worker(k.ctx, "nobody")
			k.is(err, ledger.ErrGone)
			cycles, err := k.Cycles(k.ctx, flow, 10, 0)
			k.ok(err)
			active, err := k.Active(k.ctx)
			k.ok(err)
			leases, err := k.Leases(k.ctx)
			k.ok(err)
			timers, err := k.Timers(k.ctx, 10)
			k.ok(err)
			workers, err := k.Workers(k.ctx)
			k.ok(err)
			flows, err := k.Flows(k.ctx, []ids.FlowID{"x", "y"})
			k.ok(err)
			k.equal(len(cycles)+len(active)+len(leases)+len(timers)+len(workers)+len(flows), 0)
		})
	}},
	{"flows, the journal and the outbox page by page", func(k *kit) {
		_, c := k.run(wide(20))
		all, err := k.Flows(k.ctx, []ids.FlowID{flow, "x"})
		k.ok(err)
		k.equal(all[flow], k.state())
		k.equal(len(all), 1)
		var pages []ledger.Record
		for after := ""; ; {
			part, err := k.Journal(k.ctx, after, 7)
			k.ok(err)
			if len(part) == 0 {
				break
			}
			pages = append(pages, part...)
			after = part[len(part)-1].ID
		}
		k.equal(pages, k.journal())
		for i, r := range pages { // from any record on, though a step may write several at once
			rest, err := k.Journal(k.ctx, r.ID, 1_000)
			k.ok(err)
			k.equal(append([]ledger.Record{}, rest...), append([]ledger.Record{}, pages[i+1:]...))
			if !strings.Contains(r.ID, ".") { // an id with more than its entry has, as of another partition
				beyond, err := k.Journal(k.ctx, r.ID+".999", 1_000)
				k.ok(err)
				of := 0
				for of < len(rest) && strings.HasPrefix(rest[of].ID, r.ID+".") {
					of++
				}
				k.equal(append([]ledger.Record{}, beyond...), append([]ledger.Record{}, rest[of:]...))
			}
		}
		first := pages[0]
		k.equal([]any{first.Op, first.Epoch}, []any{"takeover", epoch})
		if first.At.IsZero() {
			k.Fatal("a record has no time")
		}
		part, err := k.Outbox(k.ctx, "", 7)
		k.ok(err)
		rest, err := k.Outbox(k.ctx, part[6].ID, 100)
		k.ok(err)
		k.equal(append(part, rest...), k.outbox())
		posted, err := k.ReadPosted(k.ctx)
		k.ok(err)
		k.equal([]bool{posted.Attempt(ledger.KindReady, attempt(c, "n0", 1)), posted.Attempt(ledger.KindReady, attempt(c, "n0", 2)),
			posted.Cycle(ledger.KindReady, flow, c.Cycle), posted.Cycle(ledger.KindSweep, flow, c.Cycle)}, []bool{true, false, true, false})
	}},
}
