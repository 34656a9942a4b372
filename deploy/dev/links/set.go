package links

import (
	"errors"
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tradingflow/weather-station/shared/relay"
)

// Link is one relay.
type Link struct {
	Name   string `json:"name"`   // "who>whom"
	Listen string `json:"listen"` // host:port
	Target string `json:"target"` // host:port
}

// State is a link and what is done to it.
type State struct {
	Link
	Faults relay.Faults `json:"faults"`
	Counts relay.Counts `json:"counts"`
}

// NoMatchError says that a pattern matches no link.
type NoMatchError struct{ Pattern string }

func (e *NoMatchError) Error() string {
	return fmt.Sprintf("no link matches %q; 'list' shows the links", e.Pattern)
}

// Set are the links of a cluster. It is safe for concurrent use.
type Set struct {
	mu     sync.Mutex
	order  []string
	relays map[string]*relay.Relay
}

// Open starts a relay for each link; either all run or none.
func Open(all []Link) (*Set, error) {
	s := &Set{relays: map[string]*relay.Relay{}}
	var bad []error
	for _, l := range all {
		if err := s.Add(l); err != nil {
			bad = append(bad, err)
		}
	}
	if len(bad) > 0 {
		s.Close()
		return nil, errors.Join(bad...)
	}
	return s, nil
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_.-]+>[A-Za-z0-9_.:-]+$`)

// Add starts one more link.
func (s *Set) Add(l Link) error {
	if !namePattern.MatchString(l.Name) {
		return fmt.Errorf("link %q: a name is of the form who>whom", l.Name)
	}
	if _, _, err := net.SplitHostPort(l.Target); err != nil {
		return fmt.Errorf("link %s: target %q is no host:port", l.Name, l.Target)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relays[l.Name] != nil {
		return fmt.Errorf("link %s: there is one of that name", l.Name)
	}
	who, _, _ := strings.Cut(l.Name, ">")
	r, err := relay.Listen(relay.Options{Listen: l.Listen, Target: l.Target, Edit: func(b []byte) { s.readdress(who, b) }})
	if err != nil {
		return fmt.Errorf("link %s: %w", l.Name, err)
	}
	s.relays[l.Name] = r
	s.order = append(s.order, l.Name)
	return nil
}

// Close ends all links.
func (s *Set) Close() {
	s.mu.Lock()
	all := s.relays
	s.relays, s.order = map[string]*relay.Relay{}, nil
	s.mu.Unlock()
	for _, r := range all { // outside the lock: what a relay reads now asks for it
		r.Close()
	}
}

// Addr is where the link of that name listens; "" for none.
func (s *Set) Addr(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.relays[name]; r != nil {
		return r.Addr()
	}
	return ""
}

// List returns the links that match.
func (s *Set) List(pattern string) ([]State, error) {
	var out []State
	err := s.each(pattern, func(name string, r *relay.Relay) error {
		out = append(out, State{Link: Link{Name: name, Listen: r.Addr(), Target: r.Target()}, Faults: r.Faults(), Counts: r.Counts()})
		return nil
	})
	return out, err
}

// Fault replaces the faults of the links that match.
func (s *Set) Fault(pattern string, f relay.Faults) error {
	if err := f.Check(); err != nil {
		return err
	}
	return s.each(pattern, func(name string, r *relay.Relay) error {
		if err := r.Set(f); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		return nil
	})
}

// Reset resets every open connection of the links that match, once.
func (s *Set) Reset(pattern string) error {
	return s.each(pattern, func(_ string, r *relay.Relay) error { r.Reset(); return nil })
}

// each calls do for the links that match, in the order in which they were added.
// A pattern is one or several of path.Match, separated by commas; "" is all.
func (s *Set) each(pattern string, do func(string, *relay.Relay) error) error {
	globs := strings.Split(pattern, ",")
	if pattern == "" {
		globs = []string{"*"}
	}
	for _, g := range globs {
		if _, err := path.Match(g, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", g, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var bad []error
	found := false
	for _, name := range s.order {
		if slices.ContainsFunc(globs, func(g string) bool { ok, _ := path.Match(g, name); return ok }) {
			found = true
			bad = append(bad, do(name, s.relays[name]))
		}
	}
	if !found && pattern != "" {
		return &NoMatchError{pattern}
	}
	return errors.Join(bad...)
}
