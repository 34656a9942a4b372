package schedule

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func mustCompile(t testing.TB, s Spec) *Schedule {
	t.Helper()
	c, err := Compile(s)
	if err != nil {
		t.Fatalf("Compile(%+v): %v", s, err)
	}
	return c
}

func TestCompileRefuses(t *testing.T) {
	tests := []struct {
		name   string
		spec   Spec
		field  string
		reason string
	}{
		{"no kind", Spec{}, "schedule_type", "periodic, cron, manual"},
		{"zero interval", Spec{Kind: Periodic}, "interval", "at least 100ms"},
		{"short interval", Spec{Kind: Periodic, Interval: 99 * time.Millisecond}, "interval", "99ms is too short"},
		{"negative interval", Spec{Kind: Periodic, Interval: -time.Minute}, "interval", "too short"},
		{"long interval", Spec{Kind: Periodic, Interval: MaxInterval + time.Millisecond}, "interval", "366 days"},
		{"part of a millisecond", Spec{Kind: Periodic, Interval: time.Second + 1}, "interval", "whole number of milliseconds"},
		{"periodic with cron", Spec{Kind: Periodic, Interval: time.Minute, Cron: "* * * * *"}, "cron", "takes no cron"},
		{"periodic with timezone", Spec{Kind: Periodic, Interval: time.Minute, Timezone: "UTC"}, "timezone", "belongs to cron"},
		{"manual with interval", Spec{Kind: Manual, Interval: time.Minute}, "interval", "manual"},
		{"cron with interval", Spec{Kind: Cron, Cron: "* * * * *", Interval: time.Minute}, "interval", "cron"},
		{"no expression", Spec{Kind: Cron}, "cron", "is empty"},
		{"four fields", Spec{Kind: Cron, Cron: "* * * *"}, "cron", "cannot be read"},
		{"seven fields", Spec{Kind: Cron, Cron: "* * * * * * *"}, "cron", "cannot be read"},
		{"hour 24", Spec{Kind: Cron, Cron: "0 24 * * *"}, "cron", "cannot be read"},
		{"30 February", Spec{Kind: Cron, Cron: "0 0 30 2 *"}, "cron", "never fires"},
		{"31 of short months", Spec{Kind: Cron, Cron: "0 0 31 4,6,9,11 *"}, "cron", "never fires"},
		{"CRON_TZ", Spec{Kind: Cron, Cron: "CRON_TZ=UTC * * * * *"}, "cron", "field timezone"},
		{"TZ", Spec{Kind: Cron, Cron: " TZ=UTC * * * * *"}, "cron", "field timezone"},
		{"every", Spec{Kind: Cron, Cron: "@every 5m"}, "cron", "interval_seconds"},
		{"unknown descriptor", Spec{Kind: Cron, Cron: "@reboot"}, "cron", "cannot be read"},
		{"hashed", Spec{Kind: Cron, Cron: "H * * * *"}, "cron", "cannot be read"},
		{"long expression", Spec{Kind: Cron, Cron: strings.Repeat("1,", MaxCronLength)}, "cron", "bytes"},
		{"unknown zone", Spec{Kind: Cron, Cron: "* * * * *", Timezone: "Mars/Base"}, "timezone", "Mars/Base"},
		{"path as zone", Spec{Kind: Cron, Cron: "* * * * *", Timezone: "../etc/passwd"}, "timezone", "IANA"},
		{"local zone", Spec{Kind: Cron, Cron: "* * * * *", Timezone: "Local"}, "timezone", "depends on the host"},
		{"overlap queue", Spec{Kind: Manual, Overlap: "queue"}, "overlap", "allowed are skip, allow"},
		{"catchup all", Spec{Kind: Manual, Catchup: "all"}, "catchup", "allowed are none, latest"},
		{"negative window", Spec{Kind: Manual, CatchupWindow: -1}, "catchup_window", "outside"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Compile(tt.spec)
			var bad *Invalid
			if !errors.As(err, &bad) || len(bad.Faults) != 1 {
				t.Fatalf("Compile = %v, want one fault", err)
			}
			if f := bad.Faults[0]; f.Field != tt.field || !strings.Contains(f.Reason, tt.reason) {
				t.Errorf("fault %+v, want field %q and %q", f, tt.field, tt.reason)
			}
		})
	}
}

func TestCompileListsAllFaults(t *testing.T) {
	_, err := Compile(Spec{Kind: Cron, Cron: "nonsense", Timezone: "Nowhere", Overlap: "queue", Catchup: "all", CatchupWindow: -1})
	var bad *Invalid
	if !errors.As(err, &bad) {
		t.Fatalf("Compile = %v", err)
	}
	var fields []string
	for _, f := range bad.Faults {
		fields = append(fields, f.Field)
		if !strings.Contains(err.Error(), f.Field+": ") {
			t.Errorf("the error text leaves out %s: %s", f.Field, err)
		}
	}
	if diff := cmp.Diff([]string{"timezone", "cron", "overlap", "catchup", "catchup_window"}, fields); diff != "" {
		t.Error(diff)
	}
}

func TestCompileFillsDefaults(t *testing.T) {
	got := mustCompile(t, Spec{Kind: Cron, Cron: "@daily"}).Spec()
	want := Spec{Kind: Cron, Cron: "@daily", Timezone: "UTC", Overlap: OverlapSkip, Catchup: CatchupLatest, CatchupWindow: 10 * time.Minute}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestManualHasNoSlots(t *testing.T) {
	s := mustCompile(t, Spec{Kind: Manual})
	if at, ok := s.Next(epoch, epoch); ok {
		t.Errorf("Next = %s", at)
	}
	if diff := cmp.Diff(Due{}, s.Due(time.Time{}, epoch.Add(time.Hour), epoch)); diff != "" {
		t.Error(diff)
	}
}

func TestPeriodicNext(t *testing.T) {
	s := mustCompile(t, Spec{Kind: Periodic, Interval: time.Minute})
	for _, tt := range []struct{ after, want time.Duration }{
		{-time.Hour, 0}, {-1, 0}, {0, time.Minute}, {1, time.Minute}, {time.Minute - 1, time.Minute}, {time.Minute, 2 * time.Minute},
		{1_000_000 * time.Minute, 1_000_001 * time.Minute},
	} {
		got, ok := s.Next(epoch.Add(tt.after), epoch)
		if want := epoch.Add(tt.want); !ok || !got.Equal(want) {
			t.Errorf("Next(anchor%+v) = %s, want %s", tt.after, got, want)
		}
	}
	if got, _ := s.Next(time.Time{}, epoch); !got.Equal(epoch) {
		t.Errorf("Next of the zero time = %s, want the anchor", got)
	}
	odd := epoch.Add(1_999_999)
	if got, _ := s.Next(time.Time{}, odd); !got.Equal(epoch.Add(time.Millisecond)) {
		t.Errorf("an anchor is read to the millisecond, got %s", got)
	}
}

func TestDuePeriodic(t *testing.T) {
	at := func(d time.Duration) time.Time { return epoch.Add(d) }
	const m = time.Minute
	none := Spec{Kind: Periodic, Interval: m, Catchup: CatchupNone}
	tests := []struct {
		name      string
		spec      Spec
		last, now time.Time
		want      Due
	}{
		{"before the anchor", Spec{}, time.Time{}, at(-1), Due{Next: at(0)}},
		{"a new flow runs at once", Spec{}, time.Time{}, at(0), Due{Start: at(0), Next: at(m)}},
		{"nothing new", Spec{}, at(0), at(m - 1), Due{Next: at(m)}},
		{"on time", Spec{}, at(0), at(m), Due{Start: at(m), Next: at(2 * m)}},
		{"three at once", Spec{}, at(0), at(3*m + 5), Due{Start: at(3 * m), Next: at(4 * m),
			Skipped: []Skip{{at(m), at(2 * m), 2, Missed}}}},
		{"the clock went back", Spec{}, at(5 * m), at(2 * m), Due{Next: at(6 * m)}},
		{"last lies before the anchor", Spec{}, at(-m), at(0), Due{Start: at(0), Next: at(m)}},
		{"last lies off the grid", Spec{}, at(30 * time.Second), at(m), Due{Start: at(m), Next: at(2 * m)}},
		{"at the edge of the window", Spec{Interval: time.Hour}, at(0), at(time.Hour + 10*m), Due{Start: at(time.Hour), Next: at(2 * time.Hour)}},
		{"past the window", Spec{Interval: time.Hour}, at(0), at(time.Hour + 10*m + 1), Due{Next: at(2 * time.Hour),
			Skipped: []Skip{{at(time.Hour), at(time.Hour), 1, OutsideCatchupWindow}}}},
		{"past the window, more than one", Spec{Interval: time.Hour}, time.Time{}, at(time.Hour + 11*m), Due{Next: at(2 * time.Hour),
			Skipped: []Skip{{at(0), at(0), 1, Missed}, {at(time.Hour), at(time.Hour), 1, OutsideCatchupWindow}}}},
		{"a window shorter than the tolerance", Spec{CatchupWindow: time.Millisecond}, at(0), at(m + 4*time.Second), Due{Start: at(m), Next: at(2 * m)}},
		{"no catch-up, within the tolerance", none, at(0), at(m + 5*time.Second), Due{Start: at(m), Next: at(2 * m)}},
		{"no catch-up, too late", none, at(0), at(m + 5*time.Second + 1), Due{Next: at(2 * m),
			Skipped: []Skip{{at(m), at(m), 1, SkippedByCatchupNone}}}},
		{"no catch-up, several, the newest on time", none, at(0), at(3 * m), Due{Start: at(3 * m), Next: at(4 * m),
			Skipped: []Skip{{at(m), at(2 * m), 2, SkippedByCatchupNone}}}},
		{"no catch-up, several, too late", none, at(0), at(3*m + 6*time.Second), Due{Next: at(4 * m),
			Skipped: []Skip{{at(m), at(3 * m), 3, SkippedByCatchupNone}}}},
		{"tolerance is half of a short interval", Spec{Interval: time.Second, Catchup: CatchupNone}, at(0), at(1501 * time.Millisecond), Due{Next: at(2 * time.Second),
			Skipped: []Skip{{at(time.Second), at(time.Second), 1, SkippedByCatchupNone}}}},
		{"ten years down", Spec{Interval: 100 * time.Millisecond}, at(0), at(10 * 8760 * time.Hour), Due{
			Start: at(10 * 8760 * time.Hour), Next: at(10*8760*time.Hour + 100*time.Millisecond),
			Skipped: []Skip{{at(100 * time.Millisecond), at(10*8760*time.Hour - 100*time.Millisecond), 3_153_599_999, Missed}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.Kind = Periodic
			if tt.spec.Interval == 0 {
				tt.spec.Interval = m
			}
			got := mustCompile(t, tt.spec).Due(tt.last, tt.now, epoch)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// account adds what an answer accounts for to the slots seen and returns the
// newest of them.
func account(t *rapid.T, seen map[int64]int, d Due, last time.Time, next func(time.Time) time.Time) time.Time {
	before := last
	for _, s := range d.Skipped {
		if !s.From.After(before) {
			t.Fatalf("skip %+v begins at or before %s", s, before)
		}
		n := int64(0)
		for at := s.From; !at.After(s.To); at = next(at) {
			seen[at.UnixMilli()]++
			n++
		}
		if n != s.Count {
			t.Fatalf("skip %+v counts %d slots, there are %d", s, s.Count, n)
		}
		before, last = s.To, s.To
	}
	if !d.Start.IsZero() {
		if !d.Start.After(before) {
			t.Fatalf("start %s lies at or before %s", d.Start, before)
		}
		seen[d.Start.UnixMilli()]++
		last = d.Start
	}
	return last
}

func TestEverySlotIsAccountedForOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.Int64Range(100, 5000).Draw(t, "interval ms")) * time.Millisecond
		s, err := Compile(Spec{Kind: Periodic, Interval: interval,
			Catchup:       rapid.SampledFrom([]string{CatchupNone, CatchupLatest}).Draw(t, "catchup"),
			CatchupWindow: time.Duration(rapid.Int64Range(1, 20_000).Draw(t, "window ms")) * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		anchor := epoch.Add(time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(t, "anchor"))).Truncate(time.Millisecond)
		step := func(at time.Time) time.Time { return at.Add(interval) }
		seen := map[int64]int{}
		now, newest := anchor.Add(-time.Second), time.Time{}
		var last time.Time
		for range rapid.IntRange(1, 30).Draw(t, "looks") {
			now = now.Add(time.Duration(rapid.Int64Range(-2e9, 2e10).Draw(t, "step ns")))
			d := s.Due(last, now, anchor)
			last = account(t, seen, d, last, step)
			if now.After(newest) {
				newest = now
			}
			if !d.Next.After(now) || !last.IsZero() && !d.Next.After(last) {
				t.Fatalf("next %s is not after now %s and last %s", d.Next, now, last)
			}
		}
		n := 0
		for at := anchor; !at.After(newest); at = step(at) {
			if seen[at.UnixMilli()] != 1 {
				t.Fatalf("slot %s is accounted for %d times", at, seen[at.UnixMilli()])
			}
			n++
		}
		if len(seen) != n {
			t.Fatalf("%d slots accounted for, the grid has %d", len(seen), n)
		}
	})
}

func TestPeriodicNextAgreesWithDue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.Int64Range(100, MaxInterval.Milliseconds()).Draw(t, "interval ms")) * time.Millisecond
		s, err := Compile(Spec{Kind: Periodic, Interval: interval})
		if err != nil {
			t.Fatal(err)
		}
		after := epoch.Add(time.Duration(rapid.Int64Range(-1e17, 1e17).Draw(t, "after")))
		next, _ := s.Next(after, epoch)
		if !next.After(after) || next.Before(epoch) {
			t.Fatalf("Next(%s) = %s", after, next)
		}
		if off := next.Sub(epoch) % interval; off != 0 {
			t.Fatalf("%s lies %s off the grid", next, off)
		}
		if earlier := next.Add(-interval); earlier.After(after) && !earlier.Before(epoch) {
			t.Fatalf("Next(%s) = %s passes over %s", after, next, earlier)
		}
		if d := s.Due(next.Add(-1), next, epoch); !d.Start.Equal(next) {
			t.Fatalf("Due at %s = %+v", next, d)
		}
	})
}

func BenchmarkDuePeriodicAfterTenYears(b *testing.B) {
	s := mustCompile(b, Spec{Kind: Periodic, Interval: MinInterval})
	now := epoch.AddDate(10, 0, 0)
	b.ReportAllocs()
	for b.Loop() {
		s.Due(epoch, now, epoch)
	}
}
