package partition_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/partition"
)

// Every version has to answer the same: a flow that another answer would move loses
// its cycles.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		flow ids.FlowID
		in   [5]int // of 1, 2, 4, 16 and 64
	}{
		{"a", [5]int{0, 1, 3, 5, 24}},
		{"b", [5]int{0, 0, 0, 8, 20}},
		{"0", [5]int{0, 0, 3, 10, 58}},
		{"-", [5]int{0, 1, 1, 1, 1}},
		{"flow-1", [5]int{0, 1, 1, 6, 58}},
		{"flow-2", [5]int{0, 1, 1, 7, 22}},
		{"flow-10", [5]int{0, 1, 1, 7, 31}},
		{"ETH_arb", [5]int{0, 1, 1, 14, 48}},
		{"btc-momentum", [5]int{0, 1, 3, 3, 52}},
	} {
		for i, count := range []int{1, 2, 4, 16, 64} {
			if got := partition.Of(c.flow, count); got != c.in[i] {
				t.Errorf("%s of %d is in %d, want %d", c.flow, count, got, c.in[i])
			}
		}
	}
}

func flowID() *rapid.Generator[ids.FlowID] {
	return rapid.Map(rapid.StringMatching(`[A-Za-z0-9_-]{1,128}`), func(s string) ids.FlowID { return ids.FlowID(s) })
}

func TestOneMorePartitionTakesAndNoOtherFlowMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, n := flowID().Draw(t, "flow"), rapid.IntRange(1, partition.Max-1).Draw(t, "count")
		before, after := partition.Of(f, n), partition.Of(f, n+1)
		if before < 0 || before >= n || after != before && after != n {
			t.Fatalf("%s is in %d of %d, in %d of %d", f, before, n, after, n+1)
		}
	})
}

func TestFlowsSpreadEvenly(t *testing.T) {
	for name, id := range map[string]func(int) string{
		"counted": func(i int) string { return fmt.Sprintf("flow-%d", i) },
		"padded":  func(i int) string { return fmt.Sprintf("btc_momentum_%06d", i) },
		"spread":  func(i int) string { return fmt.Sprintf("%x-desk-%c", i*7919, 'a'+i%26) },
	} {
		for _, count := range []int{2, 3, 4, 16, 64} {
			const each = 2000
			got := make([]int, count)
			for i := range each * count {
				got[partition.Of(ids.FlowID(id(i)), count)]++
			}
			for p, n := range got {
				if n < each*85/100 || n > each*115/100 {
					t.Errorf("%s: partition %d of %d has %d flows, want about %d", name, p, count, n, each)
				}
			}
		}
	}
}

func TestPrefix(t *testing.T) {
	for _, c := range []struct {
		prefix   string
		p, count int
		want     string
	}{{"station", 0, 1, "station"}, {"station{0}", 0, 1, "station{0}"}, {"station", 0, 2, "station{0}"}, {"station", 63, 64, "station{63}"}} {
		if got := partition.Prefix(c.prefix, c.p, c.count); got != c.want {
			t.Errorf("partition %d of %d of %s is %s, want %s", c.p, c.count, c.prefix, got, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		prefix string
		count  int
		says   string
	}{
		{"station", 1, ""}, {"station{0}", 1, ""}, {"station", partition.Max, ""},
		{"station", 0, "1 to 64"}, {"station", -1, "1 to 64"}, {"station", partition.Max + 1, "1 to 64"}, {"station{0}", 2, "leave the tag out"},
	} {
		err := partition.Check(c.prefix, c.count)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%d partitions of %s: %v", c.count, c.prefix, err)
		}
	}
}
