package main

import (
	"strings"
	"testing"

	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
)

func TestDrillRefusesWrongUse(t *testing.T) {
	empty := t.TempDir()
	for want, args := range map[string][]string{
		"leader-kill":         {"drill", "flood", "--inject", "true"},
		"--cluster":           {"drill", "leader-kill"},
		"--between names":     {"drill", "partition", "--inject", "true", "--between", "a"},
		"scripts/cluster up":  {"drill", "worker-pause", "--dev", "127.0.0.1:1"},
		"--faults HOST:PORT":  {"drill", "leader-kill", "--dev", "127.0.0.1:1"},
		"can't be used":       {"drill", "leader-kill", "--cluster", empty, "--inject", "true"},
		"--heal goes with":    {"drill", "leader-kill", "--cluster", empty, "--heal", "true"},
		"no cluster is in it": {"drill", "leader-kill", "--cluster", empty, "--script", file(t, "cluster", "")},
		"interval 1ms":        {"drill", "leader-kill", "--inject", "true", "--interval", "1ms"},
		"0 rounds":            {"drill", "leader-kill", "--inject", "true", "--repeat", "0"},
	} {
		s := httpapitest.New()
		got := runOn(t, s, nil, "", args...)
		if got.code != exitUsage || !strings.Contains(got.err, want) {
			t.Errorf("%v: code %d, %q; want %q", args, got.code, got.err, want)
		}
		if calls := s.Calls(); len(calls) > 0 {
			t.Errorf("%v calls %q", args, calls)
		}
	}
}
