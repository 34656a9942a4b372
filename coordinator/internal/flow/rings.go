package flow

import (
	"fmt"
	"strings"
)

// shownNodes is how many node ids a message about the graph lists.
const shownNodes = 20

// checkRings records what keeps a graph from running to its end. names are the
// nodes' ids as written, places the number of each arc in the document.
func (r *reader) checkRings(g *graph, names []string, places []int, prefix string) {
	for i, a := range g.arcs {
		if a.from == a.to {
			r.faults.add(CodeCycle, place{path: prefix + "edges", index: places[i]}.String(),
				"the node %q waits for itself: %s -> %s", clip(names[a.from]), clip(names[a.from]), clip(names[a.to]))
		}
	}
	for _, ring := range g.rings() {
		r.faults.add(CodeCycle, prefix+"edges", "nodes wait for each other in a ring: %s", drawRing(ring, names))
	}
	r.checkEntries(g, names, prefix)
}

// checkEntries records components of several nodes in which none can begin.
func (r *reader) checkEntries(g *graph, names []string, prefix string) {
	incoming := make([]bool, len(names))
	for _, a := range g.arcs {
		if a.from != a.to {
			incoming[a.to] = true
		}
	}
	begins := make([]bool, g.components)
	for i, in := range incoming {
		if !in {
			begins[g.component[i]] = true
		}
	}
	size := make([]int, g.components)
	shown := make([][]string, g.components)
	for i := range names {
		c := g.component[i]
		if size[c]++; !begins[c] && size[c] <= shownNodes {
			shown[c] = append(shown[c], clip(names[i]))
		}
	}
	for c, ok := range begins {
		if !ok {
			r.faults.add(CodeNoEntryNode, prefix+"nodes", "no node can begin among the %d of this component, each waits for another: %s",
				size[c], strings.Join(shown[c], ", "))
		}
	}
}

// drawRing writes a ring with its first node repeated at the end.
func drawRing(ring []int32, names []string) string {
	var parts []string
	for i, n := range ring {
		if i == shownNodes-1 && len(ring) > shownNodes {
			parts = append(parts, fmt.Sprintf("… %d more …", len(ring)-i-1), clip(names[ring[len(ring)-1]]))
			break
		}
		parts = append(parts, clip(names[n]))
	}
	return strings.Join(append(parts, clip(names[ring[0]])), " -> ")
}
