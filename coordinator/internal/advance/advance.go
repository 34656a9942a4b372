// Package advance carries out what the outbox asks of the leader besides offers:
// it decides joins, counts the edges of wide fan-outs in parts, ends components
// and cycles, and passes on what others wait to hear: an ended cycle, a failure,
// a timer, a suspect. Each entry is removed by the script that acts on it, or
// after the act, so a leader that dies in between leaves it to the next one, and
// every act may be repeated.
package advance

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/coordinator/internal/progress"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Ledger is what advancing reads and writes.
type Ledger interface {
	CyclesOf(ctx context.Context, of []ids.Attempt) ([]ledger.CycleState, error)
	Cycle(ctx context.Context, f ids.FlowID, n int64) (ledger.CycleState, error)
	Nodes(ctx context.Context, f ids.FlowID, n int64, nodes []ids.NodeID) ([]ledger.NodeState, error)
	JoinOf(ctx context.Context, f ids.FlowID, n int64, node ids.NodeID) (live, dead, failed int, err error)
	Decide(ctx context.Context, epoch ids.Epoch, e ledger.Entry, n *plan.Node, v ledger.Verdict) error
	SpreadFrom(ctx context.Context, e ledger.Entry) (int, bool, error)
	SpreadEdges(ctx context.Context, epoch ids.Epoch, e ledger.Entry, n *plan.Node, from int, decided ledger.Decided) (int, error)
	SpreadEntries(ctx context.Context, epoch ids.Epoch, e ledger.Entry, all []*plan.Node, from int) (int, error)
	Sweep(ctx context.Context, epoch ids.Epoch, e ledger.Entry, status, reason string, nodes []ids.NodeID) error
	ReleaseFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, entryID string) (int64, error)
	Drop(ctx context.Context, epoch ids.Epoch, entryIDs ...string) error
	Told(ctx context.Context, epoch ids.Epoch, ended ...ledger.Entry) error
}

// Plans finds the plan of a cycle.
type Plans interface {
	OfCycle(ctx context.Context, a ids.Attempt) (*plan.Plan, error)
}

// Source hands out entries.
type Source interface {
	Take(ctx context.Context, limit int) []ledger.Entry
}

// Listeners are told of what an entry says. Each returns quickly; an error
// leaves the entry for a later try.
type Listeners struct {
	Closed  func(ctx context.Context, c ledger.CycleState) error
	Failure func(ctx context.Context, e ledger.Entry) error
	Timer   func()
	Suspect func(ctx context.Context, e ledger.Entry) error
	Purge   func(ctx context.Context, e ledger.Entry) error // removes the entry itself
}

// Kinds lists the entries that take a moment each.
func Kinds() []ledger.Kind {
	return []ledger.Kind{ledger.KindDecide, ledger.KindSpread, ledger.KindSweep, ledger.KindTimer,
		ledger.KindRelease, ledger.KindAlert}
}

// SlowKinds lists those that wait for a worker's host or remove a whole flow; on a
// queue of their own they hold up no cycle.
func SlowKinds() []ledger.Kind { return []ledger.Kind{ledger.KindSuspect, ledger.KindPurge} }

// Config of Run.
type Config struct {
	Ledger    Ledger
	Plans     Plans
	Source    Source
	Done      func(entryIDs ...string)
	Listeners Listeners
	Epoch     ids.Epoch
	Log       hclog.Logger
	Workers   int // entries acted on at once; 8 when 0
}

// Run acts on entries until ctx ends or the epoch is fenced, which it returns.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Workers <= 0 {
		cfg.Workers = 8
	}
	g, ctx := errgroup.WithContext(ctx)
	for range cfg.Workers {
		g.Go(func() error { return (&advancer{cfg}).run(ctx) })
	}
	return g.Wait()
}

type advancer struct{ Config }

func (a *advancer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		for _, e := range a.Source.Take(ctx, 1) {
			if err := Act(ctx, a.Config, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// Act acts on one entry and gives it back. Only a refusal by epoch is returned.
func Act(ctx context.Context, cfg Config, e ledger.Entry) error {
	a := &advancer{cfg}
	err := a.act(ctx, e)
	if errors.Is(err, ledger.ErrGone) { // the cycle was removed meanwhile: nothing is left to act on
		err = a.Ledger.Drop(ctx, a.Epoch, e.ID)
	}
	a.Done(e.ID)
	if ledger.Fenced(err) {
		return err
	}
	if err != nil && ctx.Err() == nil {
		a.Log.Warn("outbox entry is left for a later try", "kind", e.Kind, "flow", e.Flow, "cycle", e.Cycle, "node", e.Node, "error", err)
	}
	return nil
}

func (a *advancer) act(ctx context.Context, e ledger.Entry) error {
	switch e.Kind {
	case ledger.KindDecide:
		return a.decide(ctx, e)
	case ledger.KindSpread:
		return a.spread(ctx, e)
	case ledger.KindSweep:
		return a.sweep(ctx, e)
	case ledger.KindRelease:
		n, err := a.Ledger.ReleaseFlow(ctx, a.Epoch, e.Flow, e.ID)
		if n > 0 {
			a.Log.Info("held nodes are offered again", "flow", e.Flow, "count", n)
		}
		return err
	case ledger.KindPurge:
		return a.Listeners.Purge(ctx, e)
	case ledger.KindTimer:
		a.Listeners.Timer()
		return a.Ledger.Drop(ctx, a.Epoch, e.ID)
	case ledger.KindSuspect:
		return a.then(ctx, e, a.Listeners.Suspect(ctx, e))
	case ledger.KindAlert:
		return a.then(ctx, e, a.Listeners.Failure(ctx, e))
	default:
		return fmt.Errorf("entry of kind %q is not for this part", e.Kind)
	}
}

// then removes an entry whose act succeeded.
func (a *advancer) then(ctx context.Context, e ledger.Entry, err error) error {
	if err != nil {
		return err
	}
	return a.Ledger.Drop(ctx, a.Epoch, e.ID)
}

// node finds the entry's plan and node.
func (a *advancer) node(ctx context.Context, e ledger.Entry) (*plan.Plan, *plan.Node, error) {
	p, err := a.Plans.OfCycle(ctx, e.Attempt)
	if err != nil {
		return nil, nil, err
	}
	n := p.Node(e.Node)
	if n == nil && e.Node != "" {
		return nil, nil, fmt.Errorf("node %s is not in revision %d of %s: %w", e.Node, p.Revision, e.Flow, ledger.ErrGone)
	}
	return p, n, nil
}

func (a *advancer) decide(ctx context.Context, e ledger.Entry) error {
	_, n, err := a.node(ctx, e)
	if err != nil {
		return err
	}
	live, dead, failed, err := a.Ledger.JoinOf(ctx, e.Flow, e.Cycle, e.Node)
	if err != nil {
		return err
	}
	j := progress.Join{Live: live, Dead: dead, Failed: failed, Degree: len(n.Inputs)}
	if !j.Decided() { // counters were mended downward meanwhile; the last edge asks again
		return a.Ledger.Drop(ctx, a.Epoch, e.ID)
	}
	v := progress.Decide(n.Join, j)
	return a.Ledger.Decide(ctx, a.Epoch, e, n, ledger.Verdict{Run: v.Run, Reason: v.Reason, Passes: result(v.Passes), Live: live, Dead: dead, Failed: failed})
}

func result(r progress.Result) ledger.Result {
	switch r {
	case progress.Dead:
		return ledger.Dead
	case progress.Failed:
		return ledger.FailedSource
	default:
		return ledger.Live
	}
}

func (a *advancer) spread(ctx context.Context, e ledger.Entry) error {
	p, n, err := a.node(ctx, e)
	if err != nil {
		return err
	}
	from, open, err := a.Ledger.SpreadFrom(ctx, e)
	if err != nil {
		return err
	}
	if !open {
		return a.Ledger.Drop(ctx, a.Epoch, e.ID)
	}
	if n == nil {
		all := p.Entries()
		for from < len(all) && err == nil {
			from, err = a.Ledger.SpreadEntries(ctx, a.Epoch, e, all, from)
		}
		return err
	}
	states, err := a.Ledger.Nodes(ctx, e.Flow, e.Cycle, []ids.NodeID{e.Node})
	if err != nil {
		return err
	}
	decided := edges(states[0])
	for from < len(n.Successors) && err == nil {
		from, err = a.Ledger.SpreadEdges(ctx, a.Epoch, e, n, from, decided)
	}
	return err
}

// edges gives the results of a final node's out-edges.
func edges(s ledger.NodeState) ledger.Decided {
	switch s.Status {
	case "succeeded":
		return ledger.DeadEdges(s.Dead)
	case "skipped":
		if s.Reason == progress.UpstreamFailed {
			return ledger.AllEdges(ledger.FailedSource)
		}
		return ledger.AllEdges(ledger.Dead)
	default:
		return ledger.AllEdges(ledger.FailedSource)
	}
}

// sweep ends what does not run: of the whole cycle, or of one component.
func (a *advancer) sweep(ctx context.Context, e ledger.Entry) error {
	p, n, err := a.node(ctx, e)
	if err != nil {
		return err
	}
	c, err := a.Ledger.Cycle(ctx, e.Flow, e.Cycle)
	if err != nil {
		return err
	}
	component := -1
	status, reason := "cancelled", c.Raw["cause"]
	if n != nil {
		component = n.Component
		status, reason = Ending(c.Components[strconv.Itoa(component)])
	}
	return a.Ledger.Sweep(ctx, a.Epoch, e, status, reason, Members(p, component))
}

// Ending gives the status and reason of the nodes that an ended component leaves.
func Ending(how string) (status, reason string) {
	if how == "stopped" {
		return "stopped", "component_stopped"
	}
	return "skipped", progress.UpstreamFailed
}

// Members lists the nodes of a component, or all for -1.
func Members(p *plan.Plan, component int) []ids.NodeID {
	out := make([]ids.NodeID, 0, len(p.Nodes))
	for i := range p.Nodes {
		if component < 0 || p.Nodes[i].Component == component {
			out = append(out, p.Nodes[i].ID)
		}
	}
	return out
}
