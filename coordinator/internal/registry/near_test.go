package registry_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
)

// TestNearFlowsAreKnownInAdvance: what has a slot soon or had one just now is found
// without going through all flows, what changed since included.
func TestNearFlowsAreKnownInAdvance(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := newShelf()
	r := registry.New(s, hclog.NewNullLogger())
	put := func(id ids.FlowID, rev int64, cron string) {
		s.put(catalog.Record{Flow: id, UID: uuid.New(), Revision: rev, Anchor: now.Add(-time.Hour),
			Document: []byte(`{"flow_id":"` + string(id) + `","name":"n","schedule_type":"cron","cron":"` + cron + `","nodes":[{"id":"a","type":"delay"}],"edges":[]}`)})
		r.Refresh(id)
	}
	near := func(r interface {
		Near(from, until time.Time) ([]*registry.Flow, bool)
	}, from, until time.Duration) []ids.FlowID {
		t.Helper()
		flows, ready := r.Near(now.Add(from), now.Add(until))
		if !ready {
			return []ids.FlowID{"any"}
		}
		var out []ids.FlowID
		for _, f := range flows {
			out = append(out, f.Record.Flow)
		}
		slices.Sort(out)
		return out
	}
	check := func(what string, got []ids.FlowID, want ...ids.FlowID) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: near are %v, want %v", what, got, want)
		}
	}
	put("past", 1, "50 59 11 * * *")
	put("soon", 1, "15 0 12 * * *")
	put("often", 1, "* * * * * *")
	put("rests", 1, "0 0 13 * * *")
	put("rested", 1, "0 0 11 * * *")
	put("goes", 1, "5 0 12 * * *")
	check("nothing was looked for", near(r, -10*time.Second, 15*time.Second), "any")
	r.Foresee(now)
	check("looked for", near(r, -10*time.Second, 15*time.Second), "goes", "often", "past", "soon")
	check("a clock that is behind", near(r, -20*time.Second, 5*time.Second), "goes", "often", "past", "soon")
	check("farther back than was looked", near(r, -21*time.Second, 5*time.Second), "any")
	check("farther ahead", near(r, 0, 41*time.Second), "any")

	delete(s.flows, "goes")
	r.Refresh("goes")
	put("new", 1, "7 0 12 * * *")
	put("often", 2, "0 0 13 * * *")
	put("new", 2, "8 0 12 * * *")
	check("changed since", near(r, -10*time.Second, 15*time.Second), "new", "often", "past", "soon") // each once
	check("of a partition", near(r.Part(func(f ids.FlowID) bool { return f < "p" }), -10*time.Second, 15*time.Second), "new", "often")
	now = now.Add(5 * time.Second)
	r.Foresee(now)
	check("looked for again", near(r, -10*time.Second, 15*time.Second), "new", "past", "soon")
	now = now.Add(time.Minute)
	check("not looked for in time", near(r, -10*time.Second, 15*time.Second), "any")
}
