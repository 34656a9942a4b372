package flow

import "github.com/tradingflow/weather-station/shared/ids"

// arc is an edge between nodes by number.
type arc struct{ from, to int32 }

// graph is the shape of a flow. All its algorithms are iterative and take time
// in proportion to nodes and edges.
type graph struct {
	arcs       []arc
	outStart   []int32 // outgoing arcs of node i are outArcs[outStart[i]:outStart[i+1]]
	outArcs    []int32 // numbers of arcs, in the document's order per node
	inDegree   []int32
	component  []int32 // by first node in the document
	components int
	level      []int32 // 1 for an entry node; 0 on a ring and behind one
}

func newGraph(nodes int, arcs []arc) graph {
	g := graph{arcs: arcs, outStart: make([]int32, nodes+1), outArcs: make([]int32, len(arcs)), inDegree: make([]int32, nodes)}
	for _, a := range arcs {
		g.outStart[a.from+1]++
		g.inDegree[a.to]++
	}
	for i := range nodes {
		g.outStart[i+1] += g.outStart[i]
	}
	next := make([]int32, nodes)
	copy(next, g.outStart)
	for i, a := range arcs {
		g.outArcs[next[a.from]] = int32(i)
		next[a.from]++
	}
	g.findComponents(nodes)
	g.findLevels(nodes)
	return g
}

// outgoing returns the numbers of the arcs that leave a node.
func (g *graph) outgoing(node int32) []int32 {
	return g.outArcs[g.outStart[node]:g.outStart[node+1]]
}

// findComponents numbers the weakly connected components.
func (g *graph) findComponents(nodes int) {
	parent := make([]int32, nodes)
	for i := range parent {
		parent[i] = int32(i)
	}
	root := func(i int32) int32 {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	for _, a := range g.arcs {
		// The smaller number stays the root: the first node in the document.
		from, to := root(a.from), root(a.to)
		parent[max(from, to)] = min(from, to)
	}
	g.component = make([]int32, nodes)
	for i := range parent {
		if r := root(int32(i)); r == int32(i) {
			g.component[i] = int32(g.components)
			g.components++
		} else {
			g.component[i] = g.component[r]
		}
	}
}

// findLevels gives each node one level more than its deepest predecessor.
func (g *graph) findLevels(nodes int) {
	g.level = make([]int32, nodes)
	open := make([]int32, nodes) // predecessors without a level, by edge
	copy(open, g.inDegree)
	depth := make([]int32, nodes)
	queue := make([]int32, 0, nodes)
	for i, d := range open {
		if d == 0 {
			queue = append(queue, int32(i))
		}
	}
	for head := 0; head < len(queue); head++ {
		n := queue[head]
		g.level[n] = depth[n] + 1
		for _, e := range g.outgoing(n) {
			to := g.arcs[e].to
			depth[to] = max(depth[to], g.level[n])
			if open[to]--; open[to] == 0 {
				queue = append(queue, to)
			}
		}
	}
}

func (g *graph) structure(nodes []Node) Structure {
	s := Structure{Components: make([][]ids.NodeID, g.components), Entries: []ids.NodeID{}, Sinks: []ids.NodeID{}}
	for i := range nodes {
		c, id := g.component[i], nodes[i].ID
		s.Components[c] = append(s.Components[c], id)
		if g.inDegree[i] == 0 {
			s.Entries = append(s.Entries, id)
		}
		if len(g.outgoing(int32(i))) == 0 {
			s.Sinks = append(s.Sinks, id)
		}
		for len(s.Levels) < int(g.level[i]) {
			s.Levels = append(s.Levels, 0)
		}
		s.Levels[g.level[i]-1]++
	}
	return s
}

// rings returns one ring of every group of nodes that wait for each other: the
// shortest through the group's first node in the document, beginning there.
// Edges from a node to itself are left to the caller.
func (g *graph) rings() [][]int32 {
	var out [][]int32
	group := g.stronglyConnected()
	size := make([]int32, len(g.level))
	for _, c := range group {
		size[c]++
	}
	done := make([]bool, len(g.level))
	cameFrom := make([]int32, len(g.level))
	for i := range cameFrom {
		cameFrom[i] = -1
	}
	for i, c := range group {
		if size[c] < 2 || done[c] {
			continue
		}
		done[c] = true
		out = append(out, g.ringThrough(int32(i), group, cameFrom))
	}
	return out
}

// ringThrough searches breadth first within the group of start for the way
// back to start. cameFrom holds -1 for every node of the group.
func (g *graph) ringThrough(start int32, group, cameFrom []int32) []int32 {
	queue := []int32{start}
	for head := 0; head < len(queue); head++ {
		n := queue[head]
		for _, e := range g.outgoing(n) {
			to := g.arcs[e].to
			switch {
			case to == n || group[to] != group[start]:
			case to == start:
				ring := []int32{}
				for at := n; at != start; at = cameFrom[at] {
					ring = append(ring, at)
				}
				ring = append(ring, start)
				for i, j := 0, len(ring)-1; i < j; i, j = i+1, j-1 {
					ring[i], ring[j] = ring[j], ring[i]
				}
				return ring
			case cameFrom[to] < 0:
				cameFrom[to] = n
				queue = append(queue, to)
			}
		}
	}
	return nil
}

// stronglyConnected numbers the groups of nodes that reach each other: Tarjan's
// algorithm with its own stack.
func (g *graph) stronglyConnected() []int32 {
	n := len(g.level)
	group, order, low := make([]int32, n), make([]int32, n), make([]int32, n)
	next := make([]int32, n) // the outgoing arc to look at next
	var stack, path []int32
	var clock, groups int32
	for i := range group {
		group[i] = -1
	}
	for i := range int32(n) {
		// Nodes with a level lie on no ring; each keeps a group of its own.
		if g.level[i] > 0 {
			group[i] = groups
			groups++
		}
	}
	for root := range int32(n) {
		if group[root] >= 0 {
			continue
		}
		path = append(path[:0], root)
		for len(path) > 0 {
			at := path[len(path)-1]
			if order[at] == 0 {
				clock++
				order[at], low[at] = clock, clock
				stack = append(stack, at)
			}
			arcs := g.outgoing(at)
			deeper := false
			for ; int(next[at]) < len(arcs) && !deeper; next[at]++ {
				to := g.arcs[arcs[next[at]]].to
				switch {
				case order[to] == 0:
					path = append(path, to)
					deeper = true
				case group[to] < 0:
					low[at] = min(low[at], order[to])
				}
			}
			if deeper {
				continue
			}
			path = path[:len(path)-1]
			if len(path) > 0 {
				up := path[len(path)-1]
				low[up] = min(low[up], low[at])
			}
			if low[at] != order[at] {
				continue
			}
			for {
				top := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				group[top] = groups
				if top == at {
					break
				}
			}
			groups++
		}
	}
	return group
}
