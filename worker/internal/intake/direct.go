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

// mostWished bounds how many successors a report names, and mostGranted how many it may get, less those of
// its line that wait for a place: what is beyond goes to the queue, and so to workers that have one.
const (
	mostWished  = 8
	mostGranted = 4
)

// While all places are taken a line of direct hops may go on with any node when it has had its place for no
// longer than turn, and with brief ones until longTurn: less than a message waits here for a place (haste).
const (
	turn     = 30 * time.Millisecond
	longTurn = 60 * time.Millisecond
)

// wish names the successors of a node that would be welcome here, once its report is in.
// None is when nothing new is to begin, when as many of its line wait for a place as may, or when all places are
// taken, this node came directly itself and its line has had its turn. More than one at a time is when all are brief.
func (s *server) wish(g *granted, r attempt.Report) (q ledger.Next) {
	q = ledger.Next{Worker: s.Worker, Lease: s.Lease} // also of a report that asks for none: what is alike goes together
	room := mostGranted - g.line.waits()
	if s.QueueOnly || r.Status != task.Succeeded || s.taking.Err() != nil || room <= 0 {
		return q
	}
	busy, had := !s.crew.idle(), time.Duration(0)
	if busy && g.direct {
		if had = time.Since(g.since); had > longTurn {
			return q
		}
	}
	edge, brief := 0, true
	for i := range g.Node.Successors {
		n := &g.Node.Successors[i]
		first := edge
		edge += len(n.Edges)
		if n.Direct == "" || busy && !likely(n) || !live(r.Decided, first, edge) || s.Registry.Lookup(n.Direct) == nil {
			continue
		}
		is := s.brief.is(n.Direct)
		if had > turn && !is {
			continue
		}
		if q.Nodes == nil {
			q.Token, q.Nodes = uuid.New(), make([]ids.NodeID, 0, min(mostWished, len(g.Node.Successors)))
		}
		brief = brief && is
		if q.Nodes = append(q.Nodes, n.Target); len(q.Nodes) == mostWished {
			break
		}
	}
	if len(q.Nodes) > 1 && brief {
		q.Most = room
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
