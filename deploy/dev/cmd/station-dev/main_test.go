package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// screen collects what is written and calls on when a text has come.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	on   func()
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if s.on != nil && strings.Contains(s.text.String(), s.want) {
		s.on()
	}
	return len(p), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestTellsOfCyclesOrdersAndItsEnd(t *testing.T) {
	dir, flows := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"writes.yaml": "flow_id: writes\nschedule_type: periodic\ninterval_seconds: 1\nnodes:\n" +
			"  - {id: make, type: transform, parameters: {output: order, expression: '{\"n\": cycle}'}}\n" +
			"  - {id: write, type: dataset_output, parameters: {path: orders.jsonl, mode: append}}\n" +
			"edges: [{source: make, source_handle: order, target: write, target_handle: data}]\n",
		"bad.yaml": "flow_id: bad\nnodes: 3\n",
	} {
		if err := os.WriteFile(filepath.Join(flows, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "orders.jsonl"), []byte("{\"an order\":\"of before\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	out, errs := &screen{want: "cycle 2 ", on: cancel}, &screen{}
	code := run(ctx, []string{"--http-addr=127.0.0.1:0", "--data-dir=" + dir, "--flows=" + flows, "--faults=127.0.0.1:0", "--pprof=127.0.0.1:0"}, out, errs)
	if code != 0 || errs.String() != "" {
		t.Errorf("exit code %d, %s", code, errs)
	}
	for _, want := range []string{"API     http://127.0.0.1:", "data    " + dir, "flows   writes\n", "faults  http://127.0.0.1:", "pprof   http://127.0.0.1:", "drill leader-kill --dev http://127.0.0.1:", "only the flows survive", "refused flows:\nbad.yaml:\n",
		"writes           cycle 1     completed", "2 nodes: 2 succeeded", `order  {"cycle":1,"flow":"writes","n":1,`, "stopped after "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not told", want)
		}
	}
	if strings.Contains(out.String(), "of before") {
		t.Error("an order of an earlier run is told")
	}
	if t.Failed() {
		t.Log(out)
	}
	if _, err := os.Stat(filepath.Join(dir, "btcusd-monthly.csv")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".etcd")); err != nil {
		t.Error(err)
	}
}

func TestWrongSettingsAreToldAtOnce(t *testing.T) {
	for _, args := range [][]string{{"--nonsense"}, {"--flows=" + t.TempDir()}, {"--workers=x"}, {"--faults=0.0.0.0:0"}, {"--faults=192.0.2.1:7009"}, {"--faults=:7009"}, {"--faults=7009"}, {"--pprof=0.0.0.0:0"}, {"--pprof=7009"}} {
		errs := &screen{}
		if code := run(t.Context(), args, &screen{}, errs); code != process.ExitUsage || !strings.HasPrefix(errs.String(), "station-dev: ") {
			t.Errorf("%v: exit code %d, %s", args, code, errs)
		}
	}
}

func TestTailGivesWholeLinesOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "orders-a.jsonl")
	tl, err := newTail(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ text, want string }{
		{"{1}\n{2", "{1}"}, {"{1}\n{2", ""}, {"{1}\n{2}\n{3}\n", "{2}{3}"}, {"{4}\n", "{4}"}, // the last began the file anew
	} {
		if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := string(bytes.Join(tl.more(), nil)); got != step.want {
			t.Errorf("after %q: %q, want %q", step.text, got, step.want)
		}
	}
}
