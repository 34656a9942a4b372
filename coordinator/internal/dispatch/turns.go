package dispatch

import (
	"slices"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// node is a ready node that can be offered.
type node struct {
	entry ledger.Entry
	kind  string // its type
}

// turns are the nodes of one pool that are held back, by flow.
type turns struct {
	lines map[ids.FlowID]*line
	first []*line // those of flows that had no turn yet, or whose turn it is before others'
	round []*line // all others, those that had their turn last at the end
	count int     // nodes
}

type line struct {
	flow  ids.FlowID
	nodes []node
}

// add puts a node at the end of its flow's line.
func (t *turns) add(n node) {
	l := t.lines[n.entry.Flow]
	if l == nil {
		if t.lines == nil {
			t.lines = map[ids.FlowID]*line{}
		}
		l = &line{flow: n.entry.Flow}
		t.lines[l.flow] = l
		t.first = append(t.first, l)
	}
	l.nodes = append(l.nodes, n)
	t.count++
}

// few is how many nodes a flow may have here that need not wait for the window.
const few = 4

// urgent reports whether a flow is here that had no turn yet, or only few nodes; it has the
// next turn then.
func (t *turns) urgent() bool {
	if len(t.first) > 0 {
		return true
	}
	i := slices.IndexFunc(t.round, func(l *line) bool { return len(l.nodes) > 0 && len(l.nodes) <= few })
	if i < 0 {
		return false
	}
	t.first = append(t.first, t.round[i])
	t.round = slices.Delete(t.round, i, i+1)
	return true
}

// next takes the node whose turn it is; there must be one. A line that is empty by that
// stays until it would have its turn again: what comes to it before is not a new flow's.
func (t *turns) next() node {
	for {
		from := &t.round
		if len(t.first) > 0 {
			from = &t.first
		}
		l := (*from)[0]
		*from = (*from)[1:]
		if len(l.nodes) == 0 {
			delete(t.lines, l.flow)
			continue
		}
		n := l.nodes[0]
		l.nodes = l.nodes[1:]
		t.round = append(t.round, l)
		if t.count--; t.count == 0 {
			*t = turns{}
		}
		return n
	}
}

// take takes the next count nodes, or all.
func (t *turns) take(count int) []node {
	nodes := make([]node, 0, min(count, t.count))
	for len(nodes) < cap(nodes) {
		nodes = append(nodes, t.next())
	}
	return nodes
}
