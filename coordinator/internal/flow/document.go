package flow

import (
	"errors"
	"time"
	"unicode"

	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

// reader turns a decoded document into a Flow and collects its faults. The
// Flow is fit for use only when there are none.
type reader struct {
	opts      Options
	faults    faultList
	extra     []member
	graphless bool // nodes and edges cannot be looked at
}

func (r *reader) document(root value) *Flow {
	l := r.locate(root)
	f := &Flow{}
	f.ID = r.flowID(l.root)
	f.Name = r.name(l.root)
	r.schedule(f, l)
	f.CycleTimeout = l.root.duration("cycle_timeout", 0, time.Millisecond, MaxCycleTimeout)
	f.OnFailure = l.root.choice("on_failure", plan.FailCycle, plan.FailCycle, plan.Continue)
	r.graph(f, l)
	f.extra = append(r.extra, l.root.rest()...)
	sortMembers(f.extra)
	return f
}

func (r *reader) flowID(root *fields) ids.FlowID {
	v, _ := root.take("flow_id")
	given := r.opts.FlowID
	switch {
	case v == nil && given == "":
		root.fault(CodeMissingField, "flow_id", "flow_id is missing; every flow needs an id")
		return ""
	case v == nil:
		return r.checkFlowID(root, given)
	case v.kind != text:
		root.fault(CodeBadID, "flow_id", "flow id is %s; a string is expected", v.kind)
		return ""
	case given != "" && given != v.str:
		root.fault(CodeBadID, "flow_id", "the document names flow %q, but the call is about flow %q", clip(v.str), clip(given))
	}
	return r.checkFlowID(root, v.str)
}

func (r *reader) checkFlowID(root *fields, s string) ids.FlowID {
	id, err := ids.ParseFlowID(s)
	if err != nil {
		root.fault(CodeBadID, "flow_id", "%s", err)
	}
	return id
}

func (r *reader) name(root *fields) string {
	s := root.text("", "name")
	if len(s) > MaxName {
		root.fault(CodeTooLarge, "name", "has %d bytes; at most %d are allowed", len(s), MaxName)
	}
	if hasControl(s) {
		root.fault(CodeBadField, "name", "contains a control character")
	}
	return s
}

func hasControl(s string) bool {
	for _, c := range s {
		if unicode.IsControl(c) {
			return true
		}
	}
	return false
}

// interval is what a document says about its interval, in one or more fields.
type interval struct {
	set   bool // some field stands there
	ok    bool // and can be read
	d     time.Duration
	place string
}

func (r *reader) interval(root *fields) interval {
	var got interval
	for _, name := range []string{"interval_seconds", "interval", "cycle_interval"} {
		if v, _ := root.take(name); v != nil {
			d, ok := r.readInterval(name, *v)
			r.agree(&got, interval{set: true, ok: ok, d: d, place: name})
		}
	}
	if r.opts.Interval != "" {
		const beside = "interval given beside the document"
		d, err := parseInterval(r.opts.Interval)
		if err != nil {
			r.faults.add(CodeBadInterval, beside, "%s", err)
		}
		r.agree(&got, interval{set: true, ok: err == nil, d: d, place: beside})
	}
	return got
}

func (r *reader) agree(got *interval, next interval) {
	switch {
	case !got.set:
		*got = next
	case !next.ok:
		got.ok = false
	case got.ok && got.d != next.d:
		r.faults.add(CodeBadInterval, next.place, "%s contradicts %s in %s",
			formatDuration(next.d), formatDuration(got.d), got.place)
		got.ok = false
	}
}

func (r *reader) readInterval(name string, v value) (time.Duration, bool) {
	plainSeconds := v.kind == number || v.kind == text && isNumber(v.str)
	switch {
	case v.kind != number && v.kind != text:
		r.faults.add(CodeBadInterval, name, "is %s; a string or a number is expected", v.kind)
		return 0, false
	case name == "interval_seconds" && !plainSeconds && v.str != "once" && v.str != "manual" && !looksLikeCron(v.str):
		r.faults.add(CodeBadInterval, name, "%q is not a number of seconds; a duration such as 5m belongs in interval", clip(v.str))
		return 0, false
	}
	d, err := parseInterval(v.str)
	if err != nil {
		r.faults.add(CodeBadInterval, name, "%s", err)
	}
	return d, err == nil
}

// schedule reads all that says when cycles start. The rules themselves are
// those of package schedule.
func (r *reader) schedule(f *Flow, l located) {
	root := l.root
	every := r.interval(root)
	kind := schedule.Kind(root.text("", "schedule_type"))
	spec := schedule.Spec{
		Cron:          root.text("", "cron"),
		Timezone:      root.text("", "timezone"),
		Overlap:       root.text(schedule.OverlapSkip, "overlap"),
		Catchup:       root.text(schedule.CatchupLatest, "catchup"),
		CatchupWindow: root.duration("catchup_window", schedule.DefaultCatchupWindow, time.Millisecond, schedule.MaxCatchupWindow),
	}
	spec.Kind, spec.Interval = r.kind(root, kind, every, spec.Cron != "", l.execute)
	compiled, err := schedule.Compile(spec)
	if err != nil {
		r.scheduleFaults(err, every)
		return
	}
	spec = compiled.Spec()
	f.ScheduleType, f.Interval, f.Cron, f.Timezone = spec.Kind, spec.Interval, spec.Cron, spec.Timezone
	f.Overlap, f.Catchup, f.CatchupWindow = spec.Overlap, spec.Catchup, spec.CatchupWindow
}

// kind settles what makes the slots and at what interval. Where that cannot be
// known it records why and answers with a schedule that adds no fault.
func (r *reader) kind(root *fields, kind schedule.Kind, every interval, hasCron, execute bool) (schedule.Kind, time.Duration) {
	placeholder := func() (schedule.Kind, time.Duration) {
		if hasCron {
			return schedule.Cron, 0
		}
		return schedule.Periodic, schedule.MinInterval
	}
	wanted := "interval_seconds"
	if execute {
		wanted = "cycle_interval"
	}
	switch kind {
	case "":
		switch {
		case every.set && !every.ok:
			return placeholder()
		case hasCron:
			return schedule.Cron, every.d
		case !every.set:
			root.fault(CodeMissingField, wanted, `%s is missing; give an interval, "0" for a flow without a schedule, or a cron expression in cron`, wanted)
			return placeholder()
		case every.d == 0:
			return schedule.Manual, 0
		}
		return schedule.Periodic, every.d
	case schedule.Periodic:
		switch {
		case every.set && !every.ok:
			return schedule.Periodic, schedule.MinInterval
		case !every.set && execute:
			root.fault(CodeMissingField, wanted, "%s is missing; a periodic flow needs an interval", wanted)
			return schedule.Periodic, schedule.MinInterval
		case !every.set:
			return schedule.Periodic, DefaultInterval
		case every.d == 0:
			r.faults.add(CodeBadInterval, every.place, "0 means no schedule and contradicts schedule_type periodic; use schedule_type manual")
			return schedule.Periodic, schedule.MinInterval
		}
	case schedule.Cron:
		if !hasCron {
			root.fault(CodeMissingField, "cron", `cron is missing; schedule_type cron needs an expression such as "*/5 9-16 * * MON-FRI"`)
			return schedule.Periodic, schedule.MinInterval
		}
	}
	if every.set && !every.ok {
		return kind, 0
	}
	return kind, every.d
}

func (r *reader) scheduleFaults(err error, every interval) {
	var bad *schedule.Invalid
	if !errors.As(err, &bad) {
		r.faults.add(CodeBadField, "schedule_type", "%s", err)
		return
	}
	for _, f := range bad.Faults {
		code, place := CodeBadField, f.Field
		switch f.Field {
		case "interval":
			code = CodeBadInterval
			if every.place != "" {
				place = every.place
			}
		case "cron":
			code = CodeBadCron
		case "timezone":
			code = CodeBadTimezone
		}
		r.faults.add(code, place, "%s", f.Reason)
	}
}
