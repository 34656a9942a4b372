package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
	"github.com/tradingflow/weather-station/shared/ids"
)

// registrar is a service that refuses documents by what they say, and keeps
// what it was given.
type registrar struct {
	*httpapitest.Service
	mu      sync.Mutex
	bodies  []string
	options []httpapi.RegisterOptions
}

func newRegistrar() *registrar {
	r := &registrar{Service: httpapitest.New()}
	accept := r.OnRegister
	r.OnRegister = func(ctx context.Context, body []byte, o httpapi.RegisterOptions) (api.Registered, error) {
		r.mu.Lock()
		r.bodies, r.options = append(r.bodies, strings.TrimSpace(string(body))), append(r.options, o)
		r.mu.Unlock()
		switch text := string(body); {
		case strings.Contains(text, "bad"):
			return api.Registered{}, &httpapi.Invalid{Faults: []api.Fault{
				{Code: "cycle", Place: "edges", Message: "a → b → a"}, {Code: "missing", Place: "nodes[1].type", Message: "is missing"}}}
		case strings.Contains(text, "busy"):
			return api.Registered{}, &httpapi.Conflict{Code: "busy", Detail: "being deleted"}
		case strings.Contains(text, "hang"):
			<-ctx.Done()
			return api.Registered{}, ctx.Err()
		case strings.Contains(text, "down"):
			return api.Registered{}, &httpapi.Unavailable{What: "etcd"}
		case strings.Contains(text, "same"):
			return api.Registered{FlowID: "btc", Revision: 3, Warnings: []api.Fault{{Code: "unused", Place: "nodes[0]", Message: "leads nowhere"}}}, nil
		}
		return accept(ctx, body, o)
	}
	return r
}

func TestApplySendsTheDocumentAndItsOptions(t *testing.T) {
	r := newRegistrar()
	got := runOn(t, r, nil, "name: x\n", "flow", "apply", "-f", "-", "--flow-id", "f-1", "--interval", "5m", "--allow-unknown-types")
	if got.code != 0 {
		t.Fatalf("code %d: %s", got.code, got.err)
	}
	want := []httpapi.RegisterOptions{{FlowID: "f-1", Interval: "5m", AllowUnknownTypes: true}}
	if diff := cmp.Diff(want, r.options); diff != "" || r.bodies[0] != "name: x" {
		t.Errorf("body %q, options (-want +got):\n%s", r.bodies, diff)
	}
	runOn(t, r, nil, "", "flow", "validate", "-f", file(t, "a.YML", "x"), "-f", file(t, "b.json", "y"))
	want = []httpapi.RegisterOptions{{ValidateOnly: true, ContentType: "application/yaml"}, {ValidateOnly: true, ContentType: "application/json"}}
	if diff := cmp.Diff(want, r.options[1:]); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

func TestApplyOfADirectory(t *testing.T) {
	dir := t.TempDir()
	for name, body := range map[string]string{"2.yaml": "two", "1.json": "one", "3.yml": "same", "notes.md": "no", ".hidden.json": "no"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := newRegistrar()
	got := runOn(t, r, nil, "", "flow", "apply", "-f", dir)
	if diff := cmp.Diff([]string{"one", "two", "same"}, r.bodies); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	if got.code != 0 || !strings.Contains(got.out, "unchanged") || !strings.Contains(got.err, "3.yml: warning: nodes[0]: leads nowhere [unused]") {
		t.Errorf("code %d, out %q, errors %q", got.code, got.out, got.err)
	}
}

// TestApplyOfVeryMany: they are sent several at a time, and told of in their order.
func TestApplyOfVeryMany(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 3 * few {
		body := "good"
		if i%100 == 7 {
			body = "bad"
		}
		name := filepath.Join(dir, fmt.Sprintf("%03d.yaml", i))
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	r := newRegistrar()
	got := runOn(t, r, nil, "", "flow", "apply", "-f", dir, "-o", "json")
	var results []sent
	if err := json.Unmarshal([]byte(got.out), &results); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range results {
		names = append(names, x.File)
	}
	if d := cmp.Diff(want, names); d != "" || got.code != exitUsage || len(r.bodies) != len(want) {
		t.Errorf("code %d, %d documents sent; results (-want +got):\n%s", got.code, len(r.bodies), d)
	}
	if faults := strings.Count(got.err, "is missing [missing]"); faults != 3 || !strings.Contains(got.err, fmt.Sprintf("/%d ", len(want))) {
		t.Errorf("%d faults and no progress in %q", faults, got.err)
	}
	for i, name := range want[50:] {
		body := "hang" // until the call is given up
		if i == 0 {
			body = "down"
		}
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r = newRegistrar()
	if got := runOn(t, r, nil, "", "flow", "apply", "-f", dir); got.code != exitNoAnswer || len(r.bodies) > 50+atOnce || strings.Contains(got.err, "cancel") {
		t.Errorf("code %d after %d documents: no answer did not end it: %q", got.code, len(r.bodies), got.err)
	}
}

func TestFaultsAreAllListedWithFileAndPlace(t *testing.T) {
	bad, good := file(t, "bad.yaml", "bad"), file(t, "good.yaml", "good")
	for _, verb := range []string{"validate", "apply"} {
		got := runOn(t, newRegistrar(), nil, "", "flow", verb, "-f", bad, "-f", good, "-o", "json")
		if got.code != exitUsage {
			t.Errorf("%s: code %d, want %d", verb, got.code, exitUsage)
		}
		want := bad + ": edges: a → b → a [cycle]\n" + bad + ": nodes[1].type: is missing [missing]\n"
		if diff := cmp.Diff(want, got.err); diff != "" {
			t.Errorf("%s: faults (-want +got):\n%s", verb, diff)
		}
		var results []sent
		if err := json.Unmarshal([]byte(got.out), &results); err != nil {
			t.Fatal(err)
		}
		if len(results) != 2 || results[0].OK || len(results[0].Errors) != 2 || results[0].File != bad || !results[1].OK || results[1].FlowID != "btc" {
			t.Errorf("%s: results %s", verb, got.out)
		}
	}
}

func TestTheWorstDocumentSetsTheExitCode(t *testing.T) {
	for name, tc := range map[string]struct {
		bodies []string
		code   int
		sent   int
	}{
		"fault and refusal":   {[]string{"busy", "bad", "good"}, exitFailed, 3},
		"fault":               {[]string{"good", "bad"}, exitUsage, 2},
		"no answer ends it":   {[]string{"bad", "down", "good"}, exitNoAnswer, 2},
		"one without answer":  {[]string{"down"}, exitNoAnswer, 1},
		"nothing is the mark": {[]string{"good", "same"}, exitDone, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistrar()
			args := []string{"flow", "apply"}
			for _, b := range tc.bodies {
				args = append(args, "-f", file(t, "f.yaml", b))
			}
			if got := runOn(t, r, nil, "", args...); got.code != tc.code || len(r.bodies) != tc.sent {
				t.Errorf("code %d after %d documents, want %d after %d: %s", got.code, len(r.bodies), tc.code, tc.sent, got.err)
			}
		})
	}
}

func TestPlacesThatCantBeRead(t *testing.T) {
	empty := t.TempDir()
	s := httpapitest.New()
	got := runOn(t, s, nil, "", "flow", "apply", "-f", empty, "-f", "/nonexistent/a", "-f", file(t, "blank.yaml", " \n"), "-f", "-", "-f", "-")
	if got.code != exitUsage {
		t.Errorf("code %d", got.code)
	}
	for _, want := range []string{"holds no .json", "/nonexistent/a", "blank.yaml is empty", "standard input is empty", "given twice"} {
		if !strings.Contains(got.err, want) {
			t.Errorf("errors lack %q: %s", want, got.err)
		}
	}
	got = runOn(t, s, nil, "", "flow", "apply", "--flow-id", "x", "-f", file(t, "a.yaml", "a"), "-f", file(t, "b.yaml", "b"))
	if got.code != exitUsage || !strings.Contains(got.err, "--flow-id") {
		t.Errorf("one id for two flows: code %d, %s", got.code, got.err)
	}
	if len(s.Calls()) > 0 {
		t.Errorf("calls %v", s.Calls())
	}
}

func TestDeleteAsksAPerson(t *testing.T) {
	for name, tc := range map[string]struct {
		person bool
		answer string
		args   []string
		code   int
		done   bool
	}{
		"yes":         {true, "y\n", nil, 0, true},
		"YES":         {true, " YES \n", nil, 0, true},
		"no":          {true, "n\n", nil, 1, false},
		"enter":       {true, "\n", nil, 1, false},
		"end of file": {true, "", nil, 1, false},
		"--yes":       {true, "", []string{"--yes"}, 0, true},
		"a script":    {false, "", nil, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := httpapitest.New()
			got := runOn(t, s, func(term *terminal) { term.asks = tc.person }, tc.answer, append([]string{"flow", "delete", "btc"}, tc.args...)...)
			if deleted := len(s.Calls()) == 1; got.code != tc.code || deleted != tc.done {
				t.Errorf("code %d, deleted %v: %s", got.code, deleted, got.err)
			}
			if asked := strings.Contains(got.err, "[y/N]"); asked != (tc.person && tc.args == nil) {
				t.Errorf("asked = %v", asked)
			}
		})
	}
}

func TestDefinitionCanBeAppliedAgain(t *testing.T) {
	got := runOn(t, httpapitest.New(), nil, "", "flow", "get", "btc", "--definition")
	want := "flow_id: btc\nnodes:\n  - id: price\n    type: http\n"
	if diff := cmp.Diff(want, got.out); diff != "" {
		t.Errorf("definition (-want +got):\n%s", diff)
	}
	got = runOn(t, httpapitest.New(), nil, "", "flow", "get", "btc", "--definition", "-o", "json")
	if !json.Valid([]byte(got.out)) {
		t.Errorf("not JSON: %s", got.out)
	}
}

func TestRunPassesTheKey(t *testing.T) {
	s := httpapitest.New()
	var key string
	s.OnStartCycle = func(_ context.Context, _ ids.FlowID, k string) (api.CycleSummary, error) {
		key = k
		return api.CycleSummary{FlowID: "btc", Cycle: 8, Status: api.CycleRunning}, nil
	}
	got := runOn(t, s, nil, "", "flow", "run", "btc", "--key", "k-1")
	if key != "k-1" || got.out != "cycle 8 of btc runs\n" {
		t.Errorf("key %q, out %q", key, got.out)
	}
}

func TestLongListsOfIDsAreCut(t *testing.T) {
	s := httpapitest.New()
	s.OnGetFlow = func(context.Context, ids.FlowID) (api.FlowStatus, error) {
		f := httpapitest.Flow()
		f.Components, f.EntryNodes = nil, nil
		for i := range 1000 {
			id := fmt.Sprintf("node-%03d", i)
			f.EntryNodes, f.Components = append(f.EntryNodes, id), append(f.Components, []string{id})
		}
		return f, nil
	}
	got := runOn(t, s, nil, "", "flow", "get", "btc")
	for _, line := range strings.Split(got.out, "\n") {
		if len(line) > 200 {
			t.Errorf("a line of %d bytes: %.60s…", len(line), line)
		}
	}
	if n := strings.Count(got.out, "… 1000 in all"); n != 2 {
		t.Errorf("%d lists say how long they are, want 2:\n%s", n, got.out)
	}
	if whole := runOn(t, s, nil, "", "flow", "get", "btc", "-o", "yaml"); !strings.Contains(whole.out, "node-999") {
		t.Error("YAML is cut as well")
	}
}
