package ledger

import (
	"strconv"
	"strings"

	"github.com/tradingflow/weather-station/shared/plan"
)

// Result is what became of one edge when its source ended.
type Result int

// Results of an edge.
const (
	Live         Result = iota // its value goes on
	Dead                       // its handle was not emitted, its condition is false, or its source was skipped
	FailedSource               // its source failed, or was skipped because of a failure
)

// Decided gives each out-edge's result, by the index that counts the edges of
// all successors in their order.
type Decided func(index int) Result

// AllEdges is the Decided of a node whose out-edges share one result.
func AllEdges(r Result) Decided { return func(int) Result { return r } }

// DeadEdges is the Decided of a node that ended well but for these edges. It
// reads the text that Complete stores.
func DeadEdges(list string) Decided {
	dead := map[int]bool{}
	for s := range strings.SplitSeq(list, ",") {
		if i, err := strconv.Atoi(s); err == nil {
			dead[i] = true
		}
	}
	return func(i int) Result {
		if dead[i] {
			return Dead
		}
		return Live
	}
}

// successorArgs flattens successors [from, to) of n into the groups of six that
// the scripts count by.
func successorArgs(args []any, n *plan.Node, from, to int, decided Decided) []any {
	index := 0
	for i := range n.Successors[:to] {
		s := &n.Successors[i]
		if i < from {
			index += len(s.Edges)
			continue
		}
		var sum [3]int
		for range s.Edges {
			sum[decided(index)]++
			index++
		}
		plain := 0
		if s.Plain {
			plain = 1
		}
		args = append(args, string(s.Target), s.InDegree, plain, sum[Live], sum[Dead], sum[FailedSource])
	}
	return args
}
