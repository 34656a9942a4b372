package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/audit"
	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/election"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flows is a registry of one flow.
type flows struct{ *registry.Flow }

func (f flows) Get(ids.FlowID) *registry.Flow { return f.Flow }

// stored answers ReadPlan.
type stored struct {
	auditLedger
	plan *plan.Plan
	err  error
}

func (s stored) ReadPlan(context.Context, ids.FlowID, int64) (*plan.Plan, error) {
	return s.plan, s.err
}

func TestTheAuditReadsPlansAndGrids(t *testing.T) {
	old, anchor := &plan.Plan{Flow: "f", Revision: 2}, time.UnixMilli(5000)
	of := func(spec string) *registry.Flow {
		f, err := registry.Build(catalog.Record{Flow: "f", UID: uuid.New(), Revision: 3, Anchor: anchor,
			Document: []byte(`{"flow_id":"f",` + spec + `,"nodes":[{"id":"a","type":"delay"}],"edges":[]}`)})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	periodic := of(`"schedule_type":"periodic","interval_seconds":60`)
	s := auditSource{stored{plan: old}, flows{periodic}}
	if p, err := s.Plan(t.Context(), "f", 3); err != nil || p.Revision != 3 || p.UID != periodic.Record.UID {
		t.Errorf("present revision: %v, %v", p, err)
	}
	if p, err := s.Plan(t.Context(), "f", 2); err != nil || p != old {
		t.Errorf("older revision: %v, %v", p, err)
	}
	if p, err := (auditSource{stored{err: ledger.ErrGone}, flows{periodic}}).Plan(t.Context(), "f", 1); err != nil || p != nil {
		t.Errorf("revision that is gone: %v, %v", p, err)
	}
	if _, err := (auditSource{stored{err: ledger.ErrUnavailable}, flows{nil}}).Plan(t.Context(), "f", 1); !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("redis away: %v", err)
	}
	if g, ok := s.Grid("f"); !ok || !g.Anchor.Equal(anchor) || g.Interval != time.Minute || g.Next != nil {
		t.Errorf("grid %+v, %v", g, ok)
	}
	cron := of(`"schedule_type":"cron","cron":"30 * * * *","timezone":"Asia/Kathmandu"`)
	if g, ok := (auditSource{stored{}, flows{cron}}).Grid("f"); !ok || g.Next(anchor).UnixMilli() != 60*60*1000 || !strings.Contains(g.Name, "Kathmandu") {
		t.Errorf("grid %+v, %v", g, ok)
	}
	if g, ok := (auditSource{stored{}, flows{nil}}).Grid("f"); ok {
		t.Errorf("grid %+v of no flow", g)
	}
	rec := of(`"schedule_type":"manual"`).Record.Record()
	rec.Anchor, rec.Past = anchor.Add(time.Hour), []catalog.Era{{Spec: schedule.Spec{Kind: schedule.Periodic, Interval: time.Minute}, Anchor: anchor}}
	manual, err := registry.Build(rec)
	if err != nil {
		t.Fatal(err)
	}
	g, ok := (auditSource{stored{}, flows{manual}}).Grid("f")
	if !ok || g.Interval != 0 || g.Next != nil || len(g.Past) != 1 || g.Past[0].Interval != time.Minute || !g.Past[0].Anchor.Equal(anchor) || !g.Past[0].Until.Equal(rec.Anchor) {
		t.Errorf("grid %+v, %v", g, ok)
	}
}

func TestVerifyAnswersWhatTheAuditFound(t *testing.T) {
	m := miniredis.RunT(t)
	l, err := ledger.Open(t.Context(), ledger.Config{URL: "redis://" + m.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	log := hclog.NewNullLogger()
	c := New(Config{Parts: []Part{{Ledger: l}}, Registry: registry.New(nil, log), Log: log})
	for _, epoch := range []ids.Epoch{4, 7} {
		if _, err := l.Takeover(t.Context(), epoch); err != nil {
			t.Fatal(err)
		}
	}
	p, err := c.Verify(t.Context(), httpapi.VerifyRange{})
	if err != nil || !p.Clean || p.Records != 2 || p.Checked[audit.Epochs] != 2 {
		t.Fatalf("got %+v, %v", p, err)
	}
	all, err := m.Stream("station:journal")
	if err != nil {
		t.Fatal(err)
	}
	late, err := m.XAdd("station:journal", "*", all[0].Values) // epoch 4 after epoch 7
	if err != nil {
		t.Fatal(err)
	}
	p, err = c.Verify(t.Context(), httpapi.VerifyRange{})
	if err != nil || p.Clean || p.Broken != 1 {
		t.Fatalf("got %+v, %v", p, err)
	}
	want := []api.Violation{{Rule: audit.Epochs, Record: late, At: p.Violations[0].At, Message: "takeover carries epoch 4 after epoch 7 was seen"}}
	if diff := cmp.Diff(want, p.Violations); diff != "" || p.Violations[0].At.IsZero() {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
	m.Close()
	var away *httpapi.Unavailable
	if _, err := c.Verify(t.Context(), httpapi.VerifyRange{}); !errors.As(err, &away) {
		t.Errorf("redis away: %v", err)
	}
}

// seats is an election with a set answer.
type seats struct {
	leader election.Leader
	err    error
}

func (s seats) Leader(context.Context) (election.Leader, error)       { return s.leader, s.err }
func (s seats) Members(context.Context) ([]election.Candidate, error) { return nil, nil }

func leads(t *testing.T, id, address string) seats {
	t.Helper()
	about, err := json.Marshal(Info{HTTP: address})
	if err != nil {
		t.Fatal(err)
	}
	var l election.Leader
	l.ID, l.Epoch, l.Info = id, 42, about
	return seats{leader: l}
}

func TestTransferLeader(t *testing.T) {
	there := httpapitest.New()
	var passedOn []bool
	there.OnTransfer = func(_ context.Context, _ int, here bool) (api.Transfer, error) {
		passedOn = append(passedOn, here)
		return api.Transfer{From: "b", Epoch: 42}, nil
	}
	refuses := httpapitest.New()
	refuses.OnTransfer = func(context.Context, int, bool) (api.Transfer, error) {
		return api.Transfer{}, &httpapi.Conflict{Code: "no_successor", Detail: "nobody"}
	}
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	up, refusing := serve(httpapitest.Handler(there)), serve(httpapitest.Handler(refuses))
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		seats    seats
		transfer error
		here     bool
		want     api.Transfer
		code     string // of a Conflict
		says     string
		is       error
	}{
		"leads":               {seats: leads(t, "a", ""), want: api.Transfer{From: "a", Epoch: 42}},
		"leads, here":         {seats: leads(t, "a", ""), here: true, want: api.Transfer{From: "a", Epoch: 42}},
		"nobody leads":        {seats: seats{err: election.ErrNoLeader}, code: "no_leader"},
		"not known":           {seats: seats{err: boom}, is: boom},
		"alone":               {seats: leads(t, "a", ""), transfer: election.ErrNoSuccessor, code: "no_successor", says: "start one first"},
		"fails":               {seats: leads(t, "a", ""), transfer: boom, is: boom},
		"changing":            {seats: leads(t, "a", up), transfer: election.ErrNotLeading, code: "not_leader", says: "changing"},
		"stands by":           {seats: leads(t, "b", up), transfer: election.ErrNotLeading, want: api.Transfer{From: "b", Epoch: 42}},
		"stands by, here":     {seats: leads(t, "b", up), transfer: election.ErrNotLeading, here: true, code: "not_leader", says: "b at " + up},
		"leader is alone":     {seats: leads(t, "b", refusing), transfer: election.ErrNotLeading, code: "no_successor", says: "nobody"},
		"leader out of reach": {seats: leads(t, "b", down.URL), transfer: election.ErrNotLeading, code: "not_leader", says: "b at " + down.URL},
		"leader is odd":       {seats: leads(t, "b", serve(http.NotFoundHandler())), transfer: election.ErrNotLeading, code: "not_leader"},
		"no address":          {seats: leads(t, "b", ""), transfer: election.ErrNotLeading, code: "not_leader"},
		"bad address":         {seats: leads(t, "b", "::"), transfer: election.ErrNotLeading, code: "not_leader"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			c := New(Config{ID: "a", Parts: []Part{{Election: tc.seats, Transfer: func(context.Context, string) error { asked++; return tc.transfer }}}, Log: hclog.NewNullLogger()})
			passedOn = nil
			got, err := c.TransferLeader(t.Context(), 0, tc.here)
			var conflict *httpapi.Conflict
			switch {
			case tc.is != nil:
				if !errors.Is(err, tc.is) {
					t.Errorf("got %v", err)
				}
			case tc.code != "":
				if !errors.As(err, &conflict) || conflict.Code != tc.code || !strings.Contains(conflict.Detail, tc.says) {
					t.Errorf("got %v", err)
				}
			case err != nil || got != tc.want:
				t.Errorf("got %+v, %v", got, err)
			}
			if name == "stands by" && !cmp.Equal(passedOn, []bool{true}) {
				t.Errorf("passed on %v, want once, for that coordinator alone", passedOn)
			}
			if known := tc.seats.err == nil; known != (asked == 1) {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}
