package flow

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/plan"
)

// objectWriter appends one JSON object.
type objectWriter struct {
	out   []byte
	empty bool
}

func (w *objectWriter) open() { w.out, w.empty = append(w.out, '{'), true }

func (w *objectWriter) close() { w.out, w.empty = append(w.out, '}'), false }

func (w *objectWriter) key(k string) {
	if !w.empty {
		w.out = append(w.out, ',')
	}
	w.empty = false
	w.out = appendString(w.out, k)
	w.out = append(w.out, ':')
}

// text writes a text field unless it has the value that reading puts in place
// of an absent one.
func (w *objectWriter) text(k, s, unless string) {
	if s != unless {
		w.key(k)
		w.out = appendString(w.out, s)
	}
}

func (w *objectWriter) duration(k string, d, unless time.Duration) {
	if d != unless {
		w.text(k, formatDuration(d), "")
	}
}

func (w *objectWriter) raw(k, json string) {
	w.key(k)
	w.out = append(w.out, json...)
}

func (w *objectWriter) extra(ms []member) {
	for _, m := range ms {
		w.key(m.key)
		w.out = appendValue(w.out, m.val)
	}
}

// encode writes the canonical form. The schedule is written in full; nodes and
// edges leave their defaults out, since a flow of many edges would grow past
// MaxBody otherwise.
func (f *Flow) encode() []byte {
	w := &objectWriter{out: make([]byte, 0, 256+96*len(f.Nodes)+64*len(f.Edges))}
	w.open()
	w.text("flow_id", string(f.ID), "")
	w.text("name", f.Name, "")
	w.text("schedule_type", string(f.ScheduleType), "")
	if f.ScheduleType == schedule.Periodic {
		w.raw("interval_seconds", formatSeconds(f.Interval))
	}
	w.text("cron", f.Cron, "")
	w.text("timezone", f.Timezone, "")
	w.text("overlap", f.Overlap, "")
	w.text("catchup", f.Catchup, "")
	w.duration("catchup_window", f.CatchupWindow, 0)
	w.duration("cycle_timeout", f.CycleTimeout, 0)
	w.text("on_failure", f.OnFailure, "")
	w.key("nodes")
	for i := range f.Nodes {
		w.item(i)
		w.node(&f.Nodes[i])
	}
	w.end(len(f.Nodes))
	w.key("edges")
	for i := range f.Edges {
		w.item(i)
		w.edge(&f.Edges[i])
	}
	w.end(len(f.Edges))
	w.extra(f.extra)
	w.close()
	return w.out
}

// item begins item i of a list.
func (w *objectWriter) item(i int) {
	if i == 0 {
		w.out = append(w.out, '[')
		return
	}
	w.out = append(w.out, ',')
}

// end closes a list of n items.
func (w *objectWriter) end(n int) {
	if n == 0 {
		w.out = append(w.out, '[')
	}
	w.out = append(w.out, ']')
}

func (w *objectWriter) node(n *Node) {
	w.open()
	w.text("id", string(n.ID), "")
	w.text("type", n.Type, "")
	if string(n.Parameters) != "{}" {
		w.raw("parameters", string(n.Parameters))
	}
	w.text("pool", n.Pool, plan.DefaultPool)
	w.duration("timeout", n.Timeout, DefaultTimeout)
	if n.Retry != defaultRetry() {
		w.key("retry")
		w.retry(n.Retry)
	}
	w.text("delivery", n.Delivery, plan.AtLeastOnce)
	w.text("join", n.Join, plan.AllSuccess)
	w.text("aggregate", n.Aggregate, plan.AggregateList)
	w.extra(n.extra)
	w.close()
}

func (w *objectWriter) retry(r plan.Retry) {
	w.open()
	w.raw("enabled", strconv.FormatBool(r.Enabled))
	w.raw("max_retries", strconv.Itoa(r.MaxRetries))
	w.text("backoff", formatDuration(r.Backoff), "")
	w.text("max_backoff", formatDuration(r.MaxBackoff), "")
	w.raw("jitter", strconv.FormatBool(r.Jitter))
	w.close()
}

func (w *objectWriter) edge(e *Edge) {
	w.open()
	w.text("source", string(e.Source), "")
	w.text("source_handle", e.SourceHandle, plan.DefaultHandle)
	w.text("target", string(e.Target), "")
	w.text("target_handle", e.TargetHandle, plan.DefaultHandle)
	w.text("when", e.When, "")
	w.extra(e.extra)
	w.close()
}

// appendValue appends a value as compact JSON with sorted keys and numbers as
// they were written.
func appendValue(out []byte, v value) []byte {
	switch v.kind {
	case object:
		kids := v.kids
		if !slices.IsSortedFunc(kids, byKey) {
			kids = slices.Clone(kids)
			sortMembers(kids)
		}
		w := objectWriter{out: out}
		w.open()
		w.extra(kids)
		w.close()
		return w.out
	case list:
		out = append(out, '[')
		for i := range v.kids {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendValue(out, v.kids[i].val)
		}
		return append(out, ']')
	case text:
		return appendString(out, v.str)
	case number, boolean:
		return append(out, v.str...)
	}
	return append(out, "null"...)
}

func byKey(a, b member) int { return strings.Compare(a.key, b.key) }

func sortMembers(ms []member) { slices.SortStableFunc(ms, byKey) }

// appendString appends a JSON string that escapes only what JSON demands.
func appendString(out []byte, s string) []byte {
	out = append(out, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		out = append(out, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\n':
			out = append(out, '\\', 'n')
		case '\r':
			out = append(out, '\\', 'r')
		case '\t':
			out = append(out, '\\', 't')
		default:
			const hex = "0123456789abcdef"
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(out, s[from:]...), '"')
}
