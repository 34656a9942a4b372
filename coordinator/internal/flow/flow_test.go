package flow

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

// mustParse parses a document that has no fault.
func mustParse(t testing.TB, body []byte, o Options) *Flow {
	t.Helper()
	f, err := Parse(body, o)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return f
}

// faultsOf parses a document that must be refused.
func faultsOf(t testing.TB, body []byte, o Options) []Fault {
	t.Helper()
	_, err := Parse(body, o)
	var bad *Invalid
	if !errors.As(err, &bad) {
		t.Fatalf("Parse = %v, want *Invalid", err)
	}
	return bad.Faults
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", path))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func knowsNoMystery(nodeType, pool string) bool { return nodeType != "mystery" }

func refusesParens(expr string) error {
	if strings.HasPrefix(expr, "(((") {
		return errors.New("unbalanced")
	}
	return nil
}

func TestValidDocuments(t *testing.T) {
	editor := Options{FlowID: "editor", Interval: "90s"}
	tests := []struct {
		file       string
		opts       Options
		id         ids.FlowID
		kind       schedule.Kind
		interval   time.Duration
		nodes      int
		edges      int
		components []int
		entries    string
		sinks      string
		levels     []int
	}{
		{"execute-chain.json", Options{}, "chain", schedule.Periodic, 5 * time.Minute, 3, 2, []int{3}, "fetch", "tell", []int{1, 1, 1}},
		{"execute-diamond.json", Options{}, "diamond", schedule.Periodic, time.Minute, 6, 7, []int{6}, "src", "sheet", []int{1, 3, 1, 1}},
		{"execute-components.json", Options{}, "parts", schedule.Periodic, time.Minute, 7, 5, []int{3, 3, 1}, "vault posts lone", "swap send lone", []int{3, 2, 2}},
		{"execute-once.json", Options{}, "once", schedule.Manual, 0, 1, 0, []int{1}, "only", "only", []int{1}},
		{"execute-branches.json", Options{}, "branches", schedule.Periodic, time.Hour, 6, 4, []int{4, 2}, "a feed", "book tell", []int{2, 2, 1, 1}},
		{"seed.json", Options{}, "seed", schedule.Periodic, 30 * time.Second, 3, 2, []int{3}, "fetch", "record", []int{1, 1, 1}},
		{"editor.json", editor, "editor", schedule.Periodic, 90 * time.Second, 3, 3, []int{3}, "posts", "book", []int{1, 1, 1}},
		{"full.yaml", Options{}, "full", schedule.Cron, 0, 2, 2, []int{2}, "no", "order", []int{1, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			f := mustParse(t, read(t, "valid/"+tt.file), tt.opts)
			if f.ID != tt.id || f.ScheduleType != tt.kind || f.Interval != tt.interval || len(f.Nodes) != tt.nodes || len(f.Edges) != tt.edges {
				t.Errorf("got %s %s %s, %d nodes, %d edges", f.ID, f.ScheduleType, f.Interval, len(f.Nodes), len(f.Edges))
			}
			s := f.Structure()
			var sizes []int
			for _, c := range s.Components {
				sizes = append(sizes, len(c))
			}
			want := []any{tt.components, "[" + tt.entries + "]", "[" + tt.sinks + "]", tt.levels}
			if diff := cmp.Diff(want, []any{sizes, fmt.Sprint(s.Entries), fmt.Sprint(s.Sinks), s.Levels}); diff != "" {
				t.Error(diff)
			}
			if _, err := schedule.Compile(f.Schedule()); err != nil {
				t.Errorf("the schedule does not compile: %v", err)
			}
			again := mustParse(t, f.Canonical(), Options{})
			if diff := cmp.Diff(string(f.Canonical()), string(again.Canonical())); diff != "" {
				t.Errorf("the canonical form does not survive: %s", diff)
			}
		})
	}
}

func TestInvalidDocuments(t *testing.T) {
	// Each fault must occur, written as code, place and a part of the message;
	// all given, and no other.
	tests := map[string][]string{
		"cycle.json":               {"cycle|flow_json.edges|x -> y -> z -> x"},
		"self-loop.json":           {`cycle|flow_json.edges[1]|"b"`},
		"no-entry-node.json":       {"cycle|flow_json.edges|a -> b -> a", "no_entry_node|flow_json.nodes|a, b"},
		"dangling-target.json":     {`unknown_node|flow_json.edges[1].target|edge's target "nowhere"`},
		"dangling-source.json":     {`unknown_node|flow_json.edges[1].source|edge's source "nowhere"`},
		"duplicate-node-id.json":   {`duplicate_node_id|flow_json.nodes[2].id|"b" is taken by flow_json.nodes[1]`},
		"duplicate-edge.json":      {"duplicate_edge|flow_json.edges[1]|flow_json.edges[0]"},
		"node-without-id.json":     {`bad_node|flow_json.nodes[1]|nodes[1] has no "id"`, "unknown_node|flow_json.edges[0].target|b"},
		"node-without-type.json":   {`bad_node|flow_json.nodes[1]|node "b" has no "type"`},
		"node-not-an-object.json":  {"bad_node|flow_json.nodes[1]|is a string", "unknown_node|flow_json.edges[0].target|b"},
		"unknown-type.json":        {`unknown_node_type|flow_json.nodes[1].type|node "b" has the type "mystery"`},
		"empty-nodes.json":         {"no_nodes|flow_json.nodes|nodes is empty"},
		"nodes-not-a-list.json":    {"bad_shape|flow_json.nodes|nodes is an object; a list is expected"},
		"interval-negative.json":   {`bad_interval|cycle_interval|"-5m" is negative`},
		"interval-cron.json":       {`bad_interval|cycle_interval|"*/5 * * * *" is a cron expression; it belongs in the field cron`},
		"interval-word.json":       {`bad_interval|cycle_interval|"sometimes"`},
		"interval-unit.json":       {`bad_interval|cycle_interval|"5M"`},
		"interval-empty.json":      {"bad_interval|cycle_interval|is empty"},
		"interval-long.json":       {"bad_interval|cycle_interval|366 days"},
		"interval-short.json":      {"bad_interval|cycle_interval|at least 100ms"},
		"interval-bool.json":       {"bad_interval|cycle_interval|is true or false"},
		"missing-interval.json":    {"missing_field|cycle_interval|cycle_interval is missing"},
		"missing-flow-id.json":     {"missing_field|flow_id|flow_id is missing"},
		"huge-node-id.json":        {"bad_id|flow_json.nodes[0].id|300 bytes; at most 64", "unknown_node|flow_json.edges[0].source|a"},
		"unicode-ids.json":         {"bad_id|flow_id|A-Z a-z 0-9 _ -", "bad_id|flow_json.nodes[2].id|价格"},
		"not-json.json":            {"bad_json|line 3|column 24"},
		"duplicate-key.json":       {`duplicate_key|line 3|"type"`},
		"number-out-of-range.json": {"bad_field|line 2|1e400"},
		"broken.yaml":              {"bad_json|line 4|YAML"},
		"tag.yaml":                 {"bad_json|line 4|tags"},
		"many.json": {
			"bad_id|flow_id|contains ' '", "bad_interval|interval_seconds|not a number of seconds", "bad_cron|cron|never fires",
			"bad_timezone|timezone|Nowhere", "bad_field|overlap|allowed are skip, allow", "bad_field|catchup|allowed are none, latest",
			"bad_field|on_failure|allowed are fail_cycle, continue", `bad_field|cycle_timeout|30 has no unit`,
			"bad_id|nodes[0].id|contains ' '", "bad_field|nodes[0].type|other characters", "bad_field|nodes[0].pool|contains '/'",
			"bad_field|nodes[0].timeout|1ms to 1d", "bad_field|nodes[0].retry.max_retries|0 to 100",
			"bad_field|nodes[0].retry.max_backoff|shorter than backoff", "bad_field|nodes[0].retry.tries|not known",
			"bad_field|nodes[0].join|none_failed", "bad_field|nodes[0].delivery|at_most_once", "bad_field|nodes[0].aggregate|list, merge",
			`bad_node|nodes[1]|no "id"`, `bad_node|nodes[2]|node "c" has no "type"`,
			"bad_expression|edges[0].when|unbalanced", `unknown_node|edges[1].target|"gone"`, "missing_field|edges[2].source|no source",
			"cycle|edges|a b -> c -> a b", "no_entry_node|nodes|a b, c",
		},
	}
	files, err := filepath.Glob("testdata/invalid/*")
	if err != nil || len(files) != len(tests) {
		t.Fatalf("%d files, %d expectations, %v", len(files), len(tests), err)
	}
	for file, want := range tests {
		t.Run(file, func(t *testing.T) {
			faults := faultsOf(t, read(t, "invalid/"+file), Options{KnownType: knowsNoMystery, CheckExpr: refusesParens})
			checkFaults(t, faults, want)
		})
	}
}

func checkFaults(t *testing.T, faults []Fault, want []string) {
	t.Helper()
	open := append([]Fault(nil), faults...)
next:
	for _, w := range want {
		part := strings.SplitN(w, "|", 3)
		for i, f := range open {
			if f.Code == part[0] && f.Place == part[1] && strings.Contains(f.Message, part[2]) {
				open = append(open[:i], open[i+1:]...)
				continue next
			}
		}
		t.Errorf("no fault %s", w)
	}
	for _, f := range open {
		t.Errorf("unexpected fault %+v", f)
	}
	for _, f := range faults {
		if len(f.Message) > 600 {
			t.Errorf("the message has %d bytes: %.100s", len(f.Message), f.Message)
		}
	}
}

func TestErrorListsAllFaults(t *testing.T) {
	_, err := Parse([]byte(`{"name": 5, "interval": "x", "nodes": []}`), Options{})
	for _, part := range []string{"name: is a number", "flow_id: flow_id is missing", `interval: "x"`, "nodes: nodes is empty"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %s", part, err)
		}
	}
}

func TestFullDocument(t *testing.T) {
	f := mustParse(t, read(t, "valid/full.yaml"), Options{CheckExpr: refusesParens})
	wantSpec := schedule.Spec{Kind: schedule.Cron, Cron: "*/5 9-16 * * MON-FRI", Timezone: "America/New_York", Overlap: "allow", Catchup: "none", CatchupWindow: time.Hour}
	if diff := cmp.Diff(wantSpec, f.Schedule()); diff != "" {
		t.Error(diff)
	}
	if f.CycleTimeout != 90*time.Second || f.OnFailure != plan.Continue {
		t.Errorf("cycle_timeout %s, on_failure %s", f.CycleTimeout, f.OnFailure)
	}
	want := Node{ID: "no", Type: "http", Pool: "desk", Timeout: 5 * time.Second,
		Retry:    plan.Retry{Backoff: 500 * time.Millisecond, MaxBackoff: 2 * time.Second},
		Delivery: plan.AtLeastOnce, Join: plan.AllSuccess, Aggregate: plan.AggregateList,
		Parameters: []byte(`{"big":12345678901234567890,"code":"a = 1\nb = 2\n","day":"2026-01-01","on":"off","ratio":1e3,"symbol":"000001","url":"http://127.0.0.1:9/"}`)}
	if diff := cmp.Diff(want, f.Nodes[0], cmp.AllowUnexported(Node{})); diff != "" {
		t.Error(diff)
	}
	if n := f.Nodes[1]; n.Delivery != plan.AtMostOnce || n.Join != plan.OneSuccess || n.Aggregate != plan.AggregateMerge || n.Retry != defaultRetry() || n.Timeout != DefaultTimeout {
		t.Errorf("order: %+v", n)
	}
	if e := f.Edges[0]; e.When != "value > 30000" || e.SourceHandle != "close" || e.TargetHandle != "price" {
		t.Errorf("edge: %+v", e)
	}
	if !bytes.Contains(f.Canonical(), []byte(`"labels":{"team":"desk"}`)) {
		t.Error("the unknown field labels is lost")
	}
}

func TestEditorFormLosesNothing(t *testing.T) {
	f := mustParse(t, read(t, "valid/editor.json"), Options{FlowID: "editor", Interval: "90"})
	if got, want := string(f.Nodes[0].Parameters), `{"limit":0,"url":"http://127.0.0.1:9/"}`; got != want {
		t.Errorf("parameters %s, want %s", got, want)
	}
	for _, kept := range []string{`"thumbnailUrl":""`, `"position":{"x":1,"y":2}`, `"title":"Posts"`, `"outputs":[{"id":"items"}]`,
		`"inputs":[{"id":"url","title":"URL"},{"id":"limit"},{"id":"unset"}]`, `"id":"e2"`, `"animated":true`, "编辑"} {
		if !bytes.Contains(f.Canonical(), []byte(kept)) {
			t.Errorf("%s is not in %s", kept, f.Canonical())
		}
	}
	if f.Edges[2].SourceHandle != plan.DefaultHandle || f.Edges[2].TargetHandle != "rows" {
		t.Errorf("edge: %+v", f.Edges[2])
	}
}

func TestSpellingsOfOneFlowHaveOneForm(t *testing.T) {
	spellings := []string{
		`{"flow_id":"f","schedule_type":"periodic","interval_seconds":90,"nodes":[{"id":"a","type":"http","parameters":{"x":1,"y":{"b":"é","a":[]}}},{"id":"b","type":"log"}],"edges":[{"source":"a","source_handle":"out","target":"b"}]}`,
		`{"flow_json":{"edges":[{"target":"b","source":"a","source_handle":"out","target_handle":"default"}],"nodes":[{"config":{"y":{"a":[],"b":"\u00e9"},"x":1,"node_class_type":"http"},"type":"http","id":"a"},{"id":"b","type":"log","config":{}}]},"cycle_interval":"90s","flow_id":"f"}`,
		`{"flow_id":"f","interval":"1m30s","catchup":"latest","overlap":"skip","on_failure":"fail_cycle","catchup_window":"600s","name":null,"nodes":[{"id":"a","type":"http","timeout":"30s","pool":"default","join":"all_success","delivery":"at_least_once","aggregate":"list","retry":{"enabled":true,"max_retries":3,"backoff":"1000ms"},"parameters":{"x":1,"y":{"b":"é","a":[]}}},{"id":"b","type":"log","retry":null}],"edges":[{"source":"a","sourceHandle":"out","target":"b","targetHandle":"","when":""}]}`,
		"flow_id: f\ncycle_interval: 1.5m\nnodes:\n- {id: a, type: http, parameters: {x: 1, y: {b: é, a: []}}}\n- id: b\n  type: log\nedges:\n- source: a\n  sourceHandle: out\n  target: b\n",
	}
	want := `{"flow_id":"f","schedule_type":"periodic","interval_seconds":90,"overlap":"skip","catchup":"latest","catchup_window":"10m","on_failure":"fail_cycle",` +
		`"nodes":[{"id":"a","type":"http","parameters":{"x":1,"y":{"a":[],"b":"é"}}},{"id":"b","type":"log"}],"edges":[{"source":"a","source_handle":"out","target":"b"}]}`
	for _, s := range spellings {
		if diff := cmp.Diff(want, string(mustParse(t, []byte(s), Options{}).Canonical())); diff != "" {
			t.Errorf("%s\n%s", s, diff)
		}
	}
}

func TestSchedules(t *testing.T) {
	tests := []struct {
		name, fields, beside string
		want                 string // schedule_type, interval and cron, or code|place|part
	}{
		{"seed without interval", `"schedule_type":"periodic"`, "", "periodic 1m0s "},
		{"neither type nor interval", ``, "", "missing_field|interval_seconds|is missing"},
		{"manual", `"schedule_type":"manual"`, "", "manual 0s "},
		{"manual with zero", `"schedule_type":"manual","interval":"0"`, "", "manual 0s "},
		{"manual with an interval", `"schedule_type":"manual","interval":"5m"`, "", "bad_interval|interval|manual"},
		{"once", `"interval":"once"`, "", "manual 0s "},
		{"number zero", `"interval":0`, "", "manual 0s "},
		{"periodic zero", `"schedule_type":"periodic","interval_seconds":0`, "", "bad_interval|interval_seconds|contradicts schedule_type"},
		{"fraction", `"interval_seconds":0.25`, "", "periodic 250ms "},
		{"text of digits", `"interval_seconds":"45"`, "", "periodic 45s "},
		{"agreeing", `"interval_seconds":60,"interval":"1m","cycle_interval":"60"`, "60s", "periodic 1m0s "},
		{"contradicting", `"interval_seconds":60,"interval":"2m"`, "", "bad_interval|interval|contradicts 1m"},
		{"contradicting beside", `"interval":"2m"`, "60", "bad_interval|interval given beside the document|contradicts 2m"},
		{"beside only", ``, "2m", "periodic 2m0s "},
		{"bad beside", ``, "x", "bad_interval|interval given beside the document|not a duration"},
		{"cron", `"cron":"@daily"`, "", "cron 0s @daily"},
		{"cron and interval", `"cron":"@daily","interval":"5m"`, "", "bad_interval|interval|cron"},
		{"cron named, not given", `"schedule_type":"cron"`, "", "missing_field|cron|is missing"},
		{"cron on periodic", `"schedule_type":"periodic","interval":"5m","cron":"@daily"`, "", "bad_cron|cron|periodic"},
		{"timezone without cron", `"interval":"5m","timezone":"UTC"`, "", "bad_timezone|timezone|belongs to cron"},
		{"unknown type", `"schedule_type":"hourly"`, "", "bad_field|schedule_type|hourly"},
		{"cron in interval_seconds", `"interval_seconds":"0 * * * *"`, "", "bad_interval|interval_seconds|belongs in the field cron"},
		{"unsupported overlap", `"interval":"5m","overlap":"cancel_running"`, "", "bad_field|overlap|allowed are skip, allow"},
		{"zero window", `"interval":"5m","catchup_window":"0s"`, "", "bad_field|catchup_window|1ms to 366d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			comma := ""
			if tt.fields != "" {
				comma = ","
			}
			body := []byte(`{"flow_id":"f","nodes":[{"id":"a","type":"log"}]` + comma + tt.fields + `}`)
			o := Options{Interval: tt.beside}
			if strings.Contains(tt.want, "|") {
				checkFaults(t, faultsOf(t, body, o), []string{tt.want})
				return
			}
			f := mustParse(t, body, o)
			if got := fmt.Sprint(f.ScheduleType, " ", f.Interval, " ", f.Cron); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSpellingFaults(t *testing.T) {
	tests := []struct {
		name, body string
		want       []string
	}{
		{"two graphs", `{"flow_id":"f","interval":5,"nodes":[],"flow_json":{"nodes":[{"id":"a","type":"log"}]}}`, []string{"bad_shape|flow_json|both here and at the top"}},
		{"flow_json is text", `{"flow_id":"f","interval":5,"flow_json":"{}"}`, []string{"bad_shape|flow_json|is a string"}},
		{"no graph", `{"flow_id":"f","interval":5}`, []string{"no_nodes|nodes|missing"}},
		{"empty flow_json", `{"flow_id":"f","interval":5,"flow_json":{}}`, []string{"no_nodes|flow_json.nodes|missing"}},
		{"config and parameters", `{"flow_id":"f","interval":5,"nodes":[{"id":"a","type":"log","config":{"x":1},"parameters":{}}]}`, []string{"bad_field|nodes[0].parameters|contradicts config"}},
		{"two handles", `{"flow_id":"f","interval":5,"nodes":[{"id":"a","type":"log"},{"id":"b","type":"log"}],"edges":[{"source":"a","target":"b","sourceHandle":"x","source_handle":"y"}]}`, []string{"bad_field|edges[0].source_handle|contradicts sourceHandle"}},
		{"config is a list", `{"flow_id":"f","interval":5,"nodes":[{"id":"a","type":"log","config":[]}]}`, []string{"bad_shape|nodes[0].config|is a list"}},
		{"edges is an object", `{"flow_id":"f","interval":5,"nodes":[{"id":"a","type":"log"}],"edges":{}}`, []string{"bad_shape|edges|a list is expected"}},
		{"edge is a list", `{"flow_id":"f","interval":5,"nodes":[{"id":"a","type":"log"}],"edges":[["a","a"]]}`, []string{"bad_shape|edges[0]|an object is expected"}},
		{"flow id is a number", `{"flow_id":5,"interval":5,"nodes":[{"id":"a","type":"log"}]}`, []string{"bad_id|flow_id|a string is expected"}},
		{"node id is a number", `{"flow_id":"f","interval":5,"nodes":[{"id":5,"type":"log"}]}`, []string{"bad_id|nodes[0].id|a string is expected"}},
		{"NUL in an id", `{"flow_id":"f","interval":5,"nodes":[{"id":"a\u0000","type":"log"}]}`, []string{`bad_id|nodes[0].id|'\x00'`}},
		{"control character in a handle", `{"flow_id":"f","interval":5,"nodes":[{"id":"a","type":"log"},{"id":"b","type":"log"}],"edges":[{"source":"a","target":"b","sourceHandle":"x\ny"}]}`, []string{"bad_field|edges[0].source_handle|control character"}},
		{"inputs is an object", `{"flow_id":"f","interval":5,"nodes":[{"id":"a","type":"log","data":{"inputs":{}}}]}`, []string{"bad_shape|nodes[0].data.inputs|a list is expected"}},
		{"input without id, input twice", `{"flow_id":"f","interval":5,"nodes":[{"id":"a","type":"log","data":{"inputs":[{"value":1},{"id":"x"},{"id":"x"},7]}}]}`,
			[]string{"bad_field|nodes[0].data.inputs[0].id|missing", "bad_field|nodes[0].data.inputs[2].id|second time", "bad_shape|nodes[0].data.inputs[3]|is a number"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkFaults(t, faultsOf(t, []byte(tt.body), Options{}), tt.want) })
	}
	checkFaults(t, faultsOf(t, []byte(`{"flow_id":"f","interval":5,"nodes":[{"id":"a","type":"log"}]}`), Options{FlowID: "g"}), []string{`bad_id|flow_id|"f", but the call is about flow "g"`})
}

func TestUnknownFieldsAreKept(t *testing.T) {
	f := mustParse(t, []byte(`{"flow_id":"f","cycle_interval":"5m","user_id":"u","flow_json":{"viewport":{"zoom":1.0},"nodes":[{"id":"a","type":"log","x":null,"config":{"node_class_type":"other","n":0}}],"edges":[]},"created_at":""}`), Options{})
	want := `{"flow_id":"f","schedule_type":"periodic","interval_seconds":300,"overlap":"skip","catchup":"latest","catchup_window":"10m","on_failure":"fail_cycle",` +
		`"nodes":[{"id":"a","type":"log","parameters":{"n":0,"node_class_type":"other"},"x":null}],"edges":[],"created_at":"","flow_json":{"viewport":{"zoom":1.0}},"user_id":"u"}`
	if diff := cmp.Diff(want, string(f.Canonical())); diff != "" {
		t.Error(diff)
	}
	if again := mustParse(t, f.Canonical(), Options{}); !bytes.Equal(again.Canonical(), f.Canonical()) {
		t.Errorf("the canonical form does not survive: %s", again.Canonical())
	}
}
