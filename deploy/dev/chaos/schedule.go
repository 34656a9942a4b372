package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

// Schedule is what a soak does. It is drawn from a seed before anything starts,
// and can be written down and run again.
type Schedule struct {
	Seed   uint64  `json:"seed"`
	HA     bool    `json:"ha,omitempty"` // servers of three nodes each
	Phases []Phase `json:"phases"`
}

// Phase is one cluster's life: faults, then everything is healed and judged.
type Phase struct {
	Seed   uint64  `json:"seed"` // of its flows
	Loss   bool    `json:"loss,omitempty"`
	Faults []Drawn `json:"faults"`
}

// Drawn is one fault.
type Drawn struct {
	Kind  string        `json:"kind"`
	After time.Duration `json:"after_ns"` // since the one before began
	Lasts time.Duration `json:"lasts_ns"` // until it is healed
	Seed  uint64        `json:"seed"`     // of what it draws itself
}

// Soak says how a schedule is drawn. Zero values mean the defaults.
type Soak struct {
	Faults   int           // 1000
	PerPhase int           // 25
	Gap      time.Duration // mean time between two faults; 1 s
	Kinds    []string      // names; all when empty
	NoLoss   bool          // Redis never forgets writes
	HA       bool          // servers of three nodes each, of which one at a time is lost
}

// lossEvery is how many phases there are to one in which Redis loses writes:
// after a loss less can be demanded.
const lossEvery = 4

// Draw draws a schedule.
func Draw(seed uint64, o Soak) (*Schedule, error) {
	if o.Faults == 0 {
		o.Faults = 1000
	}
	if o.PerPhase == 0 {
		o.PerPhase = 25
	}
	if o.Gap == 0 {
		o.Gap = time.Second
	}
	all := Kinds()
	for _, name := range o.Kinds {
		if !slices.ContainsFunc(all, func(k Kind) bool { return k.Name == name }) {
			return nil, fmt.Errorf("there is no kind %q of fault", name)
		}
	}
	if len(o.Kinds) > 0 {
		all = slices.DeleteFunc(all, func(k Kind) bool { return !slices.Contains(o.Kinds, k.Name) })
	}
	if o.HA {
		o.NoLoss = true
		all = slices.DeleteFunc(all, func(k Kind) bool { return k.Alone })
	}
	kept := slices.DeleteFunc(slices.Clone(all), func(k Kind) bool { return k.Loss })
	if len(kept) == 0 && o.NoLoss {
		return nil, fmt.Errorf("no kind of fault is left")
	}
	r := rand.New(rand.NewPCG(seed, 0x50a4))
	s := &Schedule{Seed: seed, HA: o.HA}
	for left := o.Faults; left > 0; {
		p := Phase{Seed: r.Uint64N(1 << 40), Loss: !o.NoLoss && len(all) > len(kept) && (len(s.Phases)%lossEvery == lossEvery-1 || len(kept) == 0)}
		from := kept
		if p.Loss {
			from = all
		}
		for range min(left, o.PerPhase) {
			k := from[r.IntN(len(from))]
			d := Drawn{Kind: k.Name, After: o.Gap/2 + time.Duration(r.Int64N(int64(o.Gap))), Seed: r.Uint64N(1 << 40)}
			if k.Most > 0 {
				d.Lasts = time.Duration(r.Int64N(int64(k.Most)))
			}
			p.Faults = append(p.Faults, d)
		}
		left -= len(p.Faults)
		s.Phases = append(s.Phases, p)
	}
	return s, nil
}

// Write writes the schedule to a file.
func (s *Schedule) Write(path string) error {
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("write schedule: %w", err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return fmt.Errorf("write schedule: %w", err)
	}
	return nil
}

// ReadSchedule reads what Write wrote.
func ReadSchedule(path string) (*Schedule, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read schedule: %w", err)
	}
	var s Schedule
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read schedule %s: %w", path, err)
	}
	known := Kinds()
	for i, p := range s.Phases {
		for j, d := range p.Faults {
			if !slices.ContainsFunc(known, func(k Kind) bool { return k.Name == d.Kind }) {
				return nil, fmt.Errorf("read schedule %s: phase %d, fault %d: there is no kind %q", path, i+1, j+1, d.Kind)
			}
		}
	}
	return &s, nil
}
