package ledger

import (
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// A start notes its slot or trigger last. One that tore before that is known by
// the cycle it made, and is not made twice.
func TestATornStartIsKnown(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		ctx := t.Context()
		s := setScene(t, l)
		byHand := Start{Plan: s.p, TriggerKey: "k", Occasion: ids.Occasion(s.p.UID, "k"), Overlap: true}
		first := must(l.StartCycle(ctx, 0, byHand))
		must(l.rdb.HDel(ctx, l.flowKey("f", "triggers"), "k").Result())
		if again := must(l.StartCycle(ctx, 0, byHand)); again.Cycle != first.Cycle || !again.Before {
			t.Errorf("by hand: %+v after %+v", again, first)
		}
		if n := must(l.rdb.HGet(ctx, l.flowKey("f", "triggers"), "k").Int64()); n != first.Cycle {
			t.Errorf("the trigger is noted as cycle %d", n)
		}
		slot := Start{Plan: s.p, Slot: time.UnixMilli(5000), Occasion: ids.Occasion(s.p.UID, "5000"), Overlap: true}
		second := must(l.StartCycle(ctx, 10, slot))
		must(l.rdb.HDel(ctx, l.flowKey("f", "state"), "last_slot", "last_slot_uuid", "last_slot_cycle", "slots_started").Result())
		if again := must(l.StartCycle(ctx, 10, slot)); again.Cycle != second.Cycle || !again.Before {
			t.Errorf("slot: %+v after %+v", again, second)
		}
		if f := must(l.Flow(ctx, "f")); f.SlotsStarted != 1 || f.LastSlot.UnixMilli() != 5000 {
			t.Errorf("%d slots are counted, the last is %s", f.SlotsStarted, f.LastSlot)
		}
	})
}
