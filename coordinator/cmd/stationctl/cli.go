package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tradingflow/weather-station/coordinator/client"
)

// cli is the command line.
type cli struct {
	Server  string        `short:"s" env:"STATION_SERVER" default:"http://127.0.0.1:7002" placeholder:"URL" help:"Base URL of a coordinator, or several separated by commas; any of them answers (default ${default})."`
	Output  string        `short:"o" enum:"table,json,yaml" default:"table" help:"How results are printed: table, json or yaml."`
	Timeout time.Duration `default:"30s" help:"How long one call may take (default ${default})."`

	Flow       flowCmd    `cmd:"" help:"Flows: apply, validate, list, get, delete, pause, resume, run, metrics."`
	Cycle      cycleCmd   `cmd:"" help:"Cycles of a flow: list, get, watch, cancel."`
	Node       nodeCmd    `cmd:"" help:"Nodes of a cycle: get."`
	Cluster    clusterCmd `cmd:"" help:"The cluster: status."`
	Worker     workerCmd  `cmd:"" help:"Workers: list."`
	Leader     leaderCmd  `cmd:"" help:"The leadership: transfer."`
	Verify     verifyCmd  `cmd:"" help:"Check the journal and the state against the guarantees."`
	Drill      drillCmd   `cmd:"" help:"Inject a fault and measure how the cluster takes it."`
	Bench      benchCmd   `cmd:"" help:"Measure the cluster, and beside it the least that its servers need."`
	BenchFloor floorCmd   `cmd:"" hidden:""`
	Version    versionCmd `cmd:"" help:"Print the version of stationctl."`
}

const description = `Command line of a Weather Station cluster.

Examples:

    stationctl flow apply -f flows/
    stationctl flow run btc-momentum --wait
    stationctl -o json cycle get btc-momentum 7
    stationctl --server http://10.0.0.1:7002,http://10.0.0.2:7002 cluster status
    stationctl verify --from 10m

Exit codes:

    0  done; a cycle that was waited for completed; the journal and the state are clean; the drill passed
    1  refused by the server; a cycle that was waited for ended otherwise; the journal breaks a rule; a round of
       the drill failed
    2  wrong usage, or a document with faults
    3  no answer: the server can't be reached, is unavailable or too slow
    4  what was named does not exist`

// terminal is what a command reads from and writes to.
type terminal struct {
	in       io.Reader
	out, err io.Writer
	asks     bool // in is a person, so a question gets an answer
	shows    bool // out is a person's screen, so progress may be drawn
	tells    bool // err is one
	colours  bool
	width    int           // columns of out; 0 = unknown
	poll     time.Duration // between two looks at a cycle that is followed
	patience time.Duration // how long a followed cycle may be out of reach
}

// app is what every command works with.
type app struct {
	terminal
	client  *client.Client
	format  string
	servers string        // what client was made of
	timeout time.Duration // of one call
}

// leave carries an exit code out of the parser, which ends the process by a
// function that must not return.
type leave int

// run is the whole command: it parses the arguments, does what they say and
// returns the exit code.
func run(ctx context.Context, args []string, t terminal) (code int) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case leave:
			code = int(v)
		default:
			panic(v)
		}
	}()
	var c cli
	parser, err := kong.New(&c, kong.Name("stationctl"), kong.Description(description),
		kong.Writers(t.out, t.err), kong.Exit(func(code int) { panic(leave(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		fmt.Fprintf(t.err, "stationctl: %v\n", err)
		return exitFailed
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(t.err, "stationctl: %v\nRun \"stationctl --help\" for usage.\n", err)
		return exitUsage
	}
	if c.Timeout <= 0 {
		fmt.Fprintln(t.err, "stationctl: --timeout must be longer than zero")
		return exitUsage
	}
	cl, err := client.New(c.Server, client.Options{Timeout: c.Timeout, UserAgent: "stationctl/" + version()})
	if err != nil {
		fmt.Fprintf(t.err, "stationctl: %v\n", err)
		return exitUsage
	}
	defer cl.Close()
	a := &app{terminal: t, client: cl, format: c.Output, servers: c.Server, timeout: c.Timeout}
	err = chosen.Run(a)
	report(t.err, err)
	return exitCode(err)
}
