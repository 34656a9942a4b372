package control_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/shared/ids"
)

// scheduled is a flow with the fields of a schedule.
func scheduled(id, fields string) []byte {
	return fmt.Appendf(nil, `{"flow_id":%q,"name":"n",%s,"nodes":[{"id":"a","type":"delay"}],"edges":[]}`, id, fields)
}

// TestASchedulesSlotsAreAccountedForWhenItIsReplaced, though nobody leads: those up to
// the instant of the replacement, once, whoever replaces it and how often.
func TestASchedulesSlotsAreAccountedForWhenItIsReplaced(t *testing.T) {
	s := open(t)
	etcd := s.real()
	a, b := s.coordinator("a", etcd), s.coordinator("b", etcd)
	began := time.Now().Truncate(time.Second)
	at := func(after time.Duration) { s.redis.SetTime(began.Add(after)) }
	want := func(step string, replaced int64, last time.Duration) {
		t.Helper()
		st, err := s.ledger.Flow(t.Context(), "f")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(map[string]int64{"replaced": replaced}, st.SlotsSkipped); replaced > 0 && d != "" {
			t.Errorf("%s: slots skipped (-want +got):\n%s", step, d)
		}
		if got := st.LastSlot.Sub(began); replaced > 0 && got != last {
			t.Errorf("%s: slots are accounted for up to %s, want %s", step, got, last)
		}
	}
	at(0)
	s.register(a, scheduled("f", `"schedule_type":"periodic","interval_seconds":1`))
	at(10 * time.Second) // its slots are at 0 to 9 s; that at 10 s is the next one's
	s.register(b, scheduled("f", `"schedule_type":"periodic","interval_seconds":2`))
	want("another interval", 10, 9*time.Second)
	at(14500 * time.Millisecond) // 10, 12, 14 s
	s.register(a, scheduled("f", `"schedule_type":"cron","cron":"*/5 * * * * *"`))
	want("cron", 13, 14*time.Second)
	s.register(a, scheduled("f", `"schedule_type":"cron","cron":"*/5 * * * * *","cycle_timeout":"9s"`))
	want("the same schedule", 13, 14*time.Second)
	if _, err := b.PauseFlow(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	at(10 * time.Minute)
	s.register(b, scheduled("f", `"schedule_type":"manual"`))
	step := 5 * time.Second
	first := began.Add(14500 * time.Millisecond).Truncate(step).Add(step) // by the clock, not since the beginning
	last := began.Add(10 * time.Minute).Truncate(step)
	want("manual, and paused", 13+int64(last.Sub(first)/step)+1, last.Sub(began))

	// What the leader has accounted for meanwhile is not accounted for again.
	st, err := s.ledger.Flow(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	if f, err := a.GetFlow(t.Context(), "f"); err != nil || f.Slots.Pending != 0 {
		t.Errorf("slots %+v, %v", f.Slots, err)
	}
	var first0, end int64
	total := int64(0)
	for after := ""; ; {
		records, err := s.ledger.Journal(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			after = r.ID
			if r.Op != "slot_skipped" || r.Flow != ids.FlowID("f") {
				continue
			}
			var from, to, n int64
			if _, err := fmt.Sscan(r.Detail, &from, &to, &n); err != nil || from <= end || to < from {
				t.Errorf("%q after slot %d", r.Detail, end)
			}
			if first0 == 0 {
				first0 = from
			}
			end, total = to, total+n
		}
		if len(records) == 0 {
			break
		}
	}
	if first0 != began.UnixMilli() || total != st.SlotsSkipped["replaced"] {
		t.Errorf("the journal has %d slots from %d on; the flow counts %v", total, first0, st.SlotsSkipped)
	}
	p, err := a.Verify(t.Context(), httpapi.VerifyRange{})
	if err != nil || !p.Clean {
		t.Errorf("verify: %+v, %v", p.Violations, err)
	}
}
