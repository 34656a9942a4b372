package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/election"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

// records is a cycle with the states of its nodes, from live records or from
// the archive.
type records struct {
	cycle   ledger.CycleState
	plan    *plan.Plan // nil when the ledger has it no more
	states  []ledger.NodeState
	archive *ledger.Archive
}

func (c *Control) records(ctx context.Context, id ids.FlowID, n int64) (records, error) {
	var r records
	if _, err := c.get(ctx, id); err != nil {
		return r, err
	}
	var err error
	if r.cycle, err = c.of(id).Ledger.Cycle(ctx, id, n); err != nil {
		return r, translate(err, cycleName(id, n))
	}
	r.plan, err = c.of(id).Plans.Of(ctx, r.cycle)
	if err != nil && !errors.Is(err, ledger.ErrGone) {
		return r, translate(err, cycleName(id, n))
	}
	if r.cycle.Archived || r.cycle.Archiving {
		a, err := c.of(id).Ledger.ReadArchive(ctx, id, n)
		if err != nil {
			return r, translate(err, cycleName(id, n))
		}
		r.archive, r.states = &a, a.Nodes
		return r, nil
	}
	if r.plan == nil {
		return r, fmt.Errorf("plan of cycle %d of flow %s is missing", n, id)
	}
	r.states, err = c.of(id).Ledger.Nodes(ctx, id, n, order(r.plan))
	return r, translate(err, cycleName(id, n))
}

func order(p *plan.Plan) []ids.NodeID {
	out := make([]ids.NodeID, len(p.Nodes))
	for i := range p.Nodes {
		out[i] = p.Nodes[i].ID
	}
	return out
}

// GetCycle returns a cycle with its nodes.
func (c *Control) GetCycle(ctx context.Context, id ids.FlowID, n int64) (api.Cycle, error) {
	r, err := c.records(ctx, id, n)
	if err != nil {
		return api.Cycle{}, err
	}
	now, err := c.of(id).Ledger.Now(ctx)
	if err != nil {
		return api.Cycle{}, translate(err, cycleName(id, n))
	}
	out := api.Cycle{CycleSummary: cycleSummary(r.cycle, now), Nodes: make([]api.Node, len(r.states))}
	why, err := c.reasons(ctx, r)
	if err != nil {
		return api.Cycle{}, err
	}
	for i, s := range r.states {
		out.Nodes[i] = r.node(s, why)
	}
	return out, nil
}

// GetNode returns one node with its inputs and outputs.
func (c *Control) GetNode(ctx context.Context, id ids.FlowID, n int64, node ids.NodeID) (api.Node, error) {
	r, err := c.records(ctx, id, n)
	if err != nil {
		return api.Node{}, err
	}
	i := slices.IndexFunc(r.states, func(s ledger.NodeState) bool { return s.Node == node })
	if i < 0 {
		return api.Node{}, &httpapi.NotFound{What: fmt.Sprintf("node %q in %s", string(node), cycleName(id, n))}
	}
	why, err := c.reasons(ctx, r)
	if err != nil {
		return api.Node{}, err
	}
	out := r.node(r.states[i], why)
	values, err := c.values(ctx, r, r.states[i])
	if err != nil {
		return api.Node{}, translate(err, cycleName(id, n))
	}
	out.Outputs = outputs(node, values, r.states[i].Handles)
	if r.plan != nil && r.plan.Node(node) != nil {
		out.Inputs = plan.Gather(r.plan.Node(node), func(in plan.Input) json.RawMessage {
			return values[string(in.Source)+":"+in.SourceHandle]
		})
	}
	return out, nil
}

// values reads the outputs of a node and of its sources.
func (c *Control) values(ctx context.Context, r records, s ledger.NodeState) (map[string]json.RawMessage, error) {
	if r.archive != nil {
		return r.archive.Outputs, nil
	}
	var names []string
	for _, h := range s.Handles {
		names = append(names, string(s.Node)+":"+h)
	}
	if n := r.plan.Node(s.Node); n != nil && s.Status != task.Waiting {
		for _, in := range n.Inputs {
			names = append(names, string(in.Source)+":"+in.SourceHandle)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	found, err := c.of(r.cycle.Flow).Ledger.Outputs(ctx, r.cycle.Flow, r.cycle.Cycle, names)
	if err != nil {
		return nil, err
	}
	out := make(map[string]json.RawMessage, len(names))
	for i, v := range found {
		if v != nil {
			out[names[i]] = v
		}
	}
	return out, nil
}

func (r records) node(s ledger.NodeState, why func(ledger.NodeState, *plan.Node) *api.Blocker) api.Node {
	out := api.Node{
		NodeID: string(s.Node), Status: string(s.Status), StartedAt: api.At(s.StartedAt), CompletedAt: api.At(s.CompletedAt),
		Error: s.Error, ErrorClass: s.ErrorClass, Attempt: s.Attempt, RetryCount: s.Retries, Lost: s.Lost, Worker: s.Worker,
		IntentID: ids.IntentID(r.cycle.Occasion, s.Node).String(),
	}
	if out.Error == "" && s.Status == task.Stopped {
		out.Error = s.Reason
	}
	if r.plan != nil {
		if n := r.plan.Node(s.Node); n != nil {
			out.Type, out.Pool, out.Component, out.Level = n.Type, n.Pool, n.Component, n.Level
			out.Blocker = why(s, n)
		}
	}
	return out
}

// reasons returns the function that names what a node waits for.
func (c *Control) reasons(ctx context.Context, r records) (func(ledger.NodeState, *plan.Node) *api.Blocker, error) {
	if r.cycle.Ended() {
		return func(ledger.NodeState, *plan.Node) *api.Blocker { return nil }, nil
	}
	workers, err := c.workers(ctx)
	if err != nil {
		return nil, translate(err, "workers")
	}
	_, err = c.of(r.cycle.Flow).Election.Leader(ctx)
	leaderless := errors.Is(err, election.ErrNoLeader)
	status := make(map[ids.NodeID]task.Status, len(r.states))
	for _, s := range r.states {
		status[s.Node] = s.Status
	}
	return func(s ledger.NodeState, n *plan.Node) *api.Blocker {
		if s.Status == task.Running {
			return waiting(s)
		}
		if s.Status.Final() {
			return nil
		}
		if leaderless && s.Status != task.Dispatched {
			return &api.Blocker{Code: "no_leader", Detail: "no coordinator leads at the moment"}
		}
		return blocker(s, n, status, workers)
	}, nil
}

// waiting names what a claimed node waits for before it is started, or revoked.
func waiting(s ledger.NodeState) *api.Blocker {
	switch s.Blocker {
	case ledger.BlockedByOnceKey:
		return &api.Blocker{Code: s.Blocker, Detail: fmt.Sprintf("worker %s gets no answer from a coordinator, or that none from etcd, whether it may start this at_most_once node; it asks on", s.Worker)}
	case ledger.BlockedByEtcd:
		return &api.Blocker{Code: s.Blocker, Detail: fmt.Sprintf("worker %s is lost; whether it started this at_most_once node stands in etcd, which does not answer", s.Worker)}
	}
	return nil
}

func blocker(s ledger.NodeState, n *plan.Node, status map[ids.NodeID]task.Status, workers []ledger.Worker) *api.Blocker {
	switch {
	case s.Blocker == "paused":
		return &api.Blocker{Code: "paused", Detail: "the flow is paused"}
	case s.Blocker == "no_worker":
		return &api.Blocker{Code: "no_worker", Detail: fmt.Sprintf("no live worker of pool %q carries node type %q", n.Pool, n.Type)}
	case s.Blocker == "declined":
		return &api.Blocker{Code: "declined", Detail: fmt.Sprintf("a worker of pool %q does not carry node type %q; it is offered to another", n.Pool, n.Type)}
	}
	switch s.Status {
	case task.Waiting:
		var open []string
		for _, in := range n.Inputs {
			if !status[in.Source].Final() && !slices.Contains(open, string(in.Source)) {
				open = append(open, string(in.Source))
			}
		}
		more := ""
		if len(open) > 5 {
			open, more = open[:5], ", …"
		}
		return &api.Blocker{Code: "inputs", Detail: "waits for " + strings.Join(open, ", ") + more}
	case task.Retrying:
		return &api.Blocker{Code: "retry_timer", Detail: "is tried again at " + s.Due.UTC().Format(time.RFC3339Nano)}
	case task.Dispatched:
		if !slices.ContainsFunc(workers, func(w ledger.Worker) bool { return w.Pool == n.Pool && !w.Draining }) {
			return &api.Blocker{Code: "no_worker", Detail: fmt.Sprintf("no live worker of pool %q", n.Pool)}
		}
		return &api.Blocker{Code: "queued", Detail: fmt.Sprintf("its task is in the queue of pool %q", n.Pool)}
	default:
		return &api.Blocker{Code: "offer", Detail: "is about to be offered to its pool"}
	}
}
