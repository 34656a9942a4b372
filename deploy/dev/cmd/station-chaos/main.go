// Command station-chaos does to clusters of this machine what the world does, and
// judges what came of it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tradingflow/weather-station/deploy/dev/chaos"
	"github.com/tradingflow/weather-station/deploy/dev/servers"
)

type cli struct {
	List listCmd `cmd:"" help:"List the rows of the fault matrix and the invariants that are held against them: what, how or where, and which are not run or not checked and why."`
	Run  runCmd  `cmd:"" help:"Run rows of the fault matrix."`

	Soak   soakCmd   `cmd:"" help:"Run random faults of all kinds, by seed; after each phase everything is healed and judged."`
	Replay replayCmd `cmd:"" help:"Run a soak's schedule again."`
}

type listCmd struct {
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

// common is what runs share.
type common struct {
	Seed   uint64 `help:"Seed of everything that is drawn; 0 = one of the clock."`
	Output string `short:"o" enum:"table,json" default:"table" help:"What is printed at the end: table or json. Progress goes to standard error."`
	Dir    string `help:"Folder for the evidence of failed runs." default:".run/chaos" type:"path"`
	Race   bool   `help:"Build the binaries with the race detector."`
}

type runCmd struct {
	common
	Rows  []string `help:"Rows, as T1,T3; all that are run when left out." sep:","`
	N     int      `help:"Faults of each row; the row's own number when 0."`
	Short bool     `help:"The short set, for continuous integration."`
}

type soakCmd struct {
	common
	Faults   int           `help:"Faults in all." default:"1000"`
	PerPhase int           `help:"Faults until everything is healed and judged." default:"25"`
	Gap      time.Duration `help:"Mean time between two faults." default:"1s"`
	Kinds    []string      `help:"Kinds of fault; all when left out." sep:","`
	NoLoss   bool          `help:"Redis never forgets writes; otherwise it does in every fourth phase."`
	HA       bool          `help:"Servers of three nodes each, of which one of a kind at a time is lost." name:"ha"`
	Phase    int           `help:"Run this phase alone, from 1 on; 0 = all."`
	Draw     bool          `help:"Only print the schedule."`
}

type replayCmd struct {
	common
	Schedule string `arg:"" type:"existingfile" help:"The schedule.json of a soak's evidence."`
	Phase    int    `help:"Run this phase alone, from 1 on; 0 = all."`
}

// shortSlack widens the limits of the short set: a few faults on a machine that
// does other things as well show what is broken, not how fast it is.
const shortSlack = 10

// errViolated says that a run broke a guarantee, which was printed.
var errViolated = errors.New("guarantees were broken")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var c cli
	k := kong.Parse(&c, kong.Name("station-chaos"), kong.Description("Kills, stops, starves and cuts off the parts of private clusters under load, and judges what came of it. Exit code 1 = a guarantee was broken."),
		kong.UsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)), kong.BindTo(os.Stdout, (*io.Writer)(nil)))
	if err := k.Run(); err != nil {
		if !errors.Is(err, errViolated) {
			fmt.Fprintln(os.Stderr, "station-chaos:", err)
		}
		stop()
		os.Exit(1)
	}
}

func (c *listCmd) Run(out io.Writer) error {
	rows := chaos.Rows()
	if c.Output == "json" {
		return encode(out, struct {
			Rows       []chaos.Row       `json:"rows"`
			Invariants []chaos.Invariant `json:"invariants"`
		}{rows, chaos.Invariants()})
	}
	w := tabwriter.NewWriter(out, 2, 8, 2, ' ', 0)
	fmt.Fprintln(w, "row\tfault\tlong\tshort\thow, or why not")
	for _, r := range rows {
		how := r.How
		if r.Not != "" {
			how = "NOT RUN: " + r.Not
		}
		if r.Failing != "" {
			how += "; FAILS: " + r.Failing
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", r.ID, r.Title, r.Faults, r.Short, how)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\ninvariant\tholds\twhere it is checked, or why not")
	for _, i := range chaos.Invariants() {
		where := i.Where
		switch {
		case where == "":
			where = "NOT CHECKED: " + i.Not
		case i.Not != "":
			where += "; NOT: " + i.Not
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", i.ID, i.Title, where)
	}
	return w.Flush()
}

func encode(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// lab makes the place to work in.
func (c *common) lab() (*chaos.Lab, error) {
	root, err := servers.FindRoot()
	if err != nil {
		return nil, err
	}
	if c.Seed == 0 {
		c.Seed = clockSeed()
	}
	dir := filepath.Join(c.Dir, time.Now().Format("20060102-150405"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("folder for evidence: %w", err)
	}
	fmt.Fprintf(os.Stderr, "seed %d, evidence of failures in %s\n", c.Seed, dir)
	return &chaos.Lab{Root: root, Evidence: dir, Race: c.Race, Say: os.Stderr}, nil
}

// end prints results and says whether all is well.
func (c *common) end(out io.Writer, lab *chaos.Lab, results []*chaos.Result) error {
	err := lab.Close()
	lab.Tidy()
	if c.Output == "json" {
		err = errors.Join(err, encode(out, results))
	} else {
		err = errors.Join(err, chaos.Print(out, results))
	}
	if err != nil {
		return err
	}
	for _, r := range results {
		if !r.OK {
			return errViolated
		}
	}
	if c.Output == "table" {
		_, err = fmt.Fprintf(out, "seed %d: no guarantee was broken\n", c.Seed)
	}
	return err
}

func (c *runCmd) Run(ctx context.Context, out io.Writer) error {
	rows, err := chaos.Pick(c.Rows, c.Short)
	if err != nil {
		return err
	}
	lab, err := c.lab()
	if err != nil {
		return err
	}
	if c.Short {
		lab.Slack = shortSlack
	}
	var results []*chaos.Result
	for _, r := range rows {
		n := r.Faults
		switch {
		case c.N > 0:
			n = c.N
		case c.Short:
			n = r.Short
		}
		fmt.Fprintf(os.Stderr, "=== %s %s: %s, %d times\n", r.ID, r.Title, r.How, n)
		results = append(results, chaos.RunRow(ctx, lab, r, n, c.Seed))
		if ctx.Err() != nil {
			break
		}
	}
	return c.end(out, lab, results)
}

func (c *soakCmd) Run(ctx context.Context, out io.Writer) error {
	if c.Seed == 0 {
		c.Seed = clockSeed()
	}
	s, err := chaos.Draw(c.Seed, chaos.Soak{Faults: c.Faults, PerPhase: c.PerPhase, Gap: c.Gap, Kinds: c.Kinds, NoLoss: c.NoLoss, HA: c.HA})
	if err != nil {
		return err
	}
	if c.Draw {
		return encode(out, s)
	}
	return c.soak(ctx, out, s, c.Phase)
}

func (c *replayCmd) Run(ctx context.Context, out io.Writer) error {
	s, err := chaos.ReadSchedule(c.Schedule)
	if err != nil {
		return err
	}
	c.Seed = s.Seed
	return c.soak(ctx, out, s, c.Phase)
}

func (c *common) soak(ctx context.Context, out io.Writer, s *chaos.Schedule, phase int) error {
	lab, err := c.lab()
	if err != nil {
		return err
	}
	results, err := chaos.RunSchedule(ctx, lab, s, phase)
	if err != nil {
		return errors.Join(err, lab.Close())
	}
	if c.Output == "table" && phase == 0 {
		if _, err := fmt.Fprintf(out, "faults: %s\n", s.ByKind()); err != nil {
			return err
		}
	}
	return c.end(out, lab, results)
}

func clockSeed() uint64 { return uint64(time.Now().UnixNano())%1_000_000 + 1 }
