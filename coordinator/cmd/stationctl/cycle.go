package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/tradingflow/weather-station/coordinator/api"
)

type cycleCmd struct {
	List   cycleListCmd   `cmd:"" help:"List cycles of a flow, newest first."`
	Get    cycleGetCmd    `cmd:"" help:"Show a cycle with its nodes."`
	Watch  cycleWatchCmd  `cmd:"" help:"Follow a cycle until it ends; the exit code tells how."`
	Cancel cycleCancelCmd `cmd:"" help:"Cancel a cycle."`
}

// oneCycle is the pair of arguments that names a cycle.
type oneCycle struct {
	oneFlow
	Cycle int64 `arg:"" help:"Number of the cycle."`
}

// maybeCycle is oneCycle with the newest cycle as the default.
type maybeCycle struct {
	oneFlow
	Cycle int64 `arg:"" optional:"" help:"Number of the cycle; the newest when left out."`
}

// number returns the cycle's number, after asking for the newest if none is given.
func (c *maybeCycle) number(ctx context.Context, a *app) (int64, error) {
	if c.Cycle != 0 {
		return c.Cycle, nil
	}
	list, err := a.client.Cycles(ctx, c.Flow, 1, 0)
	if err != nil {
		return 0, err
	}
	if len(list.Cycles) == 0 {
		fmt.Fprintf(a.err, "stationctl: flow %s has no cycle yet\n", clean(c.Flow))
		return 0, &reportedError{exitNotFound}
	}
	return list.Cycles[0].Cycle, nil
}

type cycleListCmd struct {
	oneFlow
	Limit  int   `short:"n" default:"20" help:"How many at most, 1 to 1000 (default ${default})."`
	Before int64 `help:"Only cycles numbered below this."`
}

func (c *cycleListCmd) Run(ctx context.Context, a *app) error {
	if c.Limit < 1 || c.Limit > 1000 || c.Before < 0 {
		return &usageError{"--limit must be 1 to 1000 and --before not negative"}
	}
	list, err := a.client.Cycles(ctx, c.Flow, c.Limit, c.Before)
	if err != nil {
		return err
	}
	return a.print(list, func() {
		rows := make([][]string, len(list.Cycles))
		for i, c := range list.Cycles {
			rows[i] = []string{strconv.FormatInt(c.Cycle, 10), a.paint(c.Status), clean(c.Trigger), strconv.FormatInt(c.Revision, 10),
				dash(c.StartedAt.String()), seconds(c.DurationSeconds), fmt.Sprintf("%d/%d", c.CompletedNodes, c.TotalNodes), dash(c.Error)}
		}
		a.table([]string{"cycle", "status", "trigger", "revision", "started", "took", "nodes", "error"}, rows)
		if list.NextBefore > 0 {
			fmt.Fprintf(a.err, "Older ones: --before %d\n", list.NextBefore)
		}
	})
}

type cycleGetCmd struct{ maybeCycle }

func (cycleGetCmd) Help() string {
	return "Examples:\n\n    stationctl cycle get btc-momentum\n    stationctl cycle get btc-momentum 7 -o yaml"
}

func (c *cycleGetCmd) Run(ctx context.Context, a *app) error {
	n, err := c.number(ctx, a)
	if err != nil {
		return err
	}
	cycle, err := a.client.Cycle(ctx, c.Flow, n)
	if err != nil {
		return err
	}
	return a.print(cycle, func() { a.showCycle(cycle) })
}

func (a *app) showCycle(c api.Cycle) {
	archived := ""
	if c.Archived {
		archived = "only this summary and the states of its nodes are kept"
	}
	a.fields(
		"cycle", fmt.Sprintf("%d of %s", c.Cycle, clean(c.FlowID)), "status", a.paint(c.Status), "error", clean(c.Error),
		"trigger", clean(c.Trigger), "slot", c.Slot.String(), "revision", strconv.FormatInt(c.Revision, 10),
		"started", c.StartedAt.String(), "completed", c.CompletedAt.String(), "took", seconds(c.DurationSeconds),
		"nodes", tally(c.CycleSummary), "uuid", clean(c.UUID), "archived", archived)
	if len(c.Nodes) == 0 {
		return
	}
	fmt.Fprintln(a.out)
	rows := make([][]string, len(c.Nodes))
	for i, n := range c.Nodes {
		note := n.Error
		if note == "" && n.Blocker != nil {
			note = n.Blocker.Detail
		}
		rows[i] = []string{clean(n.NodeID), clean(n.Type), a.paint(n.Status), strconv.Itoa(n.Component), strconv.Itoa(n.Level),
			strconv.Itoa(n.Attempt), dash(n.Worker), took(n), dash(note)}
	}
	a.table([]string{"node", "type", "status", "component", "level", "attempt", "worker", "took", "error or blocker"}, rows)
}

// tally returns a cycle's counts of nodes, for people.
func tally(c api.CycleSummary) string {
	s := fmt.Sprintf("%d of %d done: %d succeeded", c.CompletedNodes, c.TotalNodes, c.Succeeded)
	for _, n := range []struct {
		count int
		what  string
	}{{c.Failed, "failed"}, {c.Skipped, "skipped"}, {c.Stopped, "stopped"}, {c.Cancelled, "cancelled"}, {c.Unknown, "unknown"}} {
		if n.count > 0 {
			s += fmt.Sprintf(", %d %s", n.count, n.what)
		}
	}
	return s
}

// took returns how long a node ran.
func took(n api.Node) string {
	if n.StartedAt.IsZero() || n.CompletedAt.IsZero() {
		return "-"
	}
	return seconds(n.CompletedAt.Sub(n.StartedAt.Time).Seconds())
}

type cycleCancelCmd struct{ oneCycle }

func (c *cycleCancelCmd) Run(ctx context.Context, a *app) error {
	s, err := a.client.CancelCycle(ctx, c.Flow, c.Cycle)
	if err != nil {
		return err
	}
	return a.print(s, func() { fmt.Fprintf(a.out, "cycle %d of %s is %s\n", s.Cycle, clean(s.FlowID), a.paint(s.Status)) })
}
