package ledgertest

import (
	"testing"

	"github.com/tradingflow/weather-station/shared/ledger"
)

// Attempts prepares a flow of one node with three successors and returns a
// function that claims and completes that node in a fresh cycle.
func Attempts(b *testing.B, l Ledger) func() {
	k := newKit(b, l)
	p := k.activate(build(flow, 1, "a>x a>y a>z"))
	return func() {
		b.StopTimer()
		s := k.trigger(p)
		s.MaxActive = 1 << 40
		c := k.start(s)
		k.ok(k.Drop(k.ctx, epoch, entryIDs(k.outbox())...))
		b.StartTimer()
		q, refusal, err := l.Claim(k.ctx, request(attempt(c, "a", 1)))
		if err != nil || refusal != ledger.Granted {
			b.Fatal(refusal, err)
		}
		k.ok(l.Complete(k.ctx, success(p, q)))
	}
}

func entryIDs(all []ledger.Entry) []string {
	out := make([]string, len(all))
	for i, e := range all {
		out[i] = e.ID
	}
	return out
}

// Duplicates returns a function that claims a running attempt once more, as a
// message that came twice makes a worker do.
func Duplicates(b *testing.B, l Ledger) func() {
	k := newKit(b, l)
	_, c := k.run("a")
	k.claim(attempt(c, "a", 1))
	return func() { k.refused(request(attempt(c, "a", 1)), ledger.Over) }
}
