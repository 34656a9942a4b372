// Command station-links puts a relay on every link between the parts of a
// cluster, and does faults to them on command.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tradingflow/weather-station/deploy/dev/links"
	"github.com/tradingflow/weather-station/shared/process"
	"github.com/tradingflow/weather-station/shared/relay"
)

type commands struct {
	Run   runCmd   `cmd:"" help:"Run the links of a file until it is signalled."`
	List  listCmd  `cmd:"" help:"Show links, what is done to them and what that hit."`
	Set   setCmd   `cmd:"" help:"Replace the faults of the links that match."`
	Clear clearCmd `cmd:"" help:"Take the faults away."`
	Reset resetCmd `cmd:"" help:"Reset the open connections, once."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// remote is what every command but run needs.
type remote struct {
	Control string `required:"" env:"STATION_LINKS" placeholder:"HOST:PORT" help:"Control port of the running station-links."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

type matching struct {
	remote
	Match string `arg:"" help:"Links, as 'coordinator-1>*'; several patterns with commas between."`
}

type runCmd struct {
	File    string `arg:"" type:"existingfile" help:"Links, one a line: NAME LISTEN TARGET."`
	Control string `required:"" placeholder:"HOST:PORT" help:"Loopback address at which faults are set."`
}

type listCmd struct {
	remote
	Match string `arg:"" optional:"" help:"Links to show; all when left out."`
}

type setCmd struct {
	matching
	Cut        bool          `help:"Reset open connections, refuse new ones."`
	Hole       string        `placeholder:"up|down|both" help:"Take bytes and pass nothing: up is to the target, down is from it."`
	Stall      string        `placeholder:"up|down|both" help:"Take no bytes, so that senders block."`
	Delay      time.Duration `help:"Delay of every byte, each way."`
	Jitter     time.Duration `help:"Up to so much more delay, by chance."`
	Rate       int64         `placeholder:"BYTES" help:"Bytes per second of each connection, each way."`
	ResetAfter *int64        `placeholder:"BYTES" help:"Reset each connection after so many bytes more."`
}

type (
	clearCmd struct{ matching }
	resetCmd struct{ matching }
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	log, err := process.NewLogger("station-links", "info", "text", stderr)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "station-links:", err)
		return process.ExitFailure
	}
	ctx, stop := process.Signals(ctx, log)
	defer stop()
	var c commands
	ended := -1
	parser, err := kong.New(&c, kong.Name("station-links"), kong.Writers(stdout, stderr), kong.Vars{"version": process.Version()}, kong.Exit(func(code int) { ended = code }),
		kong.Description("Relays on the links between the parts of a cluster, with faults on command. For tests, trials and drills on one machine."))
	if err == nil {
		var k *kong.Context
		if k, err = parser.Parse(args); ended >= 0 {
			return ended
		}
		if err != nil {
			_, _ = fmt.Fprintln(stderr, "station-links:", err)
			return process.ExitUsage
		}
		k.BindTo(ctx, (*context.Context)(nil))
		k.BindTo(stdout, (*io.Writer)(nil))
		err = k.Run()
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "station-links:", err)
		return process.ExitCode(err)
	}
	return process.ExitOK
}

func (c *runCmd) Run(ctx context.Context, stdout io.Writer) error {
	f, err := os.Open(c.File)
	if err != nil {
		return fmt.Errorf("links: %w", err)
	}
	all, err := links.Read(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return &process.UsageError{Err: fmt.Errorf("links of %s: %w", c.File, err)}
	}
	host, _, err := net.SplitHostPort(c.Control)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return &process.UsageError{Err: fmt.Errorf("control %q: it asks for no credentials; give a loopback address, as 127.0.0.1:7010", c.Control)}
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", c.Control)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	set, err := links.Open(all)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	defer set.Close()
	_, _ = fmt.Fprintf(stdout, "%d links; control at %s\n", len(all), ln.Addr())
	return process.Serve(ctx, ln, set.Control())
}

func (c *listCmd) Run(ctx context.Context, stdout io.Writer) error {
	list, err := links.NewClient(c.Control).List(ctx, c.Match)
	return c.show(stdout, list, err)
}

func (c *setCmd) Run(ctx context.Context, stdout io.Writer) error {
	f := relay.Faults{Cut: c.Cut, Hole: relay.Direction(c.Hole), Stall: relay.Direction(c.Stall), Delay: relay.Span(c.Delay), Jitter: relay.Span(c.Jitter), Rate: c.Rate, ResetAfter: c.ResetAfter}
	if f.None() {
		return &process.UsageError{Err: errors.New("set: name a fault, as --cut; 'clear' takes faults away")}
	}
	list, err := links.NewClient(c.Control).Fault(ctx, c.Match, f)
	return c.show(stdout, list, err)
}

func (c *clearCmd) Run(ctx context.Context, stdout io.Writer) error {
	list, err := links.NewClient(c.Control).Clear(ctx, c.Match)
	return c.show(stdout, list, err)
}

func (c *resetCmd) Run(ctx context.Context, stdout io.Writer) error {
	list, err := links.NewClient(c.Control).Reset(ctx, c.Match)
	return c.show(stdout, list, err)
}

func (r *remote) show(stdout io.Writer, list []links.State, err error) error {
	if err != nil {
		return err
	}
	if r.JSON {
		return json.NewEncoder(stdout).Encode(list)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "LINK\tLISTEN\tTARGET\tFAULTS\tOPEN\tUP\tDOWN\tHIT")
	for _, l := range list {
		faults := "-"
		if !l.Faults.None() {
			b, err := json.Marshal(l.Faults)
			if err != nil {
				return fmt.Errorf("write faults: %w", err)
			}
			faults = string(b)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d connections, %d bytes\n", l.Name, l.Listen, l.Target, faults,
			l.Counts.Open, l.Counts.Up, l.Counts.Down, l.Counts.HitConns, l.Counts.HitBytes)
	}
	return w.Flush()
}
