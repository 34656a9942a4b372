package ledger_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/partition"
)

func openSet(t *testing.T, m *miniredis.Miniredis, partitions int) *ledger.Set {
	t.Helper()
	s, err := ledger.OpenSet(t.Context(), ledger.Config{URL: "redis://" + m.Addr()}, partitions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func prefixes(s *ledger.Set) []string {
	var out []string
	for _, l := range s.All() {
		out = append(out, l.Prefix())
	}
	return out
}

func TestASetOfOneIsTheLedgerAsItWas(t *testing.T) {
	m := miniredis.RunT(t)
	for name, s := range map[string]*ledger.Set{"one": openSet(t, m, 1), "as told": openSet(t, m, 0)} {
		if diff := cmp.Diff([]string{"station"}, prefixes(s)); diff != "" {
			t.Errorf("%s: prefixes (-want +got):\n%s", name, diff)
		}
		if err := s.Tell(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Learn(t.Context()); err != nil || s.Count() != 1 || s.Of("any") != s.All()[0] {
			t.Errorf("%s: learnt %d partitions, %v", name, s.Count(), err)
		}
	}
	if keys := m.Keys(); len(keys) != 0 {
		t.Errorf("keys %q", keys)
	}
}

func TestASetKeepsPartitionsApart(t *testing.T) {
	m := miniredis.RunT(t)
	s := openSet(t, m, 4)
	if diff := cmp.Diff([]string{"station{0}", "station{1}", "station{2}", "station{3}"}, prefixes(s)); diff != "" {
		t.Fatalf("prefixes (-want +got):\n%s", diff)
	}
	for p, l := range s.All() {
		if _, err := l.Takeover(t.Context(), ids.Epoch(10+p)); err != nil {
			t.Fatal(err)
		}
	}
	for p, l := range s.All() { // an epoch fences in its own partition alone
		if _, err := l.Takeover(t.Context(), ids.Epoch(9+p)); !ledger.Fenced(err) {
			t.Errorf("partition %d takes a lower epoch: %v", p, err)
		}
		if n := l.Refused(); len(n) != 1 {
			t.Errorf("partition %d counts %v", p, n)
		}
	}
	for _, f := range []ids.FlowID{"a", "b", "flow-1", "0"} {
		if p := partition.Of(f, 4); s.Of(f) != s.All()[p] || s.Partition(f) != p {
			t.Errorf("flow %s is not in partition %d", f, p)
		}
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestASetLearnsHowManyThereAre(t *testing.T) {
	m := miniredis.RunT(t)
	worker := openSet(t, m, 0)
	before := worker.All()[0]
	if err := openSet(t, m, 4).Tell(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := worker.Learn(t.Context()); err != nil || worker.Count() != 4 {
		t.Fatalf("learnt %d, %v", worker.Count(), err)
	}
	if later := openSet(t, m, 0); later.Count() != 4 {
		t.Errorf("one that starts later knows %d", later.Count())
	}
	heed := func(partitions int, counts bool, known int) {
		t.Helper()
		got, err := worker.Heed(t.Context(), partitions)
		if err != nil || got != counts || worker.Count() != known {
			t.Errorf("a task of %d partitions counts: %t, %v; known are %d", partitions, got, err, worker.Count())
		}
	}
	heed(4, true, 4)
	heed(1, false, 4) // from before the change
	m.FlushAll()      // the number is told again by and by; until then it is known
	if err := worker.Learn(t.Context()); err != nil || worker.Count() != 4 {
		t.Errorf("after a loss of redis: %d, %v", worker.Count(), err)
	}
	heed(2, true, 2)
	if _, err := before.Takeover(t.Context(), 1); err != nil {
		t.Errorf("a ledger from before: %v", err)
	}
	for _, bad := range []string{"0", "x", "65"} {
		if err := m.Set("station:partitions", bad); err != nil {
			t.Fatal(err)
		}
		if err := worker.Learn(t.Context()); err == nil || !strings.Contains(err.Error(), "station:partitions") || worker.Count() != 2 {
			t.Errorf("told %q: %d, %v", bad, worker.Count(), err)
		}
	}
	if _, err := worker.Heed(t.Context(), 65); err == nil || worker.Count() != 2 {
		t.Errorf("a task said 65: %d, %v", worker.Count(), err)
	}
	if err := openSet(t, m, 1).Tell(t.Context()); err != nil || m.Exists("station:partitions") {
		t.Errorf("one partition leaves the number of others: %v", err)
	}
}

func TestASetRefusesAnotherSchemaInAnyPartition(t *testing.T) {
	m := miniredis.RunT(t)
	if err := m.Set("station{2}:schema", "999"); err != nil {
		t.Fatal(err)
	}
	_, err := ledger.OpenSet(t.Context(), ledger.Config{URL: "redis://" + m.Addr()}, 4)
	if !errors.Is(err, ledger.ErrSchema) || !strings.Contains(err.Error(), "partition 2") {
		t.Errorf("got %v", err)
	}
	s := openSet(t, m, 0)
	if _, err := s.Heed(t.Context(), 4); !errors.Is(err, ledger.ErrSchema) || s.Count() != 1 {
		t.Errorf("adopted %d, %v", s.Count(), err)
	}
}

func TestASetThatIsRefused(t *testing.T) {
	m := miniredis.RunT(t)
	for name, c := range map[string]struct {
		cfg  ledger.Config
		n    int
		says string
	}{
		"too many":       {ledger.Config{URL: "redis://" + m.Addr()}, 65, "1 to 64"},
		"tag in prefix":  {ledger.Config{URL: "redis://" + m.Addr(), Prefix: "station{0}"}, 2, "leave the tag out"},
		"cluster of one": {ledger.Config{URL: "redis+cluster://" + m.Addr()}, 1, "hash tag"},
	} {
		if _, err := ledger.OpenSet(t.Context(), c.cfg, c.n); err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, ledger.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	addr := m.Addr()
	m.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	if _, err := ledger.WaitSet(ctx, ledger.Config{URL: "redis://" + addr}, 4, hclog.NewNullLogger()); err == nil {
		t.Error("opened without redis")
	}
}
