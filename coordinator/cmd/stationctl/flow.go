package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/tradingflow/weather-station/coordinator/api"
)

type flowCmd struct {
	Apply    flowApplyCmd    `cmd:"" help:"Register flows, or replace their definitions."`
	Validate flowValidateCmd `cmd:"" help:"Check flow documents and store nothing."`
	List     flowListCmd     `cmd:"" help:"List all flows."`
	Get      flowGetCmd      `cmd:"" help:"Show a flow's status or its definition."`
	Delete   flowDeleteCmd   `cmd:"" help:"Delete a flow with its cycles."`
	Pause    flowPauseCmd    `cmd:"" help:"Hold a flow: no cycle starts until it is resumed."`
	Resume   flowResumeCmd   `cmd:"" help:"Release a paused flow."`
	Run      flowRunCmd      `cmd:"" help:"Start a cycle of a flow now."`
	Metrics  flowMetricsCmd  `cmd:"" help:"Show execution metrics over the last ended cycles."`
}

// oneFlow is the argument that names a flow.
type oneFlow struct {
	Flow string `arg:"" help:"Id of the flow."`
}

type flowListCmd struct{}

func (flowListCmd) Run(ctx context.Context, a *app) error {
	flows, err := a.client.Flows(ctx)
	if err != nil {
		return err
	}
	return a.print(flows, func() {
		rows := make([][]string, len(flows))
		for i, f := range flows {
			cycle, cycleStatus := "-", "-"
			if f.CycleStatus != nil {
				cycle, cycleStatus = strconv.FormatInt(f.CycleStatus.Cycle, 10), a.paint(f.CycleStatus.Status)
			}
			rows[i] = []string{clean(f.FlowID), a.paint(f.Status), schedule(f), strconv.Itoa(f.NodeCount),
				strconv.FormatInt(f.Revision, 10), cycle, cycleStatus, dash(f.NextSlot.String()), dash(f.Name)}
		}
		a.table([]string{"flow", "status", "schedule", "nodes", "revision", "cycle", "cycle status", "next slot", "name"}, rows)
	})
}

// schedule returns when a flow runs, for people.
func schedule(f api.FlowSummary) string {
	switch f.ScheduleType {
	case api.Periodic:
		return "every " + strconv.FormatFloat(f.IntervalSeconds, 'f', -1, 64) + "s"
	case api.Cron:
		return clean(strings.TrimSpace(f.Cron + " " + f.Timezone))
	default:
		return clean(f.ScheduleType)
	}
}

type flowGetCmd struct {
	oneFlow
	Definition bool `help:"Print the definition alone, as YAML unless -o json is given. It can be applied again."`
}

func (flowGetCmd) Help() string {
	return "Examples:\n\n    stationctl flow get btc-momentum\n    stationctl flow get btc-momentum --definition > btc-momentum.yaml"
}

func (c *flowGetCmd) Run(ctx context.Context, a *app) error {
	f, err := a.client.Flow(ctx, c.Flow)
	if err != nil {
		return err
	}
	if c.Definition {
		if a.format == "table" {
			a.format = "yaml"
		}
		return a.print(f.Definition, nil)
	}
	return a.showFlow(f)
}

func (a *app) showFlow(f api.FlowStatus) error {
	return a.print(f, func() {
		latest := ""
		if c := f.CycleStatus; c != nil {
			latest = fmt.Sprintf("%d, %s, %d of %d nodes done", c.Cycle, a.paint(c.Status), c.CompletedNodes, c.TotalNodes)
		}
		skipped := int64(0)
		for _, n := range f.Slots.Skipped {
			skipped += n
		}
		slots := fmt.Sprintf("%d due = %d started + %d skipped + %d pending", f.Slots.Due, f.Slots.Started, skipped, f.Slots.Pending)
		if skipped > 0 {
			b, _ := json.Marshal(f.Slots.Skipped) // sorted by reason; a map of numbers can't fail
			slots += " " + clean(string(b))
		}
		a.fields(
			"flow", clean(f.FlowID), "name", clean(f.Name), "status", a.paint(f.Status), "schedule", schedule(f.FlowSummary),
			"next slot", f.NextSlot.String(), "revision", strconv.FormatInt(f.Revision, 10), "nodes", strconv.Itoa(f.NodeCount),
			"active cycles", strconv.Itoa(f.ActiveCycles), "latest cycle", latest, "slots", slots,
			"components", groups(f.Components), "entry nodes", idList(f.EntryNodes),
			"sinks", idList(f.Sinks), "levels", groups(f.Levels))
	})
}

type flowDeleteCmd struct {
	oneFlow
	Yes bool `short:"y" help:"Do not ask."`
}

func (flowDeleteCmd) Help() string {
	return "Asks first when standard input is a terminal.\n\nExample:\n\n    stationctl flow delete btc-momentum --yes"
}

func (c *flowDeleteCmd) Run(ctx context.Context, a *app) error {
	if a.asks && !c.Yes {
		fmt.Fprintf(a.err, "Delete flow %s with all its cycles? [y/N] ", clean(c.Flow))
		answer, _ := bufio.NewReader(a.in).ReadString('\n') // no answer is a no
		if s := strings.ToLower(strings.TrimSpace(answer)); s != "y" && s != "yes" {
			return fmt.Errorf("flow %s is not deleted", c.Flow)
		}
	}
	if err := a.client.DeleteFlow(ctx, c.Flow); err != nil {
		return err
	}
	return a.print(map[string]any{"flow_id": c.Flow, "deleted": true}, func() {
		fmt.Fprintf(a.out, "flow %s is deleted\n", c.Flow)
	})
}

type flowPauseCmd struct{ oneFlow }

func (c *flowPauseCmd) Run(ctx context.Context, a *app) error {
	f, err := a.client.PauseFlow(ctx, c.Flow)
	if err != nil {
		return err
	}
	return a.print(f, func() { fmt.Fprintf(a.out, "flow %s is %s\n", clean(f.FlowID), a.paint(f.Status)) })
}

type flowResumeCmd struct{ oneFlow }

func (c *flowResumeCmd) Run(ctx context.Context, a *app) error {
	f, err := a.client.ResumeFlow(ctx, c.Flow)
	if err != nil {
		return err
	}
	return a.print(f, func() {
		fmt.Fprintf(a.out, "flow %s is %s, next slot %s\n", clean(f.FlowID), a.paint(f.Status), dash(f.NextSlot.String()))
	})
}

type flowMetricsCmd struct{ oneFlow }

func (c *flowMetricsCmd) Run(ctx context.Context, a *app) error {
	m, err := a.client.Metrics(ctx, c.Flow)
	if err != nil {
		return err
	}
	return a.print(m, func() {
		a.fields(
			"flow", clean(m.FlowID), "executions", fmt.Sprintf("%d (of the last %d ended cycles)", m.TotalExecutions, m.Window),
			"successful", strconv.Itoa(m.Successful), "failed", strconv.Itoa(m.Failed),
			"success rate", fmt.Sprintf("%.1f %%", 100*m.SuccessRate), "average time", seconds(m.AvgSeconds),
			"median time", seconds(m.P50Seconds), "longest time", seconds(m.MaxSeconds))
	})
}
