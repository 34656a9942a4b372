package mirror_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/internal/mirror"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

func TestACatalogIsCopiedToEveryPartition(t *testing.T) {
	servers := []*miniredis.Miniredis{miniredis.RunT(t), miniredis.RunT(t)}
	s := mirror.Spread{Of: func(f ids.FlowID) int { return int(f[0]) % 2 }} // b: 0, a: 1
	for _, m := range servers {
		l, err := ledger.Open(t.Context(), ledger.Config{URL: "redis://" + m.Addr()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		s.Ledgers = append(s.Ledgers, l)
		for _, f := range []ids.FlowID{"a", "b"} { // in both: one is a leftover
			p := (&plan.Plan{Flow: f, UID: uuid.New(), Revision: 1, Nodes: []plan.Node{{ID: "n", Type: "delay", Pool: plan.DefaultPool}}}).Seal()
			if err := l.WritePlan(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if err := l.ActivateFlow(t.Context(), ledger.Activation{Flow: f, UID: p.UID, Revision: 1, Document: []byte(m.Addr())}); err != nil {
				t.Fatal(err)
			}
		}
	}
	names, err := s.FlowIDs(t.Context())
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []ids.FlowID{"a", "b"}) {
		t.Errorf("flows %v, %v", names, err)
	}
	states, err := s.Flows(t.Context(), names)
	if err != nil || len(states) != 2 {
		t.Errorf("states %v, %v", states, err)
	}
	for i, f := range []ids.FlowID{"b", "a"} {
		if doc, err := s.Document(t.Context(), f); err != nil || string(doc) != servers[i].Addr() {
			t.Errorf("document of %s is of another partition: %s, %v", f, doc, err)
		}
	}
	if o, err := s.Origin(t.Context()); err != nil || o.ID != "" {
		t.Errorf("origin %+v, %v", o, err)
	}
	want := ledger.Origin{ID: "marker", Revision: 7, Term: 2}
	if err := s.SetOrigin(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	servers[0].FlushAll() // one was emptied: the other knows
	if o, err := s.Origin(t.Context()); err != nil || o != want {
		t.Errorf("origin %+v, %v", o, err)
	}
	if err := s.NoteRecovery(t.Context(), "a", "b", "catalog", 1); err != nil {
		t.Error(err)
	}
	servers[1].Close() // what one can't tell nobody tells
	if _, err := s.FlowIDs(t.Context()); !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("flows of a half: %v", err)
	}
	if _, err := s.Deleted(t.Context(), []uuid.UUID{uuid.New()}); !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("deleted in a half: %v", err)
	}
	if err := s.SetOrigin(t.Context(), want); !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("origin of a half: %v", err)
	}
	if o, err := s.Ledgers[0].Origin(t.Context()); err != nil || o != want {
		t.Errorf("the half that is there was not told: %+v, %v", o, err)
	}
}
