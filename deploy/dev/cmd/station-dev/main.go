// Command station-dev runs a whole cluster in one process, with the sample
// flows or those of a folder, and tells of every cycle.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tradingflow/weather-station/deploy/dev/topology"
	"github.com/tradingflow/weather-station/shared/process"
)

// settings are the flags, environment variables and file entries of
// station-dev. It logs less than the other binaries: its output is the cycles.
type settings struct {
	Config       string `help:"Read settings from this YAML or JSON file." placeholder:"FILE"`
	Partitions   int    `help:"Partitions that the flows are spread over, each with a leader of its own." default:"1"`
	Coordinators int    `help:"Coordinators in this process; one of them leads." default:"2"`
	Workers      int    `help:"Workers in this process." default:"2"`
	Flows        string `help:"Folder whose *.yaml, *.yml and *.json files are registered as flows; the samples when empty." type:"path" placeholder:"DIR"`
	HTTPAddr     string `help:"Where the first coordinator's API is served; the others take free ports." default:"127.0.0.1:7002" placeholder:"HOST:PORT"`
	DataDir      string `help:"Folder that dataset nodes read and write, and that keeps the flows in .etcd; a new one in .run, without the flows, when empty." type:"path" placeholder:"DIR"`
	Concurrency  int    `help:"Nodes that each worker runs at once." default:"16"`
	AllowExec    bool   `help:"Carry the exec node type, which runs programs on this machine."`

	Faults           string `help:"Serve faults here: coordinators and workers are killed, stopped and started by POST /faults, as stationctl drill --dev does. A loopback address; off when empty." placeholder:"HOST:PORT"`
	Pprof            string `help:"Where Go's profiles (/debug/pprof/) and recordings of hops (/debug/hops) are served: a loopback address, since they show memory and can slow the process down; off when empty." placeholder:"HOST:PORT"`
	AllowPrivateHTTP bool   `name:"allow-private-http" help:"Let http nodes reach loopback, private and link-local addresses."`

	LogLevel  string           `help:"Least level that is logged: ${enum}." enum:"trace,debug,info,warn,error" default:"error"`
	LogFormat string           `help:"Form of log lines: ${enum}." enum:"text,json" default:"text"`
	Version   kong.VersionFlag `help:"Print the version and exit."`
}

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program; it ends when ctx does, at a signal, or when a part fails.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fail := func(err error) int {
		_, _ = fmt.Fprintln(stderr, "station-dev:", err) // where else to tell it
		return process.ExitCode(err)
	}
	var s settings
	_, err := process.Parse(process.Spec{Name: "station-dev", Args: args, Stdout: stdout, Stderr: stderr,
		Description: "Runs a whole cluster in one process on embedded servers, to try flows on. Nothing is to be installed, and nothing but the flows survives."}, &s)
	if err != nil {
		return fail(err)
	}
	log, err := process.NewLogger("station-dev", s.LogLevel, s.LogFormat, stderr)
	if err != nil {
		return fail(err)
	}
	ctx, stop := process.Signals(ctx, log)
	defer stop()
	cfg := topology.Config{Coordinators: s.Coordinators, Partitions: s.Partitions, Workers: s.Workers, Concurrency: s.Concurrency, HTTPAddr: s.HTTPAddr,
		AllowExec: s.AllowExec, AllowPrivateHTTP: s.AllowPrivateHTTP, Log: log}
	if s.Faults != "" {
		if cfg.Faults, err = topology.ListenFaults(ctx, s.Faults); err != nil {
			return fail(&process.UsageError{Err: err})
		}
		defer func() { _ = cfg.Faults.Close() }() // once more, unless the cluster was not opened
	}
	if s.Pprof != "" {
		if cfg.Profiles, err = process.ListenProfiles(ctx, s.Pprof); err != nil {
			return fail(&process.UsageError{Err: err})
		}
		defer func() { _ = cfg.Profiles.Close() }() // once more, unless the cluster was not opened
	}
	flows, err := s.prepare(&cfg)
	if err != nil {
		return fail(err)
	}
	if err := serve(ctx, cfg, flows, stdout); err != nil {
		return fail(err)
	}
	return process.ExitOK
}

// prepare makes the folders and reads the flows.
func (s *settings) prepare(cfg *topology.Config) ([]topology.Document, error) {
	flows := topology.Samples()
	if s.Flows != "" {
		var err error
		if flows, err = topology.LoadFlows(s.Flows); err != nil {
			return nil, &process.UsageError{Err: err}
		}
	}
	cfg.DataDir = s.DataDir
	if cfg.DataDir == "" {
		cfg.DataDir = filepath.Join(".run", "dev-"+time.Now().Format("20060102-150405"))
	} else {
		cfg.EtcdDir = filepath.Join(cfg.DataDir, ".etcd")
	}
	var err error
	if cfg.DataDir, err = filepath.Abs(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o755); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	return flows, topology.CopySampleData(cfg.DataDir)
}

// serve runs the cluster until ctx ends or it fails.
func serve(ctx context.Context, cfg topology.Config, flows []topology.Document, stdout io.Writer) (err error) {
	began := time.Now()
	p, err := newPrinter(stdout, cfg.DataDir)
	if err != nil {
		return err
	}
	cfg.Ended = p.ended
	t, err := topology.Open(ctx, cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- t.Run(ctx)
	}()
	err = p.begin(ctx, t, cfg, flows, began)
	if err == nil {
		p.follow(ctx)
	}
	stopped := ctx.Err() != nil
	cancel()
	rerr := <-done
	if stopped && errors.Is(err, context.Canceled) {
		err = nil // ended while it began; rerr says whether a part failed
	}
	p.end(began)
	return errors.Join(rerr, err)
}
