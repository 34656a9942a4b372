package relay

import (
	"errors"
	"fmt"
	"time"
)

// Direction is one way of a connection, or both. "" is none.
type Direction string

// The directions.
const (
	Up   Direction = "up"   // from the client to the target
	Down Direction = "down" // from the target to the client
	Both Direction = "both"
)

func (d Direction) covers(way Direction) bool { return d == way || d == Both }

// Span is a duration that is written with its unit, as "200ms".
type Span time.Duration

// MarshalText writes the duration.
func (s Span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalText reads a duration.
func (s *Span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	*s = Span(d)
	return err
}

// Faults are what a relay does to its connections. The zero value does nothing.
type Faults struct {
	Cut        bool      `json:"cut,omitempty"`         // open connections are reset, new ones refused
	Hole       Direction `json:"hole,omitempty"`        // bytes of this direction are taken and held
	Stall      Direction `json:"stall,omitempty"`       // bytes of this direction are not even taken
	Delay      Span      `json:"delay,omitempty"`       // of every byte, each way
	Jitter     Span      `json:"jitter,omitempty"`      // up to so much more delay, by chance; the order is kept
	Rate       int64     `json:"rate,omitempty"`        // bytes per second, each way of each connection
	ResetAfter *int64    `json:"reset_after,omitempty"` // a connection is reset after so many more bytes, both ways together
}

// None reports whether nothing is done.
func (f Faults) None() bool { return f == Faults{} }

// Check lists what is wrong with f.
func (f Faults) Check() error {
	var bad []error
	for _, d := range []struct {
		name string
		way  Direction
	}{{"hole", f.Hole}, {"stall", f.Stall}} {
		if d.way != "" && d.way != Up && d.way != Down && d.way != Both {
			bad = append(bad, fmt.Errorf("%s %q is no direction: use up, down or both", d.name, d.way))
		}
	}
	if f.Delay < 0 || f.Jitter < 0 {
		bad = append(bad, errors.New("delay and jitter can't be negative"))
	}
	if f.Rate < 0 {
		bad = append(bad, errors.New("rate can't be negative"))
	}
	if f.ResetAfter != nil && *f.ResetAfter < 0 {
		bad = append(bad, errors.New("reset_after can't be negative"))
	}
	return errors.Join(bad...)
}
