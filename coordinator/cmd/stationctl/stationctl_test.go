package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
	"github.com/tradingflow/weather-station/shared/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outcome is what a command left behind.
type outcome struct {
	code     int
	out, err string
}

// plain returns a terminal that is none, as in a script.
func plain(stdin string) (terminal, *bytes.Buffer, *bytes.Buffer) {
	var out, err bytes.Buffer
	return terminal{in: strings.NewReader(stdin), out: &out, err: &err, poll: time.Millisecond, patience: time.Minute}, &out, &err
}

// runOn runs a command against the service.
func runOn(t *testing.T, s httpapi.Service, change func(*terminal), stdin string, args ...string) outcome {
	t.Helper()
	srv := httptest.NewServer(httpapitest.Handler(s))
	defer srv.Close()
	term, out, errs := plain(stdin)
	if change != nil {
		change(&term)
	}
	code := run(context.Background(), append([]string{"--server", srv.URL}, args...), term)
	return outcome{code, out.String(), errs.String()}
}

func file(t *testing.T, name, body string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// commands is every command that calls the API, the service's calls it makes,
// and what its table shows.
func commands(t *testing.T) []struct {
	name  string
	args  []string
	calls []string
	shows []string
} {
	doc := file(t, "btc.yaml", "flow_id: btc\n")
	return []struct {
		name  string
		args  []string
		calls []string
		shows []string
	}{
		{"flow apply", []string{"flow", "apply", "-f", doc}, []string{"Register"}, []string{"btc.yaml", "created", "{price, order}"}},
		{"flow validate", []string{"flow", "validate", "-f", doc}, []string{"Register"}, []string{"btc.yaml", "valid"}},
		{"flow list", []string{"flow", "list"}, []string{"ListFlows"}, []string{"FLOW", "btc", "every 60s", "completed", "2026-01-02T04:04:05.678Z", "BTC momentum"}},
		{"flow get", []string{"flow", "get", "btc"}, []string{"GetFlow"}, []string{"7, completed, 2 of 2 nodes done", `9 due = 7 started + 2 skipped + 0 pending {"overlap":2}`, "{price} {order}"}},
		{"flow delete", []string{"flow", "delete", "btc"}, []string{"DeleteFlow"}, []string{"flow btc is deleted"}},
		{"flow pause", []string{"flow", "pause", "btc"}, []string{"PauseFlow"}, []string{"flow btc is paused"}},
		{"flow resume", []string{"flow", "resume", "btc"}, []string{"ResumeFlow"}, []string{"flow btc is active", "2026-01-02T04:04:05.678Z"}},
		{"flow run", []string{"flow", "run", "btc"}, []string{"StartCycle"}, []string{"cycle 7 of btc"}},
		{"flow run wait", []string{"flow", "run", "btc", "--wait"}, []string{"StartCycle", "GetCycle"}, []string{"price  succeeded  on w-1", "order  succeeded  attempt 2", "cycle 7 of btc completed in 1.5s: 2 of 2 done"}},
		{"flow metrics", []string{"flow", "metrics", "btc"}, []string{"Metrics"}, []string{"75.0 %", "1.25s", "4 (of the last 10 ended cycles)"}},
		{"cycle list", []string{"cycle", "list", "btc"}, []string{"ListCycles"}, []string{"CYCLE", "completed", "slot", "1.5s", "2/2"}},
		{"cycle get", []string{"cycle", "get", "btc", "7"}, []string{"GetCycle"}, []string{"7 of btc", "2 of 2 done: 2 succeeded", "price", "exec"}},
		{"cycle get newest", []string{"cycle", "get", "btc"}, []string{"ListCycles", "GetCycle"}, []string{"7 of btc"}},
		{"cycle watch", []string{"cycle", "watch", "btc", "7"}, []string{"GetCycle"}, []string{"03:04:06.678  price  succeeded", "completed in 1.5s"}},
		{"cycle watch newest", []string{"cycle", "watch", "btc"}, []string{"ListCycles", "GetCycle"}, []string{"completed in 1.5s"}},
		{"cycle cancel", []string{"cycle", "cancel", "btc", "7"}, []string{"CancelCycle"}, []string{"cycle 7 of btc is cancelling"}},
		{"node get", []string{"node", "get", "btc", "7", "price"}, []string{"GetNode"}, []string{"price", `in: {"b":1,"a":[2]}`, "default: 42.5", "1 (0 retries, 0 lost)"}},
		{"cluster status", []string{"cluster", "status"}, []string{"Cluster"}, []string{"c-1, epoch 42", "leader, answers", "standby", "5/8", "connection refused", "down", "message", "7", "redis was restarted: repaired offer 2"}},
		{"leader transfer", []string{"leader", "transfer"}, []string{"TransferLeader"}, []string{"c-1 leads no more (epoch 42)"}},
		{"verify", []string{"verify", "--from", "10m"}, []string{"Verify"}, []string{"claims  4        ok", "slots   7        ok", "40, 1767323045678-0 to 1767323049000-3", "1 flows, 2 cycles, 6 nodes", "13333 records a second", "violations    0"}},
		{"worker list", []string{"worker", "list"}, []string{"Workers"}, []string{"w-1", "1/4", "http,log", "active"}},
	}
}

func TestEveryCommandInEveryFormat(t *testing.T) {
	for _, tc := range commands(t) {
		t.Run(tc.name, func(t *testing.T) {
			s := httpapitest.New()
			table := runOn(t, s, nil, "", tc.args...)
			if table.code != exitDone || table.err != "" {
				t.Fatalf("table: code %d, errors %q", table.code, table.err)
			}
			for _, want := range tc.shows {
				if !strings.Contains(table.out, want) {
					t.Errorf("table lacks %q:\n%s", want, table.out)
				}
			}
			if strings.Contains(table.out, "\x1b") {
				t.Errorf("colours without a terminal: %q", table.out)
			}
			for i, line := range strings.Split(table.out, "\n") {
				if strings.TrimRight(line, " ") != line {
					t.Errorf("line %d ends in spaces: %q", i, line)
				}
			}
			if diff := cmp.Diff(tc.calls, s.Calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			asJSON := runOn(t, httpapitest.New(), nil, "", append(tc.args, "-o", "json")...)
			asYAML := runOn(t, httpapitest.New(), nil, "", append([]string{"--output=yaml"}, tc.args...)...)
			if asJSON.code != exitDone || asYAML.code != exitDone {
				t.Fatalf("codes %d, %d: %s%s", asJSON.code, asYAML.code, asJSON.err, asYAML.err)
			}
			var fromJSON any
			if err := json.Unmarshal([]byte(asJSON.out), &fromJSON); err != nil {
				t.Fatalf("not JSON: %v\n%s", err, asJSON.out)
			}
			if diff := cmp.Diff(fromJSON, parseYAML(t, asYAML.out)); diff != "" {
				t.Errorf("YAML differs from JSON (-json +yaml):\n%s", diff)
			}
		})
	}
}

// parseYAML reads YAML into what encoding/json would give for the same value.
func parseYAML(t *testing.T, s string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("not YAML: %v\n%s", err, s)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestJSONIsWhatTheAPIAnswers(t *testing.T) {
	got := runOn(t, httpapitest.New(), nil, "", "cycle", "get", "btc", "7", "-o", "json")
	var c api.Cycle
	if err := json.Unmarshal([]byte(got.out), &c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(httpapitest.Cycle(), c); diff != "" {
		t.Errorf("cycle (-want +got):\n%s", diff)
	}
}

func TestExitCodes(t *testing.T) {
	fail := func(err error) func(*httpapitest.Service) {
		return func(s *httpapitest.Service) {
			s.OnGetFlow = func(context.Context, ids.FlowID) (api.FlowStatus, error) { return api.FlowStatus{}, err }
		}
	}
	for _, tc := range []struct {
		name   string
		args   []string
		change func(*httpapitest.Service)
		code   int
		says   string
	}{
		{"done", []string{"flow", "get", "btc"}, nil, 0, ""},
		{"not found", []string{"flow", "get", "nope"}, nil, 4, `flow "nope" does not exist (not_found)`},
		{"no such cycle", []string{"cycle", "get", "btc", "9"}, nil, 4, "does not exist"},
		{"no such node", []string{"node", "get", "btc", "7", "x"}, nil, 4, "does not exist"},
		{"conflict", []string{"flow", "get", "btc"}, fail(&httpapi.Conflict{Code: "paused", Detail: "it is paused"}), 1, "it is paused (paused)"},
		{"defect", []string{"flow", "get", "btc"}, fail(io.ErrUnexpectedEOF), 1, "internal"},
		{"unavailable", []string{"flow", "get", "btc"}, fail(&httpapi.Unavailable{What: "redis"}), 3, "redis is unavailable"},
		{"bad id", []string{"flow", "get", "a/b"}, nil, 2, `flow id "a/b" contains '/'`},
		{"bad node id", []string{"node", "get", "btc", "7", "a b"}, nil, 2, "node id"},
		{"cycle not positive", []string{"cycle", "cancel", "btc", "0"}, nil, 2, "path.cycle"},
		{"cycle not a number", []string{"cycle", "get", "btc", "x"}, nil, 2, "x"},
		{"bad limit", []string{"cycle", "list", "btc", "--limit", "0"}, nil, 2, "--limit"},
		{"no command", nil, nil, 2, "expected one of"},
		{"unknown command", []string{"flow", "fly"}, nil, 2, "fly"},
		{"unknown flag", []string{"flow", "list", "--fast"}, nil, 2, "--fast"},
		{"unknown format", []string{"flow", "list", "-o", "xml"}, nil, 2, "xml"},
		{"no time", []string{"flow", "list", "--timeout", "0s"}, nil, 2, "--timeout"},
		{"no document", []string{"flow", "apply"}, nil, 2, "--file"},
		{"missing file", []string{"flow", "apply", "-f", "/nonexistent/x.json"}, nil, 2, "/nonexistent/x.json"},
		{"bad server", []string{"flow", "list", "--server", "localhost"}, nil, 2, "server URL"},
		{"bad key", []string{"flow", "run", "btc", "--key", "a b"}, nil, 2, "Idempotency-Key"},
		{"no cycle yet", []string{"cycle", "watch", "btc"}, func(s *httpapitest.Service) {
			s.OnListCycles = func(context.Context, ids.FlowID, int, int64) ([]api.CycleSummary, error) { return nil, nil }
		}, 4, "no cycle yet"},
		{"help", []string{"--help"}, nil, 0, ""},
		{"version", []string{"version"}, nil, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := httpapitest.New()
			if tc.change != nil {
				tc.change(s)
			}
			got := runOn(t, s, nil, "", tc.args...)
			if got.code != tc.code || !strings.Contains(got.err, tc.says) || tc.code != 0 && got.err == "" {
				t.Errorf("got code %d, errors %q; want %d with %q", got.code, got.err, tc.code, tc.says)
			}
			if tc.code != 0 && got.out != "" {
				t.Errorf("a failed command printed %q", got.out)
			}
		})
	}
}

func TestServerOutOfReach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STATION_SERVER", addr)
	term, out, errs := plain("")
	if code := run(context.Background(), []string{"worker", "list"}, term); code != exitNoAnswer {
		t.Errorf("code %d, want %d", code, exitNoAnswer)
	}
	if out.Len() > 0 || !strings.Contains(errs.String(), addr) || !strings.Contains(errs.String(), "--server") {
		t.Errorf("out %q, errors %q", out, errs)
	}
}

func TestSlowServer(t *testing.T) {
	s := httpapitest.New()
	s.OnWorkers = func(ctx context.Context) ([]api.Worker, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if got := runOn(t, s, nil, "", "worker", "list", "--timeout", "20ms"); got.code != exitNoAnswer {
		t.Errorf("code %d, errors %q", got.code, got.err)
	}
}

func TestHelpTellsTheExitCodes(t *testing.T) {
	got := runOn(t, httpapitest.New(), nil, "", "--help")
	for _, line := range strings.Split(description, "\n") {
		if !strings.Contains(got.out, strings.TrimSpace(line)) {
			t.Errorf("help lacks %q", line)
		}
	}
	for _, tc := range commands(t) {
		words := tc.args[:min(2, len(tc.args))]
		if strings.HasPrefix(words[1], "-") {
			words = words[:1]
		}
		got := runOn(t, httpapitest.New(), nil, "", append(slices.Clone(words), "--help")...)
		if got.code != 0 || !strings.HasPrefix(got.out, "Usage: stationctl "+strings.Join(words, " ")) {
			t.Errorf("help of %v: code %d, %q", words, got.code, got.out)
		}
	}
}

func TestWhatTheServerSaysCantDriveTheTerminal(t *testing.T) {
	const evil = "a\x1b[2J\u009b\r\nb\u202e\u2028c"
	s := httpapitest.New()
	c := httpapitest.Cycle()
	c.Error, c.Nodes[0].Error, c.Nodes[0].Worker = evil, evil, evil
	s.OnGetCycle = func(context.Context, ids.FlowID, int64) (api.Cycle, error) { return c, nil }
	s.OnGetFlow = func(context.Context, ids.FlowID) (api.FlowStatus, error) {
		return api.FlowStatus{}, &httpapi.Conflict{Detail: evil}
	}
	s.OnRegister = func(context.Context, []byte, httpapi.RegisterOptions) (api.Registered, error) {
		return api.Registered{}, &httpapi.Invalid{Faults: []api.Fault{{Place: evil, Message: evil, Code: evil}}}
	}
	for _, args := range [][]string{{"cycle", "get", "btc", "7"}, {"cycle", "watch", "btc", "7"}, {"flow", "get", "btc"}, {"flow", "apply", "-f", "-"}} {
		got := runOn(t, s, nil, "x", args...)
		text := got.out + got.err
		if strings.ContainsAny(text, "\x1b\u009b\r\u202e\u2028") || !strings.Contains(text, "a [2J b c") {
			t.Errorf("%v printed %q", args, text)
		}
	}
}

func TestColoursAndWidthOfATerminal(t *testing.T) {
	narrow := func(t *terminal) { t.colours, t.shows, t.width = true, true, 40 }
	got := runOn(t, httpapitest.New(), narrow, "", "flow", "list")
	for _, line := range strings.Split(got.out, "\n") {
		shown := []rune(strings.NewReplacer("\x1b[32m", "", "\x1b[0m", "").Replace(line))
		if len(shown) > 40 {
			t.Errorf("line of %d columns: %q", len(shown), line)
		}
	}
	if !strings.Contains(got.out, "\x1b[32mactive\x1b[0m") {
		t.Errorf("no colours: %q", got.out)
	}
}

func TestTablesShowEveryKindOfState(t *testing.T) {
	s := httpapitest.New()
	s.OnListFlows = func(context.Context) ([]api.FlowSummary, error) {
		return []api.FlowSummary{{FlowID: "c", ScheduleType: api.Cron, Cron: "*/5 9-16 * * MON-FRI", Timezone: "America/New_York"},
			{FlowID: "m", ScheduleType: api.Manual}, {FlowID: "h", ScheduleType: api.Periodic, IntervalSeconds: 0.5}}, nil
	}
	s.OnCluster = func(context.Context) (api.Cluster, error) { return api.Cluster{Schema: "1"}, nil }
	s.OnWorkers = func(context.Context) ([]api.Worker, error) { return []api.Worker{{WorkerID: "w", Draining: true}}, nil }
	s.OnGetCycle = func(context.Context, ids.FlowID, int64) (api.Cycle, error) {
		return api.Cycle{CycleSummary: api.CycleSummary{Cycle: 7, FlowID: "btc", Status: api.CycleFailed, Error: "no route", DurationSeconds: 75.26,
			TotalNodes: 9, CompletedNodes: 8, Succeeded: 1, Failed: 2, Skipped: 1, Stopped: 1, Cancelled: 1, Unknown: 2, Archived: true},
			Nodes: []api.Node{{NodeID: "n", Status: "ready", Blocker: &api.Blocker{Code: "no_worker", Detail: "no worker in pool gpu"}}}}, nil
	}
	s.OnGetNode = func(context.Context, ids.FlowID, int64, ids.NodeID) (api.Node, error) {
		return api.Node{NodeID: "n", Blocker: &api.Blocker{Code: "no_worker", Detail: "no worker in pool gpu"}}, nil
	}
	for _, tc := range []struct {
		args  []string
		shows []string
	}{
		{[]string{"flow", "list"}, []string{"*/5 9-16 * * MON-FRI America/New_York", "manual", "every 0.5s"}},
		{[]string{"cluster", "status"}, []string{"nobody leads"}},
		{[]string{"worker", "list"}, []string{"draining"}},
		{[]string{"cycle", "get", "btc", "7"}, []string{"no route", "1m15.3s", "only this summary", "no worker in pool gpu",
			"8 of 9 done: 1 succeeded, 2 failed, 1 skipped, 1 stopped, 1 cancelled, 2 unknown"}},
		{[]string{"node", "get", "btc", "7", "n"}, []string{"no worker in pool gpu [no_worker]"}},
	} {
		got := runOn(t, s, nil, "", tc.args...)
		for _, want := range tc.shows {
			if !strings.Contains(got.out, want) {
				t.Errorf("%v lacks %q:\n%s%s", tc.args, want, got.out, got.err)
			}
		}
	}
}

func TestEveryFaultOfARequestIsPrinted(t *testing.T) {
	s := httpapitest.New()
	s.OnGetFlow = func(context.Context, ids.FlowID) (api.FlowStatus, error) {
		return api.FlowStatus{}, &httpapi.Invalid{Faults: []api.Fault{{Code: "a", Place: "p", Message: "one"}, {Message: "two"}}}
	}
	got := runOn(t, s, nil, "", "flow", "get", "btc")
	want := "stationctl: invalid_flow: 2 faults\n  p: one [a]\n  two\n"
	if diff := cmp.Diff(want, got.err); diff != "" || got.code != exitUsage {
		t.Errorf("code %d, errors (-want +got):\n%s", got.code, diff)
	}
}
