package api

import (
	"fmt"
	"time"
)

// TimeFormat is how an instant is written: RFC 3339, UTC, milliseconds.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// Time is an instant of the API. The zero Time means "not yet": it is written
// as the empty text, as null in JSON, and left out by the field tag omitzero.
type Time struct{ time.Time }

// At returns t as an instant of the API, cut to milliseconds.
func At(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{t.UTC().Truncate(time.Millisecond)}
}

// String returns the instant in TimeFormat, or "" for the zero Time.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(TimeFormat)
}

// MarshalText returns String as bytes.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads any RFC 3339 instant; the empty text is the zero Time.
func (t *Time) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*t = Time{}
		return nil
	}
	v, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return fmt.Errorf("read instant: %w", err)
	}
	*t = At(v)
	return nil
}

// MarshalJSON returns the instant as a JSON string, or null for the zero Time.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.String() + `"`), nil
}

// UnmarshalJSON reads a JSON string holding an RFC 3339 instant; null and ""
// are the zero Time.
func (t *Time) UnmarshalJSON(b []byte) error {
	s := string(b)
	if s == "null" {
		*t = Time{}
		return nil
	}
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return fmt.Errorf("read instant: %.32s is not a string", s)
	}
	return t.UnmarshalText([]byte(s[1 : len(s)-1]))
}
