package flow

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// place names a spot in the document: a path, or an item of the list there.
// It is written out only when a fault needs it.
type place struct {
	path  string
	index int // -1 = the path itself
}

func (p place) String() string {
	if p.index < 0 {
		return p.path
	}
	return fmt.Sprintf("%s[%d]", p.path, p.index)
}

func (p place) field(name string) string {
	if s := p.String(); s != "" {
		return s + "." + name
	}
	return name
}

// fields hands out the members of one object by name. What nobody takes is
// unknown and is kept.
type fields struct {
	faults *faultList
	place  place
	kids   []member
	taken  []bool
}

func (r *reader) fieldsOf(v value, p place) *fields {
	return &fields{faults: &r.faults, place: p, kids: v.kids, taken: make([]bool, len(v.kids))}
}

// take returns the member of one of the names, or nil when there is none. A
// null counts as absent. Names are spellings of one field: two of them are a
// fault unless they agree.
func (f *fields) take(names ...string) (*value, string) {
	var found *value
	var under string
	for i := range f.kids {
		k := &f.kids[i]
		if !slices.Contains(names, k.key) {
			continue
		}
		f.taken[i] = true
		switch {
		case k.val.kind == null:
		case found == nil:
			found, under = &k.val, k.key
		case k.key != under && !equal(*found, k.val):
			f.fault(CodeBadField, k.key, "contradicts %s, which names the same thing; leave one of them out", under)
		}
	}
	return found, under
}

// has tells whether a member of that name stands there and is not null. It
// does not take it.
func (f *fields) has(name string) bool {
	for i := range f.kids {
		if f.kids[i].key == name && f.kids[i].val.kind != null {
			return true
		}
	}
	return false
}

// rest returns the members nobody has taken, sorted by key.
func (f *fields) rest() []member {
	var out []member
	for i, taken := range f.taken {
		if !taken {
			out = append(out, f.kids[i])
		}
	}
	sortMembers(out)
	return out
}

func (f *fields) fault(code, name, format string, args ...any) {
	f.faults.add(code, f.place.field(name), format, args...)
}

// text returns a text field, or fallback when it is absent or no text.
func (f *fields) text(fallback string, names ...string) string {
	v, name := f.take(names...)
	if v == nil {
		return fallback
	}
	if v.kind != text {
		f.fault(CodeBadField, name, "is %s; a string is expected", v.kind)
		return fallback
	}
	return v.str
}

// choice returns a text field that must be one of the allowed words.
func (f *fields) choice(name, fallback string, allowed ...string) string {
	s := f.text(fallback, name)
	if s == fallback || slices.Contains(allowed, s) {
		return s
	}
	f.fault(CodeBadField, name, "%q is not supported; allowed are %s", clip(s), strings.Join(allowed, ", "))
	return fallback
}

// boolean returns a field that is true or false.
func (f *fields) boolean(name string, fallback bool) bool {
	v, _ := f.take(name)
	if v == nil {
		return fallback
	}
	if v.kind != boolean {
		f.fault(CodeBadField, name, "is %s; true or false is expected", v.kind)
		return fallback
	}
	return v.str == "true"
}

// count returns a field that is a whole number from 0 to most.
func (f *fields) count(name string, fallback, most int) int {
	v, _ := f.take(name)
	if v == nil {
		return fallback
	}
	n, err := strconv.Atoi(v.str)
	if v.kind != number || err != nil || n < 0 || n > most {
		f.fault(CodeBadField, name, "%s is not allowed; a whole number from 0 to %d is expected", show(*v), most)
		return fallback
	}
	return n
}

// duration returns a field that is a duration with a unit, from least to most.
func (f *fields) duration(name string, fallback, least, most time.Duration) time.Duration {
	v, _ := f.take(name)
	if v == nil {
		return fallback
	}
	if v.kind != text {
		f.fault(CodeBadField, name, `%s has no unit; write a duration such as "30s" or "500ms"`, show(*v))
		return fallback
	}
	d, err := parseDuration(v.str)
	switch {
	case err != nil:
		f.fault(CodeBadField, name, "%s", err)
		return fallback
	case d < least || d > most:
		f.fault(CodeBadField, name, "%q is out of bounds; allowed is %s to %s", clip(v.str), formatDuration(least), formatDuration(most))
		return fallback
	}
	return d
}

// show writes a value for a message.
func show(v value) string {
	switch v.kind {
	case text:
		return fmt.Sprintf("%q", clip(v.str))
	case number, boolean:
		return clip(v.str)
	}
	return v.kind.String()
}

func equal(a, b value) bool {
	return string(appendValue(nil, a)) == string(appendValue(nil, b))
}
