package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
)

type cycleWatchCmd struct{ maybeCycle }

func (cycleWatchCmd) Help() string {
	return "Prints each change of a node's state. With -o json or yaml it prints the cycle alone, once it has ended.\n\nExamples:\n\n" +
		"    stationctl cycle watch btc-momentum\n    stationctl cycle watch btc-momentum 7"
}

func (c *cycleWatchCmd) Run(ctx context.Context, a *app) error {
	n, err := c.number(ctx, a)
	if err != nil {
		return err
	}
	return a.followAndPrint(ctx, c.Flow, n)
}

// followAndPrint follows a cycle to its end. Errors are *endedError if it
// ended otherwise than completed.
func (a *app) followAndPrint(ctx context.Context, flow string, n int64) error {
	cycle, err := a.follow(ctx, flow, n)
	if err != nil {
		return err
	}
	err = a.print(cycle, func() {
		fmt.Fprintf(a.out, "cycle %d of %s %s in %s: %s\n", cycle.Cycle, clean(cycle.FlowID), a.paint(cycle.Status),
			seconds(cycle.DurationSeconds), tally(cycle.CycleSummary))
	})
	if err != nil || cycle.Status == api.CycleCompleted {
		return err
	}
	return &endedError{cycle.CycleSummary}
}

// follow looks at a cycle again and again until it has ended, and prints each
// change it sees.
func (a *app) follow(ctx context.Context, flow string, n int64) (api.Cycle, error) {
	w := watcher{app: a, seen: map[string]string{}}
	defer w.clear()
	tick := time.NewTicker(a.poll)
	defer tick.Stop()
	reached, lost := time.Now(), false
	for {
		asked := time.Now()
		cycle, err := a.client.Cycle(ctx, flow, n)
		tick.Reset(max(a.poll, 10*time.Since(asked))) // a cycle of 10,000 nodes is not asked for 4 times a second
		switch {
		case err == nil:
			reached, lost = time.Now(), false
			w.show(cycle)
			if api.CycleEnded(cycle.Status) {
				return cycle, nil
			}
		case ctx.Err() != nil:
			return api.Cycle{}, fmt.Errorf("stopped watching cycle %d of %s; it goes on", n, flow)
		case !mayPass(err) || time.Since(reached) > a.patience:
			return api.Cycle{}, err
		case !lost:
			lost = true
			w.clear()
			fmt.Fprintf(a.err, "no answer, trying again for %s: %s\n", a.patience, clean(err.Error()))
		}
		select {
		case <-ctx.Done():
			return api.Cycle{}, fmt.Errorf("stopped watching cycle %d of %s; it goes on", n, flow)
		case <-tick.C:
		}
	}
}

// mayPass reports whether an error may be over in a moment, as while another
// coordinator takes over.
func mayPass(err error) bool {
	var unreachable *client.Unreachable
	var problem *client.Problem
	return errors.As(err, &unreachable) ||
		errors.As(err, &problem) && (problem.Status == http.StatusServiceUnavailable || problem.Status == http.StatusGatewayTimeout || problem.Status == http.StatusBadGateway)
}

// watcher prints what is new in a cycle.
type watcher struct {
	*app
	seen  map[string]string // node id → status and attempt
	drawn bool              // a line of progress stands on the terminal
}

func (w *watcher) show(c api.Cycle) {
	if w.format != "table" {
		return
	}
	for _, n := range c.Nodes {
		state := fmt.Sprintf("%s %d", n.Status, n.Attempt)
		if w.seen[n.NodeID] == state || w.seen[n.NodeID] == "" && n.Status == "waiting" {
			continue
		}
		w.seen[n.NodeID] = state
		w.clear()
		fmt.Fprintln(w.out, w.change(n))
	}
	if !w.shows {
		return
	}
	w.clear()
	if !api.CycleEnded(c.Status) {
		const bar = 20
		done := 0
		if c.TotalNodes > 0 {
			done = min(bar, bar*c.CompletedNodes/c.TotalNodes)
		}
		fmt.Fprintf(w.out, "cycle %d %s [%s%s] %d/%d nodes", c.Cycle, w.paint(c.Status),
			strings.Repeat("#", done), strings.Repeat(".", bar-done), c.CompletedNodes, c.TotalNodes)
		w.drawn = true
	}
}

// change returns the line for a node whose state is new.
func (w *watcher) change(n api.Node) string {
	at := n.CompletedAt
	if at.IsZero() {
		at = n.StartedAt
	}
	when := strings.Repeat(" ", len("15:04:05.000"))
	if !at.IsZero() {
		when = at.UTC().Format("15:04:05.000")
	}
	line := fmt.Sprintf("%s  %s  %s", when, clean(n.NodeID), w.paint(n.Status))
	if n.Attempt > 1 {
		line += fmt.Sprintf("  attempt %d", n.Attempt)
	}
	if n.Worker != "" {
		line += "  on " + clean(n.Worker)
	}
	if n.Error != "" {
		line += "  " + clean(n.Error)
	}
	return line
}

// clear removes the line of progress.
func (w *watcher) clear() {
	if w.drawn {
		fmt.Fprint(w.out, "\r\x1b[K")
		w.drawn = false
	}
}
