package schedule

import (
	"strings"
	"time"
	_ "time/tzdata" // every coordinator knows every zone, whatever its host has installed

	"github.com/netresearch/go-cron"
)

// MaxCounted is how many missed slots of a cron schedule are counted one by
// one. Beyond it the rest of the count is extrapolated from the density of
// those counted; From and To of the Skip stay exact.
const MaxCounted = 10_000

// MaxCronLength is the longest cron expression accepted, in bytes.
const MaxCronLength = 256

// searchYears is how far ahead a slot is looked for. 29 February on a given
// weekday recurs within 40 years, also across a century without a leap day.
const searchYears = 40

// allHours is the hour field of an expression that fires in every hour.
const allHours = 1<<24 - 1

// cronTable is a cron expression in a timezone.
type cronTable struct {
	wall   *cron.SpecSchedule // read on a clock without zone changes
	zone   *time.Location
	hourly bool // every hour matches: goes on through a repeated hour
}

func compileCron(expr, timezone string, bad *Invalid) *cronTable {
	zone := loadZone(timezone, bad)
	wall := parseExpression(strings.TrimSpace(expr), bad)
	if zone == nil || wall == nil {
		return nil
	}
	return &cronTable{wall: wall, zone: zone, hourly: wall.Hour&allHours == allHours}
}

func loadZone(name string, bad *Invalid) *time.Location {
	if name == "" {
		return time.UTC
	}
	if strings.EqualFold(name, "local") {
		bad.add("timezone", "%q depends on the host; give an IANA name such as America/New_York", name)
		return nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		bad.add("timezone", "%q is not an IANA timezone; use a name such as America/New_York or UTC", clip(name))
		return nil
	}
	return zone
}

func parseExpression(expr string, bad *Invalid) *cron.SpecSchedule {
	upper := strings.ToUpper(expr)
	switch {
	case expr == "":
		bad.add("cron", `is empty; give five or six fields, e.g. "*/5 9-16 * * MON-FRI"`)
		return nil
	case len(expr) > MaxCronLength:
		bad.add("cron", "has %d bytes; at most %d are allowed", len(expr), MaxCronLength)
		return nil
	case strings.HasPrefix(upper, "TZ=") || strings.HasPrefix(upper, "CRON_TZ="):
		bad.add("cron", "%q carries a timezone; give it in the field timezone", clip(expr))
		return nil
	case strings.HasPrefix(upper, "@EVERY"):
		bad.add("cron", "%q is an interval; give it in the field interval_seconds", clip(expr))
		return nil
	}
	parser := cron.MustNewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow |
		cron.Descriptor | cron.Extended | cron.DowOrDom).WithMaxSearchYears(searchYears)
	parsed, err := parser.Parse(expr)
	if err != nil {
		bad.add("cron", "%q cannot be read: %s", clip(expr), clip(err.Error()))
		return nil
	}
	wall, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		bad.add("cron", "%q is not a cron expression of five or six fields", clip(expr))
		return nil
	}
	wall.Location = time.UTC
	if wall.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		bad.add("cron", "%q never fires", clip(expr))
		return nil
	}
	return wall
}

// next returns the first slot strictly after t, in UTC, or the zero time.
//
// The expression is read on a wall clock without changes, and the zone is
// walked piece by piece: within a piece the offset from UTC is constant, so
// wall times and instants correspond one to one. doc.go tells what happens at
// the seams.
func (c *cronTable) next(t time.Time) time.Time {
	for limit := t.AddDate(searchYears, 0, 0); t.Before(limit); {
		at := t.Add(1).In(c.zone)
		begin, end := at.ZoneBounds()
		_, offset := at.Zone()
		slot := c.inPiece(t, begin, offset)
		switch {
		case !slot.IsZero() && (end.IsZero() || slot.Before(end)):
			return slot.UTC()
		case end.IsZero() || slot.IsZero():
			return time.Time{}
		}
		t = end.Add(-1)
		// Offsets differ by little more than a day, so a slot that is far away
		// here has no other one long before it in a later piece.
		if near := slot.Add(-72 * time.Hour); near.After(t) {
			t = near
		}
	}
	return time.Time{}
}

// inPiece returns the first slot after t under the rules of the piece that
// begins at begin. The answer may lie beyond the piece's end.
func (c *cronTable) inPiece(t, begin time.Time, offset int) time.Time {
	if begin.IsZero() {
		return c.onOffset(t, offset)
	}
	_, before := begin.Add(-1).In(c.zone).Zone()
	jump := time.Duration(offset-before) * time.Second
	if jump < 0 && !c.hourly {
		// These wall times ran already, before the clock went back.
		if again := begin.Add(-jump - 1); t.Before(again) {
			t = again
		}
	}
	slot := c.onOffset(t, offset)
	if jump > 0 && t.Before(begin.Add(jump)) {
		// Wall times that the jump left out run as if it had not come yet.
		moved := c.onOffset(t, before)
		if !moved.IsZero() && moved.Before(begin.Add(jump)) && (slot.IsZero() || moved.Before(slot)) {
			return moved
		}
	}
	return slot
}

// onOffset returns the first slot after t on a clock that always stands offset
// seconds ahead of UTC.
func (c *cronTable) onOffset(t time.Time, offset int) time.Time {
	shift := time.Duration(offset) * time.Second
	slot := c.wall.Next(t.UTC().Add(shift))
	if slot.IsZero() {
		return slot
	}
	return slot.Add(-shift)
}

// newest returns the newest slot at or before now. first is a slot at or
// before now. It takes a number of steps that grows with the logarithm of the
// time between the two.
func (c *cronTable) newest(first, now time.Time) time.Time {
	// A slot follows lo at or before now as long as lo lies before the newest.
	lo, hi := first.Unix(), now.Unix()
	best := first
	for lo < hi {
		mid := lo + (hi-lo)/2
		slot := c.next(time.Unix(mid, 0))
		if slot.IsZero() || slot.After(now) {
			hi = mid
			continue
		}
		best = slot
		lo = slot.Unix()
	}
	return best
}

// between returns the run of slots from first up to, but without, newest.
func (c *cronTable) between(first, newest time.Time) Skip {
	var run Skip
	for t := first; t.Before(newest); t = c.next(t) {
		if run.Count == MaxCounted {
			run.Count += c.estimate(first, run.To, newest)
			run.To = c.newest(run.To, newest.Add(-1))
			break
		}
		run.To = t
		run.Count++
	}
	if run.Count > 0 {
		run.From = first
	}
	return run
}

// estimate says how many slots lie after to and before newest, at the density
// of the MaxCounted slots from first to to. It answers at least 1.
func (c *cronTable) estimate(first, to, newest time.Time) int64 {
	covered := to.Sub(first).Seconds()
	rest := newest.Sub(to).Seconds()
	return max(1, int64((MaxCounted-1)*rest/covered+0.5)-1)
}
