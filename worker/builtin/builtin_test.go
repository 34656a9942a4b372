package builtin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/shared/nodetype"
	"github.com/tradingflow/weather-station/worker/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// input builds an Input; parameters and values are JSON.
func input(parameters string, values ...string) *node.Input {
	in := &node.Input{Flow: "f", Node: "n", Cycle: 1, Attempt: 1, Slot: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC),
		IntentID: uuid.MustParse("11111111-2222-3333-4444-555555555555"), Parameters: json.RawMessage(parameters),
		Values: map[string]json.RawMessage{}, Log: hclog.NewNullLogger()}
	for i := 0; i < len(values); i += 2 {
		in.Values[values[i]] = json.RawMessage(values[i+1])
	}
	return in
}

// outputs runs a handler that must succeed and returns its outputs as JSON.
func outputs(t testing.TB, h node.Handler, in *node.Input) map[string]string {
	t.Helper()
	res, err := h.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if res.Stop {
		t.Fatalf("stopped: %s", res.Reason)
	}
	out := map[string]string{}
	for k, v := range res.Outputs {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("output %q: %v", k, err)
		}
		out[k] = string(raw)
	}
	return out
}

// refuses runs a handler that must fail permanently with all the texts.
func refuses(t testing.TB, h node.Handler, in *node.Input, texts ...string) {
	t.Helper()
	res, err := h.Run(t.Context(), in)
	if err == nil {
		t.Fatalf("parameters %s: no error, result %v", in.Parameters, res)
	}
	if !node.IsPermanent(err) {
		t.Errorf("parameters %s: %v is not permanent", in.Parameters, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("parameters %s: error %q lacks %q", in.Parameters, err, text)
		}
	}
}

func TestRegisterCarriesTheKnownTypes(t *testing.T) {
	reg := node.NewRegistry()
	Register(reg, Config{})
	if diff := cmp.Diff(nodetype.Always(), reg.Types()); diff != "" {
		t.Error(diff)
	}
	reg = node.NewRegistry()
	Register(reg, Config{AllowExec: true})
	want := append(nodetype.Always(), nodetype.Exec)
	slices.Sort(want)
	if diff := cmp.Diff(want, reg.Types()); diff != "" {
		t.Error(diff)
	}
}

func TestEveryTypeBindsStrictly(t *testing.T) {
	reg := node.NewRegistry()
	Register(reg, Config{DataDir: t.TempDir(), AllowExec: true})
	for _, typ := range reg.Types() {
		refuses(t, reg.Lookup(typ), input(`{"node_class_type": "x", "nonsense": 1}`), `"nonsense"`)
	}
}

func TestTransform(t *testing.T) {
	h := &transform{expr.NewCache(0)}
	got := outputs(t, h, input(`{"expressions": {"a": "inputs.x * params.k", "b": "[cycle, node]"}, "params": {"k": 2.5}, "node_class_type": "transform"}`, "x", "3"))
	if diff := cmp.Diff(map[string]string{"a": "7.5", "b": `[1,"n"]`}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"result": "1"}, outputs(t, h, input(`{"expression": "1"}`))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"y": "null"}, outputs(t, h, input(`{"expression": "null", "output": "y"}`))); diff != "" {
		t.Error(diff)
	}
	refuses(t, h, input(`{}`), "expressions")
	refuses(t, h, input(`{"expression": "1", "expressions": {"a": "1"}}`), "either")
	refuses(t, h, input(`{"expressions": {"a": "1"}, "output": "x"}`), "output")
	refuses(t, h, input(`{"expressions": {"a": "inputs.gone", "b": "1 +", "c": "1"}}`), `output "a"`, "gone", `output "b"`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Run(ctx, input(`{"expression": "1"}`)); !errors.Is(err, context.Canceled) || node.IsPermanent(err) {
		t.Errorf("an ended context gives %v", err)
	}
}

func TestCondition(t *testing.T) {
	h := &condition{expr.NewCache(0)}
	for _, c := range []struct {
		name, parameters string
		values           []string
		want             map[string]string
	}{
		{"expression", `{"expression": "inputs.condition_input > params.limit", "params": {"limit": 2}}`, []string{"condition_input", "3.10"},
			map[string]string{"result": "true", "true_output": "3.10"}},
		{"false", `{"expression": "false"}`, []string{"condition_input", `"x"`}, map[string]string{"result": "false", "false_output": `"x"`}},
		{"original", `{"operator": ">=", "right": 3}`, []string{"condition_input", "3.0"}, map[string]string{"result": "true", "true_output": "3.0"}},
		{"field", `{"left": "p", "operator": "<", "right": 3}`, []string{"condition_input", `{"p": 5}`}, map[string]string{"result": "false", "false_output": `{"p":5}`}},
		{"text", `{"operator": "!=", "right": "none"}`, []string{"condition_input", `"buy"`}, map[string]string{"result": "true", "true_output": `"buy"`}},
		{"edges on both sides", `{"operator": "=="}`, []string{"left", "1", "right", "1.0"}, map[string]string{"result": "true", "true_output": `{"left":1,"right":1.0}`}},
		{"an edge wins over a parameter", `{"operator": "==", "right": 5}`, []string{"left", "1", "right", "1"}, map[string]string{"result": "true", "true_output": `{"left":1,"right":1}`}},
		{"literals", `{"left": 2, "operator": "<=", "right": 2}`, nil, map[string]string{"result": "true", "true_output": `{}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, outputs(t, h, input(c.parameters, c.values...))); diff != "" {
				t.Error(diff)
			}
		})
	}
	res, err := h.Run(t.Context(), input(`{"operator": "<", "right": 3, "on_false": "stop"}`, "condition_input", "4"))
	if err != nil || !res.Stop || !strings.Contains(res.Reason, "condition_input < 3") {
		t.Errorf("on_false stop gives %+v, %v", res, err)
	}
	refuses(t, h, input(`{"operator": "=~", "on_false": "maybe"}`), `"=~"`, `"maybe"`)
	refuses(t, h, input(`{"expression": "true", "operator": "<"}`), "not both")
	refuses(t, h, input(`{"operator": "<", "right": 1}`), "left side is missing")
	refuses(t, h, input(`{"operator": "<"}`, "condition_input", "1"), "right side is missing")
	refuses(t, h, input(`{"operator": "<", "right": 1}`, "condition_input", `"1"`), "no such overload")
	refuses(t, h, input(`{"expression": "1"}`), "must yield a bool")
	refuses(t, h, input(`{"left": "q", "operator": "<", "right": 3}`, "condition_input", `{"p": 5}`), `no field "q"`)
	refuses(t, h, input(`{"left": "q", "operator": "<", "right": 3}`, "condition_input", `5`), "object")
}

func TestDelay(t *testing.T) {
	h := node.HandlerFunc(runDelay)
	if diff := cmp.Diff(map[string]string{}, outputs(t, h, input(`{"duration": "1ms"}`, "a", "1.50"))); diff != "" {
		t.Error(diff)
	}
	outputs(t, h, input(`{"duration": 0.001}`))
	refuses(t, h, input(`{}`), "duration")
	refuses(t, h, input(`{"duration": "soon"}`), `"soon"`, "1.5s")
	refuses(t, h, input(`{"duration": -1}`), "-1")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := h.Run(ctx, input(`{"duration": "1h"}`)); !errors.Is(err, context.DeadlineExceeded) || node.IsPermanent(err) {
		t.Errorf("an ended context gives %v", err)
	}
}

func TestLog(t *testing.T) {
	var buf bytes.Buffer
	in := input(`{"message": "seen", "level": "warn"}`, "a", `"value of a"`)
	in.Log = hclog.New(&hclog.LoggerOptions{Output: &buf})
	if diff := cmp.Diff(map[string]string{}, outputs(t, node.HandlerFunc(runLog), in)); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"[WARN]", "seen", "value of a"} {
		if !strings.Contains(buf.String(), text) {
			t.Errorf("log %q lacks %q", buf.String(), text)
		}
	}
	refuses(t, node.HandlerFunc(runLog), input(`{"level": "loud"}`), `"loud"`)
}

func TestFail(t *testing.T) {
	h := node.HandlerFunc(runFail)
	if _, err := h.Run(t.Context(), input(`{"message": "boom"}`)); err == nil || err.Error() != "boom" || node.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	refuses(t, h, input(`{"permanent": true}`), "on purpose")
	refuses(t, h, input(`{"times": -1}`), "times")
	in := input(`{"times": 2}`, "a", "1")
	for attempt, fails := range map[int]bool{1: true, 2: true, 3: false} {
		in.Attempt = attempt
		if _, err := h.Run(t.Context(), in); (err != nil) != fails {
			t.Errorf("attempt %d: %v", attempt, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := h.Run(ctx, input(`{"hang": "1h"}`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang gives %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("panic did not")
		}
	}()
	_, _ = h.Run(t.Context(), input(`{"panic": true}`))
}

func TestExec(t *testing.T) {
	dir := t.TempDir()
	h := &execNode{dir}
	t.Setenv("STATION_SECRET", "do not pass on")
	script := func(s string) string {
		raw, _ := json.Marshal(map[string]any{"command": []string{"/bin/sh", "-c", s}, "env": map[string]string{"MINE": "yes"}})
		return string(raw)
	}
	got := outputs(t, h, input(script(`printf '{"in": %s, "mine": "%s", "secret": "%s", "intent": "%s", "dir": "%s"}' "$(cat)" "$MINE" "$STATION_SECRET" "$STATION_INTENT_ID" "$(pwd -P)"`), "a", `[1,2]`))
	real, err := filepath.EvalSymlinks(filepath.Join(dir, "exec"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"in": `{"a":[1,2]}`, "mine": `"yes"`, "secret": `""`, "intent": `"11111111-2222-3333-4444-555555555555"`, "dir": `"` + real + `"`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// No shell reads the arguments.
	if diff := cmp.Diff(map[string]string{"a": `"$(id);` + "`id`" + `"`}, outputs(t, h, input(`{"command": ["printf", "%s", "{\"a\": \"$(id);`+"`id`"+`\"}"]}`))); diff != "" {
		t.Error(diff)
	}
	if _, err := h.Run(t.Context(), input(script(`echo oops >&2; exit 3`))); err == nil || node.IsPermanent(err) || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "oops") {
		t.Errorf("a failing program gives %v", err)
	}
	refuses(t, h, input(script(`echo hello`)), "JSON object", "hello")
	refuses(t, h, input(script(`yes`)), "longer than")
	refuses(t, h, input(`{"command": ["/no/such/program"]}`), "/no/such/program")
	refuses(t, h, input(`{"command": [], "env": {"A=B": "x"}}`), "command", "A=B")
	refuses(t, &execNode{}, input(`{"command": ["true"]}`), "data directory")
}

// The end of an attempt ends the program and its children: each holds the
// write end of a FIFO, and the reader sees the end of file only when the last
// of them is gone.
func TestExecKillsTheWholeGroup(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	h := &execNode{dir}
	outputs(t, h, input(`{"command": ["/bin/sh", "-c", "mkfifo `+fifo+`; echo {}"]}`))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := h.Run(ctx, input(`{"command": ["/bin/sh", "-c", "exec 3>`+fifo+`; sleep 1000 & sleep 1000 & echo ready >&3; wait"]}`))
		done <- err
	}()
	f, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line := make([]byte, 6)
	if _, err := f.Read(line); err != nil || string(line) != "ready\n" {
		t.Fatalf("read %q, %v", line, err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || node.IsPermanent(err) {
		t.Errorf("a cancelled program gives %v", err)
	}
	if n, err := f.Read(line); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v; want the end of file", n, err)
	}
}
