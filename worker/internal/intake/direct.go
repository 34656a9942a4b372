package intake

import (
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/hop"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
)

// mostWished bounds how many successors a report names: one is granted at most.
const mostWished = 8

// wish names the successors of a node that would be welcome here, once its report is in.
// None is when nothing new is to begin, or when all places are taken and this node came
// directly itself.
func (s *server) wish(g *granted, r attempt.Report) (q ledger.Next) {
	if s.QueueOnly || r.Status != task.Succeeded || s.taking.Err() != nil || g.direct && !s.crew.idle() {
		return q
	}
	for i := range g.Node.Successors {
		n := &g.Node.Successors[i]
		if n.Direct == "" || s.Registry.Lookup(n.Direct) == nil {
			continue
		}
		if q.Nodes == nil {
			q = ledger.Next{Token: uuid.New(), Worker: s.Worker, Lease: s.Lease, Nodes: make([]ids.NodeID, 0, min(mostWished, len(g.Node.Successors)))}
		}
		if q.Nodes = append(q.Nodes, n.Target); len(q.Nodes) == mostWished {
			break
		}
	}
	return q
}

// goOn runs a task that was claimed with the report of its predecessor, asked for at sent,
// at that one's place.
func (s *server) goOn(c *ledger.Claim, sent time.Time) {
	hop.Pass(hop.Claimed, c.Attempt)
	s.tasks.Add(1)
	s.hands.Go(func() {
		defer s.tasks.Done()
		s.run(nil, &granted{Claim: *c, handler: s.Registry.Lookup(c.Node.Type), sent: sent, direct: true})
	})
}
