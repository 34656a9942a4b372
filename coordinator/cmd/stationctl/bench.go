package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/bench"
	"github.com/tradingflow/weather-station/coordinator/bench/floor"
	"github.com/tradingflow/weather-station/coordinator/bench/local"
	"github.com/tradingflow/weather-station/coordinator/client"
)

type benchCmd struct {
	Self        bool          `xor:"target" help:"Start real servers, a coordinator and a worker of its own for the benchmark, and end them."`
	Cluster     string        `placeholder:"DIR" xor:"target" help:"Folder of a cluster of this machine that scripts/cluster runs: gives the servers for the floor, and CPU times."`
	Script      string        `placeholder:"FILE" help:"The scripts/cluster for --self; looked for beside this program and in the current folder when left out."`
	RedisURL    string        `name:"redis-url" env:"STATION_REDIS_URL" placeholder:"URL" help:"Redis of the cluster at --server, for the floor."`
	RabbitURL   string        `name:"rabbitmq-url" env:"STATION_RABBITMQ_URL" placeholder:"URL" help:"RabbitMQ of the cluster at --server, for the floor."`
	Queue       string        `enum:"quorum,classic,transient" default:"transient" help:"Queue of the floor, and with --self of the cluster; else that of the pool which is measured: quorum, classic or transient, a classic one with messages that need no disk (default ${default})."`
	Direct      bool          `default:"true" negatable:"" help:"With --self: the worker may claim a successor with the report of its predecessor, as it does by default. With --no-direct every hop goes through the queue, as the floor's do."`
	Floor       bool          `default:"true" negatable:"" help:"Measure the floor beside it, where its servers are known."`
	Only        []string      `placeholder:"NAMES" help:"Only these workloads, of chain, fan, diamonds, sleep, ticks and big."`
	Runs        int           `default:"5" help:"How often each is run, floor and cluster in turns (default ${default})."`
	Plot        string        `placeholder:"FILE" help:"Draw the distributions of latency into an SVG file."`
	Expire      time.Duration `default:"2m" help:"How long one cycle may take (default ${default})."`
	Concurrency int           `default:"50" help:"How many nodes the workers run at once, in all: of the worker with --self, and for what sleep is held against (default ${default})."`
	Chain       int           `default:"100" placeholder:"N" help:"chain: nodes in a row (default ${default})."`
	Fan         int           `default:"1000" placeholder:"N" help:"fan: nodes side by side (default ${default})."`
	Diamonds    int           `default:"200" placeholder:"N" help:"diamonds: flows at the same time (default ${default})."`
	Cycles      int           `default:"10" placeholder:"N" help:"diamonds: cycles of each (default ${default})."`
	Sleeps      int           `default:"500" placeholder:"N" help:"sleep: nodes (default ${default})."`
	Sleep       time.Duration `default:"50ms" help:"sleep: how long each takes (default ${default})."`
	Ticks       int           `default:"1000" placeholder:"N" help:"ticks: flows (default ${default})."`
	Every       time.Duration `default:"1s" help:"ticks: their interval (default ${default})."`
	TicksFor    time.Duration `default:"5s" help:"ticks: how long they are watched (default ${default})."`
	Big         int           `default:"10000" placeholder:"N" help:"big: nodes of the large flow (default ${default})."`
	Small       int           `default:"10" placeholder:"N" help:"big: nodes of the small ones beside it (default ${default})."`
}

func (benchCmd) Help() string {
	return "Runs loads of a few shapes on a cluster and, in turns with them on the same servers, the floor: the least that Redis and RabbitMQ need for such work\n" +
		"(a publish with its confirm, a delivery and its ack, two script calls and a wake-up for each node, and no scheduling). Prints both and the ratio.\n" +
		"Flows are registered as bench-…, and deleted afterwards, also after an interrupt. The floor is left out when its servers are not known.\n\n" +
		"Workloads: chain, hop latency; fan and diamonds, throughput; sleep, how much of the slots is used; ticks, how late slots are;\n" +
		"big, what a node costs in a large flow and in a small one.\n\nExamples:\n\n" +
		"    stationctl bench --self\n" +
		"    stationctl bench --self --no-direct --only chain\n" +
		"    stationctl bench --cluster .run/cluster --only chain,fan --runs 10 --plot bench.svg\n" +
		"    stationctl bench --only ticks --ticks 10000 --every 10s --ticks-for 30s -o json\n" +
		"    stationctl bench --server http://10.0.0.1:7002 --redis-url redis://10.0.0.5:6379 --rabbitmq-url amqp://user:secret@10.0.0.6:5672/"
}

// target is where the benchmark runs.
type target struct {
	servers   string
	redis     string
	rabbit    string
	cluster   *local.Cluster // nil when it is not one of this machine
	concludes func() error
}

// cycles runs cycles over one connection, since the client is not what is to be measured.
type cycles struct {
	*client.Client
	runs *client.Runs
}

// RunCycle runs a cycle as a Client does.
func (c cycles) RunCycle(ctx context.Context, flow, key string, wait time.Duration) (api.CycleSummary, error) {
	return c.runs.RunCycle(ctx, flow, key, wait)
}

func (c *benchCmd) Run(ctx context.Context, a *app) (err error) {
	cfg := bench.Config{Queue: c.Queue, Prefix: fmt.Sprintf("bench-%06x", rand.Uint32N(1<<24)), Only: c.Only, Runs: c.Runs, Expire: c.Expire, Load1: local.Load1(),
		Sizes: bench.Sizes{Chain: c.Chain, Fan: c.Fan, Diamonds: c.Diamonds, Cycles: c.Cycles, Sleeps: c.Sleeps, Sleep: c.Sleep, Concurrency: c.Concurrency,
			Ticks: c.Ticks, Every: c.Every, TicksFor: c.TicksFor, Big: c.Big, Small: c.Small}}
	if err := cfg.Validate(); err != nil {
		return &usageError{err.Error()}
	}
	if c.Plot != "" { // a file that can't be written is told before the work, not after it
		f, err := os.OpenFile(c.Plot, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return &usageError{fmt.Sprintf("--plot: %v", err)}
		}
		_ = f.Close()
	}
	on, err := c.target(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, on.concludes()) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute}
	cl, err := client.New(on.servers, client.Options{HTTPClient: &http.Client{Timeout: max(a.timeout, 30*time.Second), Transport: transport}, UserAgent: "stationctl/" + version()})
	if err != nil {
		return &usageError{err.Error()}
	}
	defer cl.Close()
	runs := cl.Runs()
	defer runs.Close()
	cfg.Flows, cfg.Cycles = cl, cycles{cl, runs}
	end, err := c.measure(ctx, a, on, &cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	bar := a.bar()
	cfg.Progress = bar.show
	report, err := bench.Run(ctx, cfg)
	bar.clear()
	if err != nil {
		return err
	}
	if err := a.print(report, func() { a.showBench(report) }); err != nil {
		return err
	}
	if c.Plot != "" {
		return writeFile(c.Plot, report.WriteSVG)
	}
	return nil
}

// target finds the cluster, or starts one.
func (c *benchCmd) target(ctx context.Context, a *app) (target, error) {
	on := target{servers: a.servers, redis: c.RedisURL, rabbit: c.RabbitURL, concludes: func() error { return nil }}
	switch {
	case c.Self:
		script, err := clusterScript(c.Script)
		if err != nil {
			return on, &usageError{err.Error()}
		}
		signal.Ignore(syscall.SIGPIPE) // who reads the figures may have gone: what was started is ended all the same
		fmt.Fprintln(a.err, "starting servers, a coordinator and a worker")
		own, err := local.Start(ctx, script, local.Settings{Concurrency: c.Concurrency, Queue: c.Queue, QueueOnly: !c.Direct})
		if err != nil {
			return on, err
		}
		on.cluster, on.concludes = own.Cluster, own.Close
	case c.Cluster != "":
		var err error
		if on.cluster, err = local.Open(c.Cluster); err != nil {
			return on, &usageError{err.Error()}
		}
	default:
		return on, nil
	}
	var faults [3]error
	on.servers, faults[0] = on.cluster.Servers()
	on.redis, faults[1] = on.cluster.Redis()
	on.rabbit, faults[2] = on.cluster.Rabbit()
	if err := errors.Join(faults[:]...); err != nil {
		return on, errors.Join(err, on.concludes())
	}
	return on, nil
}

// measure starts the floor and sets the meters.
func (c *benchCmd) measure(ctx context.Context, a *app, on target, cfg *bench.Config) (end func() error, err error) {
	end = func() error { return nil }
	var servers, product []local.Process
	if on.cluster != nil {
		if servers, product, err = on.cluster.Processes(); err != nil {
			return end, err
		}
		product = append(slices.Concat(servers, product), local.Process{Part: bench.Client, Pid: os.Getpid()})
		cfg.CPU = func() map[string]time.Duration { return local.CPU(product) }
	}
	switch {
	case !c.Floor:
		return end, nil
	case on.redis == "" || on.rabbit == "":
		fmt.Fprintln(a.err, "the floor is left out: give --redis-url and --rabbitmq-url, --cluster or --self")
		return end, nil
	}
	self, err := os.Executable()
	if err != nil {
		return end, fmt.Errorf("find this program: %w", err)
	}
	f, err := floor.Start(ctx, floor.Config{RedisURL: on.redis, RabbitURL: on.rabbit, Queue: c.Queue, Name: "station-floor-" + strings.TrimPrefix(cfg.Prefix, "bench-"), Concurrency: c.Concurrency},
		func(role string) *exec.Cmd {
			cmd := exec.Command(self, "bench-floor", role)
			cmd.Stderr = a.err
			return cmd
		})
	if err != nil {
		return end, err
	}
	cfg.Floor = f
	if on.cluster != nil {
		driver, worker := f.Pids()
		all := append(slices.Clone(servers), local.Process{Part: "driver", Pid: driver}, local.Process{Part: "worker", Pid: worker})
		cfg.FloorCPU = func() map[string]time.Duration { return local.CPU(all) }
	}
	return f.Close, nil
}

// showBench prints the figures in a table.
func (a *app) showBench(r bench.Report) {
	var rows [][]string
	for _, w := range r.Workloads {
		name := w.Name
		for _, m := range w.Measures {
			row := []string{name, m.Name, m.Unit, figure(m.Ours.Median), figure(m.Ours.Min) + " – " + figure(m.Ours.Max), "-", "-"}
			if m.Floor != nil {
				row[5] = figure(m.Floor.Median)
			}
			if m.Ratio != nil {
				row[6] = fmt.Sprintf("%.2f", *m.Ratio)
			}
			rows, name = append(rows, row), ""
		}
	}
	a.table([]string{"workload", "figure", "unit", "cluster", "min – max", "floor", "ratio"}, rows)
	fmt.Fprintln(a.out)
	var pairs []string
	for _, w := range r.Workloads {
		pairs = append(pairs, w.Name, w.What)
		if len(w.CPUByPart) > 0 {
			pairs = append(pairs, "  CPU by part", byPart(w.CPUByPart))
		}
		if len(w.FloorCPUByPart) > 0 {
			pairs = append(pairs, "  of the floor", byPart(w.FloorCPUByPart))
		}
	}
	a.fields(append(pairs, "medians of", fmt.Sprintf("%d runs on %d CPUs, load %.1f before; %s", r.Runs, r.Machine.CPUs, r.Machine.Load1, seconds(float64(r.TookMS)/1000)))...)
}

func byPart(cpu map[string]float64) string {
	var out []string
	for _, part := range slices.Sorted(maps.Keys(cpu)) {
		out = append(out, fmt.Sprintf("%s %.0f", part, cpu[part]))
	}
	return strings.Join(out, ", ") + " µs/node"
}

// figure prints a number with three digits that matter.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
