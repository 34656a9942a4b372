package schedule

import (
	"fmt"
	"strings"
	"time"
)

// Kind says what makes the slots of a flow.
type Kind string

// The kinds of schedule.
const (
	Periodic Kind = "periodic" // a fixed interval from the anchor
	Cron     Kind = "cron"     // a cron expression in a timezone
	Manual   Kind = "manual"   // no slots: cycles start by hand or by a call
)

// Overlap policies: what a due slot does while an earlier cycle still runs.
const (
	OverlapSkip  = "skip"
	OverlapAllow = "allow"
)

// Catch-up policies: what happens to slots that passed unserved.
const (
	CatchupNone   = "none"   // only a slot that is on time starts
	CatchupLatest = "latest" // the newest one within the window starts
)

// Limits and defaults of a schedule.
const (
	MinInterval          = 100 * time.Millisecond
	MaxInterval          = 366 * 24 * time.Hour
	DefaultCatchupWindow = 10 * time.Minute
	MaxCatchupWindow     = 366 * 24 * time.Hour
)

// Bounds of the lateness at which a slot still counts as on time.
const (
	minTolerance = 50 * time.Millisecond
	maxTolerance = 5 * time.Second
)

// Spec is a schedule as written in a flow. Empty policies mean the defaults:
// overlap skip, catchup latest, a window of DefaultCatchupWindow, timezone UTC.
type Spec struct {
	Kind          Kind
	Interval      time.Duration // periodic only; whole milliseconds
	Cron          string        // cron only
	Timezone      string        // cron only; IANA name
	Overlap       string        // OverlapSkip | OverlapAllow
	Catchup       string        // CatchupNone | CatchupLatest
	CatchupWindow time.Duration
}

// FieldError is one fault of a Spec. Field carries the name that flow
// documents use: schedule_type, interval, cron, timezone, overlap, catchup or
// catchup_window.
type FieldError struct {
	Field  string
	Reason string
}

// Invalid lists all faults of a Spec.
type Invalid struct {
	Faults []FieldError
}

func (e *Invalid) Error() string {
	parts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		parts[i] = f.Field + ": " + f.Reason
	}
	return "invalid schedule: " + strings.Join(parts, "; ")
}

func (e *Invalid) add(field, format string, args ...any) {
	e.Faults = append(e.Faults, FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// Schedule is a compiled Spec. It is immutable and safe for concurrent use.
type Schedule struct {
	spec      Spec
	cron      *cronTable // nil unless spec.Kind is Cron
	tolerance time.Duration
	window    time.Duration
}

// Due is what is to be done about the slots of one flow at one instant.
type Due struct {
	Start   time.Time // the slot to start; zero = none
	Skipped []Skip    // slots that will never start, oldest first
	Next    time.Time // the first slot not yet due; zero = there is none
}

// Reasons of a Skip.
const (
	Missed               = "missed"
	SkippedByCatchupNone = "catchup_none"
	OutsideCatchupWindow = "outside_catchup_window"
)

// Skip is a run of consecutive slots that do not start. From and To are the
// first and the last of them, Count is their number.
type Skip struct {
	From, To time.Time
	Count    int64
	Reason   string
}

// Compile checks a Spec and makes it ready for use. Its error is *Invalid and
// lists every fault.
func Compile(s Spec) (*Schedule, error) {
	var bad Invalid
	c := &Schedule{spec: withDefaults(s)}
	switch s.Kind {
	case Periodic:
		checkInterval(s.Interval, &bad)
		refuseCron(s, &bad)
		c.tolerance = min(max(s.Interval/2, minTolerance), maxTolerance)
	case Cron:
		if s.Interval != 0 {
			bad.add("interval", "a cron schedule takes no interval")
		}
		c.cron = compileCron(s.Cron, s.Timezone, &bad)
		c.tolerance = maxTolerance
	case Manual:
		if s.Interval != 0 {
			bad.add("interval", "a manual schedule takes no interval")
		}
		refuseCron(s, &bad)
	default:
		bad.add("schedule_type", "%q is not known; allowed are periodic, cron, manual", clip(string(s.Kind)))
	}
	checkPolicies(c.spec, &bad)
	if len(bad.Faults) > 0 {
		return nil, &bad
	}
	c.window = max(c.spec.CatchupWindow, c.tolerance)
	return c, nil
}

// Spec returns the schedule's source with defaults filled in.
func (s *Schedule) Spec() Spec { return s.spec }

func withDefaults(s Spec) Spec {
	if s.Overlap == "" {
		s.Overlap = OverlapSkip
	}
	if s.Catchup == "" {
		s.Catchup = CatchupLatest
	}
	if s.CatchupWindow == 0 {
		s.CatchupWindow = DefaultCatchupWindow
	}
	if s.Kind == Cron && s.Timezone == "" {
		s.Timezone = "UTC"
	}
	return s
}

func checkInterval(d time.Duration, bad *Invalid) {
	switch {
	case d < MinInterval:
		bad.add("interval", "%s is too short; at least %s is required", d, MinInterval)
	case d > MaxInterval:
		bad.add("interval", "%s is too long; at most 366 days are allowed", d)
	case d%time.Millisecond != 0:
		bad.add("interval", "%s is not a whole number of milliseconds", d)
	}
}

func refuseCron(s Spec, bad *Invalid) {
	if s.Cron != "" {
		bad.add("cron", "a %s schedule takes no cron expression", s.Kind)
	}
	if s.Timezone != "" {
		bad.add("timezone", "a %s schedule takes no timezone; it belongs to cron", s.Kind)
	}
}

func checkPolicies(s Spec, bad *Invalid) {
	if s.Overlap != OverlapSkip && s.Overlap != OverlapAllow {
		bad.add("overlap", "%q is not supported; allowed are skip, allow", clip(s.Overlap))
	}
	if s.Catchup != CatchupNone && s.Catchup != CatchupLatest {
		bad.add("catchup", "%q is not supported; allowed are none, latest", clip(s.Catchup))
	}
	if s.CatchupWindow < 0 || s.CatchupWindow > MaxCatchupWindow {
		bad.add("catchup_window", "%s is outside 0 to 366 days", s.CatchupWindow)
	}
}

// clip shortens a refused text for a message.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "…"
}
