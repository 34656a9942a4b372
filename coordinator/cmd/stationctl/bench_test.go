package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradingflow/weather-station/coordinator/bench"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
)

func TestBenchRefusesWrongUse(t *testing.T) {
	empty := t.TempDir()
	for want, args := range map[string][]string{
		`workload "flood"`:    {"--only", "chain,flood"},
		"--runs is 0":         {"--runs", "0"},
		"--big is 20000":      {"--big", "20000"},
		"can't be used":       {"--self", "--cluster", empty},
		"no cluster is in it": {"--cluster", empty},
		"--plot":              {"--plot", filepath.Join(empty, "none", "x.svg")},
		"--queue":             {"--queue", "lazy"},
	} {
		s := httpapitest.New()
		got := runOn(t, s, nil, "", append([]string{"bench"}, args...)...)
		if got.code != exitUsage || !strings.Contains(got.err, want) {
			t.Errorf("%v: code %d, %q; want %q", args, got.code, got.err, want)
		}
		if calls := s.Calls(); len(calls) > 0 {
			t.Errorf("%v calls %q", args, calls)
		}
	}
}

func TestBenchTable(t *testing.T) {
	ratio := 1.234
	stat := func(v float64) *bench.Stat { return &bench.Stat{Median: v, Min: v / 2, Max: 2 * v} }
	rep := bench.Report{Runs: 5, TookMS: 61_000, Machine: bench.Machine{CPUs: 2, Load1: 0.4}, Workloads: []bench.Result{{Name: "chain", What: "100 nodes in a row",
		Measures:  []bench.Measure{{Name: "hop", Unit: "ms", Ours: stat(2.5), Floor: stat(2.05), Ratio: &ratio}, {Name: "hop p99", Unit: "ms", Ours: stat(1234.5)}},
		CPUByPart: map[string]float64{"worker": 12.6, "redis": 80}}}}
	var out bytes.Buffer
	(&app{terminal: terminal{out: &out}}).showBench(rep)
	for _, want := range []string{"WORKLOAD", "chain     hop      ms    2.50     1.25 – 5.00  2.05   1.23", "          hop p99  ms    1234     617 – 2469   -      -",
		"100 nodes in a row", "redis 80, worker 13 µs/node", "5 runs on 2 CPUs, load 0.4 before; 1m1s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestBar(t *testing.T) {
	for name, tc := range map[string]struct {
		tells bool
		want  string
	}{
		"elsewhere":     {false, "1/4 a b\n4/4 end\n"},
		"on a terminal": {true, "\r\x1b[K[" + strings.Repeat("░", 24) + "] 1/4 a b\r\x1b[K[" + strings.Repeat("█", 18) + strings.Repeat("░", 6) + "] 4/4 end\r\x1b[K"},
	} {
		var errs bytes.Buffer
		b := (&app{terminal: terminal{err: &errs, tells: tc.tells}}).bar()
		b.show(0, 4, "a\nb")
		b.show(3, 4, "end")
		b.clear()
		if errs.String() != tc.want {
			t.Errorf("%s: %q; want %q", name, errs.String(), tc.want)
		}
	}
}
