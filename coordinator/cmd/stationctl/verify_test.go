package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
)

// broken is a proof with this many violations.
func broken(n int) api.Proof {
	p := api.Proof{Records: 99, Checked: map[string]int64{"claims": 30, "slots": 5}, Cycles: 4, Partial: 1, Unplanned: 2, Restored: 3, Repairs: 1, Broken: int64(n),
		Trimmed: 8, Flows: 2, Compared: 6, Nodes: 18, Slots: []api.SlotCount{{FlowID: "btc", First: api.At(httpapitest.Start()), Last: api.At(httpapitest.Start()), Due: 9, Started: 5, Skipped: map[string]int64{"overlap": 2, "missed": 1}, Pending: 1}}}
	for i := range min(n, 1000) {
		p.Violations = append(p.Violations, api.Violation{Rule: "claims", Record: fmt.Sprintf("17-%d", i), At: api.At(httpapitest.Start()), FlowID: "btc", Cycle: 7,
			NodeID: "price", Message: "claimed by x while y holds it"})
	}
	return p
}

func TestVerifyTellsViolationsByItsExitCode(t *testing.T) {
	s := httpapitest.New()
	for n, want := range map[int][]string{
		1: {"claims  30       1 broken", "slots   5        ok", "without plan", "17-0", "btc/7/price", "claimed by x while y holds it",
			"2 flows, 6 cycles, 18 nodes", "btc   9          5        3 (missed 1, overlap 2)  1", "dropped by the cap  8"},
		25:   {"claims  30       25 broken", "17-19", "… 5 more"},
		1500: {"1000 broken", "violations          1500", "… 1480 more"},
	} {
		s.OnVerify = func(context.Context, httpapi.VerifyRange) (api.Proof, error) { return broken(n), nil }
		got := runOn(t, s, nil, "", "verify")
		if got.code != exitFailed || !strings.Contains(got.err, fmt.Sprintf("%d violation", n)) {
			t.Errorf("%d violations: code %d, %q", n, got.code, got.err)
		}
		for _, w := range want {
			if !strings.Contains(got.out, w) {
				t.Errorf("%d violations: the table lacks %q:\n%s", n, w, got.out)
			}
		}
		if strings.Contains(got.out, "17-20") {
			t.Errorf("%d violations: more than 20 are listed", n)
		}
		var p api.Proof
		all := runOn(t, s, nil, "", "verify", "-o", "json")
		if err := json.Unmarshal([]byte(all.out), &p); err != nil || all.code != exitFailed {
			t.Fatalf("code %d, %v", all.code, err)
		}
		if diff := cmp.Diff(broken(n), p); diff != "" {
			t.Errorf("json (-want +got):\n%s", diff)
		}
	}
}

func TestVerifyPassesItsRange(t *testing.T) {
	s := httpapitest.New()
	var got httpapi.VerifyRange
	s.OnVerify = func(_ context.Context, r httpapi.VerifyRange) (api.Proof, error) {
		got = r
		return api.Proof{Clean: true}, nil
	}
	if o := runOn(t, s, nil, "", "verify", "--flow", "btc", "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-02T00:00:01Z"); o.code != exitDone {
		t.Fatalf("code %d: %s", o.code, o.err)
	}
	from := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	if diff := cmp.Diff(httpapi.VerifyRange{Flow: "btc", From: from, To: from.Add(time.Second)}, got); diff != "" {
		t.Errorf("range (-want +got):\n%s", diff)
	}
	for _, ten := range []string{"10m", "+10m", "=-10m"} {
		before := time.Now()
		if o := runOn(t, s, nil, "", "verify", "--from="+strings.TrimPrefix(ten, "=")); o.code != exitDone || got.From.Before(before.Add(-10*time.Minute)) || got.From.After(time.Now().Add(-10*time.Minute)) {
			t.Errorf("%s: code %d, from %s: %s", ten, o.code, got.From, o.err)
		}
	}
	for _, args := range [][]string{{"--from", "soon"}, {"--flow", "a/b"}, {"--from=-1m", "--to=2m"}} {
		if o := runOn(t, s, nil, "", append([]string{"verify"}, args...)...); o.code != exitUsage || o.out != "" {
			t.Errorf("%v: code %d, %q", args, o.code, o.out)
		}
	}
}

// cluster answers with each state in turn, and with the last one from then on.
func cluster(states ...*api.Leader) func(context.Context) (api.Cluster, error) {
	asked := 0
	return func(context.Context) (api.Cluster, error) {
		l := states[min(asked, len(states)-1)]
		asked++
		if l != nil && l.ID == "" {
			return api.Cluster{}, &httpapi.Unavailable{What: "etcd"}
		}
		return api.Cluster{Leader: l}, nil
	}
}

func TestTransferWaitsForAnother(t *testing.T) {
	states := []*api.Leader{{ID: "c-1", Epoch: 42}, nil, {}, {ID: "c-1", Epoch: 43}, {ID: "c-2", Epoch: 44}}
	s := httpapitest.New()
	s.OnCluster = cluster(states...)
	got := runOn(t, s, nil, "", "leader", "transfer", "--wait")
	if got.code != exitDone || !regexp.MustCompile(`^c-2 leads with epoch 44 instead of c-1: \d.*s\n$`).MatchString(got.out) {
		t.Errorf("code %d, %q, %q", got.code, got.out, got.err)
	}
	s.OnCluster = cluster(states...)
	got = runOn(t, s, nil, "", "leader", "transfer", "-w", "-o", "json")
	var out transferred
	if err := json.Unmarshal([]byte(got.out), &out); err != nil {
		t.Fatal(err)
	}
	out.TookMS = 0
	want := transferred{Transfer: api.Transfer{From: "c-1", Epoch: 42}, To: "c-2", ToEpoch: 44}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("json (-want +got):\n%s", diff)
	}
}

func TestTransferThatEndsOtherwise(t *testing.T) {
	s := httpapitest.New()
	s.OnCluster = cluster(nil)
	hurry := func(t *terminal) { t.patience = 5 * time.Millisecond }
	if got := runOn(t, s, hurry, "", "leader", "transfer", "--wait"); got.code != exitFailed || !strings.Contains(got.err, "nobody else leads") {
		t.Errorf("nobody follows: code %d, %q", got.code, got.err)
	}
	s.OnCluster = cluster(&api.Leader{})
	if got := runOn(t, s, hurry, "", "leader", "transfer", "--wait"); got.code != exitNoAnswer {
		t.Errorf("nobody answers: code %d, %q", got.code, got.err)
	}
	s.OnTransfer = func(context.Context, int, bool) (api.Transfer, error) {
		return api.Transfer{}, &httpapi.Conflict{Code: "no_successor", Detail: "no other coordinator stands by; start one first"}
	}
	if got := runOn(t, s, nil, "", "leader", "transfer", "--wait"); got.code != exitFailed || !strings.Contains(got.err, "start one first (no_successor)") {
		t.Errorf("no standby: code %d, %q", got.code, got.err)
	}
}
