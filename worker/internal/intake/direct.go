package intake

import (
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
)

// mostWished bounds how many successors a report names: one is granted at most.
const mostWished = 8

// turn is how long a line of direct hops may have had its place to go on while all are taken.
const turn = 30 * time.Millisecond

// wish names the successors of a node that would be welcome here, once its report is in.
// None is when nothing new is to begin, or when all places are taken, this node came
// directly itself and its line has had its turn.
func (s *server) wish(g *granted, r attempt.Report) (q ledger.Next) {
	q = ledger.Next{Worker: s.Worker, Lease: s.Lease} // also of a report that asks for none: what is alike goes together
	busy := !s.crew.idle()
	if s.QueueOnly || r.Status != task.Succeeded || s.taking.Err() != nil || busy && g.direct && time.Since(g.since) > turn {
		return q
	}
	edge := 0
	for i := range g.Node.Successors {
		n := &g.Node.Successors[i]
		first := edge
		edge += len(n.Edges)
		if n.Direct == "" || busy && !likely(n) || !live(r.Decided, first, edge) || s.Registry.Lookup(n.Direct) == nil {
			continue
		}
		if q.Nodes == nil {
			q.Token, q.Nodes = uuid.New(), make([]ids.NodeID, 0, min(mostWished, len(g.Node.Successors)))
		}
		if q.Nodes = append(q.Nodes, n.Target); len(q.Nodes) == mostWished {
			break
		}
	}
	return q
}

// likely tells whether at least every other node before n lets it go. A place is kept for
// the answer to a wish, so where places are short the thousand nodes before a join don't
// each ask for it.
func likely(n *plan.Successor) bool { return n.InDegree <= 2*len(n.Edges) }

// live tells whether all edges from one index up to another carry something: else the
// successor does not become ready by them.
func live(decided ledger.Decided, from, to int) bool {
	for i := from; i < to; i++ {
		if decided != nil && decided(i) != ledger.Live {
			return false
		}
	}
	return true
}
