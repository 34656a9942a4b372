package registry_test

import (
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
)

// A part knows its own flows and is told of no other's change.
func TestAPartKnowsNoOtherFlow(t *testing.T) {
	s := newShelf()
	r := registry.New(s, hclog.NewNullLogger())
	p := r.Part(func(f ids.FlowID) bool { return f[0] == 'a' })
	sub := p.Subscribe()
	defer sub.Close()
	for _, id := range []string{"a1", "b1", "a2", "b2"} {
		s.put(record(id, 1))
		r.Refresh(ids.FlowID(id))
	}
	if p.Get("a1") == nil || p.Get("b1") != nil || r.Get("b1") == nil {
		t.Error("Get tells other than its own flows")
	}
	if f, err := p.Fresh(t.Context(), "a1"); err != nil || f == nil {
		t.Errorf("Fresh of its own: %v, %v", f, err)
	}
	if f, err := p.Fresh(t.Context(), "b1"); err != nil || f != nil {
		t.Errorf("Fresh of another's: %v, %v", f, err)
	}
	want := []ids.FlowID{"a1", "a2"}
	names := p.Names()
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("names %v", names)
	}
	if list := p.List(); len(list) != 2 || list[0].Record.Flow != "a1" || list[1].Record.Flow != "a2" {
		t.Errorf("list %v", list)
	}
	if all := r.Names(); len(all) != 4 {
		t.Errorf("the registry lost flows: %v", all)
	}
	changed := sub.Take()
	slices.Sort(changed)
	if !slices.Equal(changed, want) {
		t.Errorf("changed %v", changed)
	}
	s.put(record("b1", 2))
	p.Refresh("b1") // not its own to look at
	if r.Get("b1").Record.Revision != 1 {
		t.Error("a part refreshed another's flow")
	}
}
