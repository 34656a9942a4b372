package schedule

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func zoneOf(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// slots lists the slots in (from, to] as wall times with offset.
func slots(t testing.TB, expr, zone, from, to string) []string {
	t.Helper()
	s := mustCompile(t, Spec{Kind: Cron, Cron: expr, Timezone: zone})
	loc := zoneOf(t, zone)
	const layout = "2006-01-02 15:04"
	begin, err := time.ParseInLocation(layout, from, loc)
	if err != nil {
		t.Fatal(err)
	}
	end, err := time.ParseInLocation(layout, to, loc)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for at, ok := s.Next(begin, begin); ok && !at.After(end); at, ok = s.Next(at, begin) {
		if at.Location() != time.UTC {
			t.Fatalf("%s is not in UTC", at)
		}
		out = append(out, at.In(loc).Format("02 15:04 -0700"))
	}
	return out
}

func TestCronAcrossClockChanges(t *testing.T) {
	const ny, london, howe, sydney, santiago = "America/New_York", "Europe/London", "Australia/Lord_Howe", "Australia/Sydney", "America/Santiago"
	tests := []struct {
		name, expr, zone, from, to string
		want                       string
	}{
		// New York: 8 March 2026 02:00 -> 03:00, 1 November 2026 02:00 -> 01:00.
		{"spring, in the gap", "30 2 * * *", ny, "2026-03-07 12:00", "2026-03-09 12:00", "08 03:30 -0400, 09 02:30 -0400"},
		{"spring, start of the gap", "0 2 * * *", ny, "2026-03-07 12:00", "2026-03-09 12:00", "08 03:00 -0400, 09 02:00 -0400"},
		{"spring, gap meets the hour after it", "30 2,3 * * *", ny, "2026-03-07 12:00", "2026-03-08 12:00", "08 03:30 -0400"},
		{"spring, quarter hours", "*/15 * * * *", ny, "2026-03-08 01:30", "2026-03-08 03:30", "08 01:45 -0500, 08 03:00 -0400, 08 03:15 -0400, 08 03:30 -0400"},
		{"spring, a day that begins in the gap", "30 2 8 3 *", ny, "2026-01-01 00:00", "2027-03-07 00:00", "08 03:30 -0400"},
		{"autumn, doubled hour", "30 1 * * *", ny, "2026-10-31 12:00", "2026-11-02 12:00", "01 01:30 -0400, 02 01:30 -0500"},
		{"autumn, several in the doubled hour", "0,30 1 * * *", ny, "2026-10-31 12:00", "2026-11-01 12:00", "01 01:00 -0400, 01 01:30 -0400"},
		{"autumn, after the doubled hour", "0 2 * * *", ny, "2026-10-31 12:00", "2026-11-01 12:00", "01 02:00 -0500"},
		{"autumn, hourly goes on", "30 * * * *", ny, "2026-11-01 00:00", "2026-11-01 02:40", "01 00:30 -0400, 01 01:30 -0400, 01 01:30 -0500, 01 02:30 -0500"},
		{"autumn, quarter hours go on", "*/30 * * * *", ny, "2026-11-01 00:40", "2026-11-01 02:00", "01 01:00 -0400, 01 01:30 -0400, 01 01:00 -0500, 01 01:30 -0500, 01 02:00 -0500"},
		{"autumn, @hourly goes on", "@hourly", ny, "2026-11-01 00:30", "2026-11-01 02:10", "01 01:00 -0400, 01 01:00 -0500, 01 02:00 -0500"},
		// London: 29 March 2026 01:00 -> 02:00, 25 October 2026 02:00 -> 01:00.
		{"London spring", "15 1 * * *", london, "2026-03-28 12:00", "2026-03-30 12:00", "29 02:15 +0100, 30 01:15 +0100"},
		{"London autumn", "15 1 * * *", london, "2026-10-24 12:00", "2026-10-26 12:00", "25 01:15 +0100, 26 01:15 +0000"},
		// Lord Howe: 4 October 2026 02:00 -> 02:30, 5 April 2026 02:00 -> 01:30.
		{"Lord Howe spring", "15 2 * * *", howe, "2026-10-03 12:00", "2026-10-05 12:00", "04 02:45 +1100, 05 02:15 +1100"},
		{"Lord Howe spring, hourly", "0 * * * *", howe, "2026-10-04 00:30", "2026-10-04 03:00", "04 01:00 +1030, 04 02:30 +1100, 04 03:00 +1100"},
		{"Lord Howe autumn", "45 1 * * *", howe, "2026-04-04 12:00", "2026-04-06 12:00", "05 01:45 +1100, 06 01:45 +1030"},
		{"Lord Howe autumn, not doubled", "15 1 * * *", howe, "2026-04-04 12:00", "2026-04-05 12:00", "05 01:15 +1100"},
		// Sydney: 4 October 2026 02:00 -> 03:00, 5 April 2026 03:00 -> 02:00.
		{"Sydney spring", "30 2 * * *", sydney, "2026-10-03 12:00", "2026-10-05 12:00", "04 03:30 +1100, 05 02:30 +1100"},
		{"Sydney autumn", "30 2 * * *", sydney, "2026-04-04 12:00", "2026-04-06 12:00", "05 02:30 +1100, 06 02:30 +1000"},
		// Santiago changes at midnight: 6 September 2026 00:00 -> 01:00, 5 April 2026 00:00 -> 4 April 23:00.
		{"Santiago spring, no midnight", "@daily", santiago, "2026-09-05 12:00", "2026-09-07 12:00", "06 01:00 -0300, 07 00:00 -0300"},
		{"Santiago autumn, the day ends twice", "30 23 * * *", santiago, "2026-04-04 12:00", "2026-04-05 23:45", "04 23:30 -0300, 05 23:30 -0400"},
		{"Santiago autumn, one midnight", "@daily", santiago, "2026-04-04 12:00", "2026-04-05 12:00", "05 00:00 -0400"},
		// Samoa left out 30 December 2011.
		{"a whole day left out", "0 12 * * *", "Pacific/Apia", "2011-12-29 00:00", "2012-01-01 00:00", "29 12:00 -1000, 31 12:00 +1400"},
		// The library reads both day fields as crontab does: either may match.
		{"day of month or of week", "0 0 13 * FRI", "UTC", "2026-06-10 00:00", "2026-06-20 00:00", "12 00:00 +0000, 13 00:00 +0000, 19 00:00 +0000"},
		{"third Friday", "30 15 * * FRI#3", ny, "2026-06-01 00:00", "2026-07-31 00:00", "19 15:30 -0400, 17 15:30 -0400"},
		{"last day of the month", "0 0 L * *", "UTC", "2026-02-01 00:00", "2026-04-01 00:00", "28 00:00 +0000, 31 00:00 +0000"},
		{"leap day", "0 0 29 2 *", "UTC", "2096-03-01 00:00", "2108-03-01 00:00", "29 00:00 +0000, 29 00:00 +0000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(slots(t, tt.expr, tt.zone, tt.from, tt.to), ", ")
			if got != tt.want {
				t.Errorf("%s in %s:\n got %s\nwant %s", tt.expr, tt.zone, got, tt.want)
			}
		})
	}
}

// Read on its own clock, an expression has the slots that a scan of every
// second finds: each second whose wall time matches, those of a repeated hour
// once unless every hour matches, and those left out moved by the jump.
func TestCronAgreesWithScan(t *testing.T) {
	days := map[string][]time.Time{
		"America/New_York":    {time.Date(2026, 3, 8, 7, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC)},
		"Australia/Lord_Howe": {time.Date(2026, 10, 3, 15, 30, 0, 0, time.UTC), time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC)},
		"America/Santiago":    {time.Date(2026, 9, 6, 4, 0, 0, 0, time.UTC), time.Date(2026, 4, 5, 3, 0, 0, 0, time.UTC)},
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"America/New_York", "Australia/Lord_Howe", "America/Santiago"}).Draw(t, "zone")
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		minute := rapid.SampledFrom([]string{"*/5", "0", "15", "45", "7,52", "*/20"}).Draw(t, "minute")
		hour := rapid.SampledFrom([]string{"*", "*/2", "1", "2", "1-3", "0,23", "23"}).Draw(t, "hour")
		s, err := Compile(Spec{Kind: Cron, Cron: minute + " " + hour + " * * *", Timezone: name})
		if err != nil {
			t.Fatal(err)
		}
		change := rapid.SampledFrom(days[name]).Draw(t, "change")
		from, to := change.Add(-5*time.Hour), change.Add(5*time.Hour)
		_, offBefore := change.Add(-time.Second).In(zone).Zone()
		_, offAfter := change.In(zone).Zone()
		if offBefore == offAfter {
			t.Fatalf("the clock of %s does not change at %s", name, change)
		}
		jump := time.Duration(offAfter-offBefore) * time.Second
		matches := func(at time.Time, offset int) bool {
			wall := at.Add(time.Duration(offset) * time.Second)
			return s.cron.wall.Next(wall.Add(-time.Second)).Equal(wall)
		}
		var want []time.Time
		for at := from.Add(time.Minute); !at.After(to); at = at.Add(time.Minute) {
			_, offset := at.In(zone).Zone()
			hit := matches(at, offset)
			if !at.Before(change) && at.Before(change.Add(jump)) && matches(at, offBefore) {
				hit = true
			}
			if hour != "*" && !at.Before(change) && at.Before(change.Add(-jump)) {
				hit = false
			}
			if hit {
				want = append(want, at)
			}
		}
		var got []time.Time
		for at, ok := s.Next(from, from); ok && !at.After(to); at, ok = s.Next(at, from) {
			got = append(got, at)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestCronSlotsBeginAfterTheAnchor(t *testing.T) {
	s := mustCompile(t, Spec{Kind: Cron, Cron: "0 * * * *"})
	if d := s.Due(time.Time{}, epoch, epoch); !d.Start.IsZero() || !d.Next.Equal(epoch.Add(time.Hour)) {
		t.Errorf("Due at the anchor = %+v", d)
	}
	if at, _ := s.Next(time.Time{}, epoch); !at.Equal(epoch.Add(time.Hour)) {
		t.Errorf("Next = %s", at)
	}
	if at, _ := s.Next(epoch.Add(-1), epoch.Add(-1)); !at.Equal(epoch) {
		t.Errorf("Next just before a slot = %s", at)
	}
}

func TestDueCron(t *testing.T) {
	h := time.Hour
	at := func(d time.Duration) time.Time { return epoch.Add(d) }
	tests := []struct {
		name    string
		catchup string
		last    time.Time
		now     time.Time
		want    Due
	}{
		{"on time", CatchupLatest, at(0), at(h), Due{Start: at(h), Next: at(2 * h)}},
		{"nothing yet", CatchupLatest, at(h), at(2*h - 1), Due{Next: at(2 * h)}},
		{"missed", CatchupLatest, at(0), at(4*h + time.Minute), Due{Start: at(4 * h), Next: at(5 * h), Skipped: []Skip{{at(h), at(3 * h), 3, Missed}}}},
		{"outside the window", CatchupLatest, at(0), at(2*h + 11*time.Minute), Due{Next: at(3 * h),
			Skipped: []Skip{{at(h), at(h), 1, Missed}, {at(2 * h), at(2 * h), 1, OutsideCatchupWindow}}}},
		{"no catch-up, on time", CatchupNone, at(0), at(h + 5*time.Second), Due{Start: at(h), Next: at(2 * h)}},
		{"no catch-up, late", CatchupNone, at(0), at(2*h + 6*time.Second), Due{Next: at(3 * h), Skipped: []Skip{{at(h), at(2 * h), 2, SkippedByCatchupNone}}}},
		{"the clock went back", CatchupLatest, at(5 * h), at(h), Due{Next: at(6 * h)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := mustCompile(t, Spec{Kind: Cron, Cron: "0 * * * *", Catchup: tt.catchup}).Due(tt.last, tt.now, epoch)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCronCountsPastTheLimit(t *testing.T) {
	s := mustCompile(t, Spec{Kind: Cron, Cron: "* * * * *"})
	now := epoch.Add(365 * 24 * time.Hour)
	d := s.Due(time.Time{}, now, epoch)
	want := Due{Start: now, Next: now.Add(time.Minute), Skipped: []Skip{{From: epoch.Add(time.Minute), To: now.Add(-time.Minute), Count: 365*24*60 - 1, Reason: Missed}}}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	s = mustCompile(t, Spec{Kind: Cron, Cron: "* * * * * *"})
	at := epoch.Add((MaxCounted + 2) * time.Second)
	d = s.Due(time.Time{}, at, epoch)
	if len(d.Skipped) != 1 || d.Skipped[0].Count != MaxCounted+1 || !d.Skipped[0].To.Equal(at.Add(-time.Second)) {
		t.Errorf("one slot past the limit: %+v", d)
	}
}

func TestEveryCronSlotIsAccountedForOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom([]string{"UTC", "America/New_York", "Australia/Lord_Howe"}).Draw(t, "zone")
		expr := rapid.SampledFrom([]string{"*/7 * * * *", "0 * * * *", "30 1,2 * * *", "*/30 * * * * *"}).Draw(t, "cron")
		s, err := Compile(Spec{Kind: Cron, Cron: expr, Timezone: zone,
			Catchup:       rapid.SampledFrom([]string{CatchupNone, CatchupLatest}).Draw(t, "catchup"),
			CatchupWindow: time.Duration(rapid.Int64Range(1, 7200).Draw(t, "window s")) * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		anchor := rapid.SampledFrom([]time.Time{time.Date(2026, 3, 8, 4, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC),
			time.Date(2026, 10, 3, 12, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 12, 0, 0, 0, time.UTC)}).Draw(t, "anchor")
		step := func(at time.Time) time.Time {
			next, _ := s.Next(at, anchor)
			return next
		}
		seen := map[int64]int{}
		now, newest, last := anchor, anchor, time.Time{}
		for range rapid.IntRange(1, 12).Draw(t, "looks") {
			now = now.Add(time.Duration(rapid.Int64Range(-10, 3600).Draw(t, "step s")) * time.Second)
			last = account(t, seen, s.Due(last, now, anchor), last, step)
			if now.After(newest) {
				newest = now
			}
		}
		n := 0
		for at := step(anchor); !at.After(newest); at = step(at) {
			if seen[at.UnixMilli()] != 1 {
				t.Fatalf("slot %s is accounted for %d times", at, seen[at.UnixMilli()])
			}
			n++
		}
		if len(seen) != n {
			t.Fatalf("%d slots accounted for, there are %d", len(seen), n)
		}
	})
}

func FuzzCompileCron(f *testing.F) {
	for _, s := range []string{"*/5 * * * *", "0 0 30 2 *", "@daily", "TZ=x", "0 0 L * *", "1-2-3 * * * *", "0 0 * * FRI#9", "*/0 * * * *"} {
		f.Add(s, "America/New_York")
	}
	f.Fuzz(func(t *testing.T, expr, zone string) {
		s, err := Compile(Spec{Kind: Cron, Cron: expr, Timezone: zone})
		if err != nil {
			return
		}
		at, ok := s.Next(epoch, epoch)
		if !ok || !at.After(epoch) {
			t.Fatalf("%q fires, but Next = %s, %v", expr, at, ok)
		}
	})
}

func BenchmarkCronNext(b *testing.B) {
	s := mustCompile(b, Spec{Kind: Cron, Cron: "*/5 9-16 * * MON-FRI", Timezone: "America/New_York"})
	b.ReportAllocs()
	for b.Loop() {
		s.Next(epoch, epoch)
	}
}

func BenchmarkDueCronAfterAYear(b *testing.B) {
	s := mustCompile(b, Spec{Kind: Cron, Cron: "* * * * * *", Timezone: "America/New_York"})
	now := epoch.AddDate(1, 0, 0)
	for b.Loop() {
		s.Due(epoch, now, epoch)
	}
}

func BenchmarkCronNextRare(b *testing.B) {
	s := mustCompile(b, Spec{Kind: Cron, Cron: "0 0 29 2 *", Timezone: "America/New_York"})
	b.ReportAllocs()
	for b.Loop() {
		s.Next(epoch, epoch)
	}
}
