package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/coordinator/drill"
)

// hasty is how long one call may take while a fault lasts: a paused coordinator
// takes a connection and does not answer.
const hasty = time.Second

type drillCmd struct {
	Fault    string        `arg:"" enum:"leader-kill,leader-pause,leader-transfer,leader-isolate,worker-kill,worker-pause,redis-restart,rabbitmq-restart,etcd-restart,server-kill,partition,delay" help:"leader-kill, leader-pause, leader-transfer, leader-isolate, worker-kill, worker-pause, redis-restart, rabbitmq-restart, etcd-restart, server-kill, partition or delay."`
	Cluster  string        `placeholder:"DIR" xor:"target" help:"Folder of a cluster of this machine that scripts/cluster runs."`
	Dev      string        `placeholder:"URL" xor:"target" help:"The port for faults of a station-dev, as http://127.0.0.1:7009: kills of leaders and workers of one process."`
	Inject   string        `placeholder:"CMD" xor:"target" help:"Command that does the fault; {leader}, {worker}, {server}, {from} and {to} in it stand for names."`
	Heal     string        `placeholder:"CMD" help:"Command that undoes it, with --inject."`
	Script   string        `placeholder:"FILE" help:"The scripts/cluster that runs DIR; looked for beside this program and in the current folder when left out."`
	Repeat   int           `default:"1" help:"How many rounds (default ${default})."`
	Interval time.Duration `placeholder:"TIME" help:"Period of the canary flow; when left out 100ms, or 500ms for pauses and rabbitmq-restart, after which cycles wait longer."`
	Links    string        `placeholder:"HOST:PORT" xor:"target" help:"Control port of station-links, for leader-isolate, partition and delay without --cluster."`
	Kill     string        `placeholder:"NAME" help:"Server that server-kill kills, as etcd-2."`
	Between  []string      `placeholder:"A,B" help:"Parts between which partition and delay are, as coordinator-1,redis or {leader},rabbitmq."`
	Delay    time.Duration `default:"200ms" help:"How late packets are, with delay (default ${default})."`
	Pause    time.Duration `default:"15s" help:"How long a paused process stays so, and links are hit (default ${default})."`
	Within   time.Duration `help:"Fails when the 99th percentile of the exact measure is longer: to the next dispatch, between the dispatches of a transfer, to the next run of a lost worker's node."`
	Limit    time.Duration `default:"30s" help:"A recovery that takes longer fails the drill (default ${default})."`
	After    int           `default:"10" placeholder:"N" help:"Cycles that must complete after recovery (default ${default})."`
	Seed     uint64        `help:"Decides where between two slots the faults fall; a random one when 0."`
	HTML     string        `name:"html" placeholder:"FILE" help:"Write a page with the timeline of each round."`
}

func (drillCmd) Help() string {
	return "Registers a canary flow, injects one fault, measures what it cost and checks the journal. Fails when the fault can't be proven. " +
		"The exit code is 0 when every round passed and 1 when one failed.\n\nExamples:\n\n" +
		"    stationctl drill leader-kill --cluster .run/cluster --repeat 3 --html drill.html\n" +
		"    stationctl drill leader-kill --dev http://127.0.0.1:7009\n" +
		"    stationctl drill worker-pause --cluster .run/cluster --pause 20s\n" +
		"    stationctl drill leader-transfer --repeat 20 --within 50ms\n" +
		"    stationctl drill partition --cluster .run/cluster --between {leader},rabbitmq --pause 5s\n" +
		"    stationctl drill server-kill --cluster .run/cluster --kill etcd-2\n" +
		"    stationctl drill leader-kill --inject 'kubectl delete pod {leader} --grace-period 0 --force' -o json"
}

func (c *drillCmd) Run(ctx context.Context, a *app) error {
	if c.Heal != "" && c.Inject == "" {
		return &usageError{"--heal goes with --inject"}
	}
	fault, err := drill.ParseFault(c.Fault)
	if err != nil {
		return &usageError{err.Error()}
	}
	if fault != drill.LeaderTransfer && c.Cluster == "" && c.Dev == "" && c.Inject == "" && c.Links == "" {
		return &usageError{"name what is to be hit: --cluster, --dev, --inject or --links"}
	}
	var between [2]string
	if fault == drill.Partition || fault == drill.Delay {
		if len(c.Between) != 2 {
			return &usageError{"--between names two parts, as coordinator-1,redis"}
		}
		between = [2]string(c.Between)
	}
	target, servers, err := c.target(ctx, a, fault)
	if err != nil {
		return &usageError{err.Error()}
	}
	opts := client.Options{Timeout: min(hasty, a.timeout), UserAgent: "stationctl/" + version()}
	quick, err := client.New(servers, opts)
	if err != nil {
		return &usageError{err.Error()}
	}
	defer quick.Close()
	opts.Timeout = a.timeout
	patient, err := client.New(servers, opts)
	if err != nil {
		return &usageError{err.Error()}
	}
	defer patient.Close()
	if fault == drill.LeaderTransfer {
		target = drill.Transfer{By: patient}
	}
	scrape := &http.Client{Timeout: hasty, Transport: &http.Transport{DisableKeepAlives: true}}
	if c.Interval == 0 {
		c.Interval = fault.Interval()
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64N(1<<32) + 1
	}
	report, runErr := drill.Run(ctx, drill.Config{
		Flows: quick, Cycles: quick, Fleet: quick, Verifier: patient, Fences: drill.Scrape{HTTP: scrape},
		Target: target, Fault: fault, Interval: c.Interval, Pause: c.Pause, Server: c.Kill, Between: between, Delay: c.Delay, Within: c.Within, Repeat: c.Repeat, After: c.After, Limit: c.Limit,
		Deadline: max(c.Limit, c.Pause) + time.Minute, Poll: 20 * time.Millisecond, Seed: c.Seed,
		Progress: func(text string) { fmt.Fprintln(a.err, clean(text)) },
	})
	if runErr != nil && len(report.Rounds) == 0 {
		return &usageError{runErr.Error()}
	}
	if err := a.print(report, func() { a.showDrill(report) }); err != nil {
		return err
	}
	if c.HTML != "" {
		if err := writeFile(c.HTML, report.WriteHTML); err != nil {
			return err
		}
	}
	switch {
	case runErr != nil:
		return runErr
	case !report.Pass:
		return &reportedError{exitFailed}
	}
	return nil
}

// target returns what injects the fault, and the servers to ask.
func (c *drillCmd) target(ctx context.Context, a *app, fault drill.Fault) (drill.Target, string, error) {
	switch {
	case c.Dev != "":
		t := drill.NewDev(c.Dev)
		if err := t.Takes(fault); err != nil {
			return nil, "", err
		}
		servers, err := t.Servers(ctx)
		return t, servers, err
	case c.Links != "":
		return drill.NewLinks(c.Links), a.servers, nil
	case c.Cluster == "" && c.Inject == "": // a transfer needs none
		return nil, a.servers, nil
	case c.Inject != "":
		t, err := drill.NewCommand(c.Inject, c.Heal)
		return t, a.servers, err
	}
	script, err := clusterScript(c.Script)
	if err != nil {
		return nil, "", err
	}
	t, err := drill.NewLocal(c.Cluster, script)
	if err != nil {
		return nil, "", err
	}
	servers, err := t.Servers()
	return t, servers, err
}

// clusterScript finds scripts/cluster, unless it is named.
func clusterScript(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	places := []string{"scripts/cluster"}
	if self, err := os.Executable(); err == nil {
		places = append([]string{filepath.Join(filepath.Dir(self), "..", "scripts", "cluster")}, places...)
	}
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", errors.New("scripts/cluster is neither beside this program nor in the current folder; name it by --script")
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	if err := write(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}
