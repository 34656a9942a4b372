package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

type nodeCmd struct {
	Get nodeGetCmd `cmd:"" help:"Show a node of a cycle with its inputs and outputs."`
}

type nodeGetCmd struct {
	oneCycle
	Node string `arg:"" help:"Id of the node."`
}

func (nodeGetCmd) Help() string {
	return "Example:\n\n    stationctl node get btc-momentum 7 order"
}

func (c *nodeGetCmd) Run(ctx context.Context, a *app) error {
	n, err := a.client.Node(ctx, c.Flow, c.Cycle, c.Node)
	if err != nil {
		return err
	}
	return a.print(n, func() {
		waits := ""
		if n.Blocker != nil {
			waits = clean(n.Blocker.Detail + " [" + n.Blocker.Code + "]")
		}
		a.fields(
			"node", clean(n.NodeID), "type", clean(n.Type), "status", a.paint(n.Status), "waits for", waits,
			"error", clean(n.Error), "error class", clean(n.ErrorClass), "pool", clean(n.Pool), "worker", clean(n.Worker),
			"component", strconv.Itoa(n.Component), "level", strconv.Itoa(n.Level),
			"attempt", fmt.Sprintf("%d (%d retries, %d lost)", n.Attempt, n.RetryCount, n.Lost),
			"started", n.StartedAt.String(), "completed", n.CompletedAt.String(), "intent", clean(n.IntentID))
		a.values("inputs", n.Inputs)
		a.values("outputs", n.Outputs)
	})
}

// values writes values by handle, each on one line.
func (a *app) values(title string, by map[string]json.RawMessage) {
	if len(by) == 0 {
		return
	}
	fmt.Fprintf(a.out, "%s\n", title)
	for _, handle := range slices.Sorted(maps.Keys(by)) {
		fmt.Fprintf(a.out, "  %s: %s\n", clean(handle), clean(string(by[handle])))
	}
}
