package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
)

// Flows are the calls that make the canary and remove it.
type Flows interface {
	Register(ctx context.Context, document []byte, opts client.RegisterOptions) (api.Registered, error)
	Flow(ctx context.Context, flow string) (api.FlowStatus, error)
	PauseFlow(ctx context.Context, flow string) (api.FlowStatus, error)
	DeleteFlow(ctx context.Context, flow string) error
	Flows(ctx context.Context) ([]api.FlowSummary, error)
}

// Cycles are the calls that look at what the canary does.
type Cycles interface {
	Cycles(ctx context.Context, flow string, limit int, before int64) (api.CycleList, error)
	Cycle(ctx context.Context, flow string, cycle int64) (api.Cycle, error)
	Node(ctx context.Context, flow string, cycle int64, node string) (api.Node, error)
}

// Fleet are the calls that tell who leads and who works.
type Fleet interface {
	Cluster(ctx context.Context) (api.Cluster, error)
	Workers(ctx context.Context) ([]api.Worker, error)
}

// Verifier checks the journal, and shows it.
type Verifier interface {
	Verify(ctx context.Context, opts client.VerifyOptions) (api.Proof, error)
	Journal(ctx context.Context, opts client.JournalOptions) (api.Journal, error)
}

// Config of a drill. *client.Client is Flows, Cycles, Fleet and Verifier. One
// call must give up early, within a second or two: while the leader is paused, it
// takes connections and does not answer.
type Config struct {
	Flows    Flows
	Cycles   Cycles
	Fleet    Fleet
	Verifier Verifier // reads the whole range of a round, so it needs more time
	Fences   Fences   // nil = refused leaderships are not counted

	Target   Target
	Fault    Fault
	Interval time.Duration // of the canary, at least 100ms
	Pause    time.Duration // how long a paused process stays so, and links are cut or slow
	Server   string        // for ServerKill: a name of the Target's, as etcd-2
	Between  [2]string     // for Partition and Delay; {leader} and {worker} stand for ids
	Delay    time.Duration // for Delay
	Repeat   int           // rounds, at least 1
	After    int           // cycles that must complete after recovery and healing, at least 1
	Limit    time.Duration // a recovery that takes longer fails the round
	Within   time.Duration // the 99th percentile of the exact measure may not be longer; 0 = it is told, not judged
	Deadline time.Duration // how long a phase of a round may last before it is given up
	Poll     time.Duration // between two looks; at least 1ms
	Seed     uint64        // decides where between two slots the faults fall

	Progress func(text string) // called for each step; nil = nobody listens
}

func (c *Config) check() error {
	var bad []error
	fault := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if c.Flows == nil || c.Cycles == nil || c.Fleet == nil || c.Verifier == nil {
		fault("Flows, Cycles, Fleet and Verifier are all needed")
	}
	if c.Target == nil {
		fault("Target is needed")
	}
	if _, err := ParseFault(string(c.Fault)); err != nil {
		bad = append(bad, err)
	}
	if c.Interval < 100*time.Millisecond {
		fault("interval %s is too short, the shortest is 100ms", c.Interval)
	}
	if c.Fault == ServerKill && c.Server == "" {
		fault("a server must be named, as etcd-2")
	}
	if c.Fault.hitsLink() && (c.Between[0] == "" || c.Between[1] == "" || c.Between[0] == c.Between[1]) {
		fault("two parts must be named between which the fault is, as coordinator-1 and redis")
	}
	if c.Fault == Delay && c.Delay <= 0 {
		fault("delay %s must be longer than zero", c.Delay)
	}
	if c.Fault.lasts() && c.Pause <= 0 {
		fault("pause %s must be longer than zero", c.Pause)
	}
	if c.Repeat < 1 || c.After < 1 {
		fault("%d rounds and %d cycles after recovery: both must be at least 1", c.Repeat, c.After)
	}
	if c.Limit <= 0 || c.Deadline < c.Limit || c.Deadline <= c.Pause {
		fault("limit %s must be longer than zero, and deadline %s not shorter than it and longer than the pause %s", c.Limit, c.Deadline, c.Pause)
	}
	if c.Poll < time.Millisecond {
		fault("poll %s is shorter than 1ms", c.Poll)
	}
	return errors.Join(bad...)
}

func (c *Config) say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}

// OtherDrillError says that a drill runs on the cluster, or left its canary there.
type OtherDrillError struct{ Canary string }

func (e *OtherDrillError) Error() string {
	return fmt.Sprintf("another drill runs: its canary is flow %s; if none runs, remove it by 'stationctl flow delete %s'", e.Canary, e.Canary)
}

// alone looks for the canary of another drill. The cluster that can't be asked is
// taken for alone: the round will find out.
func (c *Config) alone(ctx context.Context, own string) error {
	flows, err := c.Flows.Flows(ctx)
	if err != nil {
		return nil
	}
	for _, f := range flows {
		if strings.HasPrefix(f.FlowID, canaryPrefix) && f.FlowID != own {
			return &OtherDrillError{f.FlowID}
		}
	}
	return nil
}

// Run makes the rounds of a drill, one after another, and judges them. A round
// that fails is no error and does not end the drill. An error means that the
// drill could not be made: the configuration is wrong or ctx ended; the report
// then holds the rounds made so far.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if err := cfg.check(); err != nil {
		return Report{}, fmt.Errorf("drill: %w", err)
	}
	if err := cfg.alone(ctx, ""); err != nil {
		return Report{}, fmt.Errorf("drill: %w", err)
	}
	out := Report{Fault: cfg.Fault, Seed: cfg.Seed, IntervalMS: cfg.Interval.Milliseconds(), LimitMS: cfg.Limit.Milliseconds(), WithinMS: cfg.Within.Milliseconds(), Rounds: []Round{}}
	random := rand.New(rand.NewPCG(cfg.Seed, 0))
	for n := range cfg.Repeat {
		phase := time.Duration(random.Int64N(int64(cfg.Interval)))
		r := newRound(&cfg, n+1, phase)
		r.run(ctx)
		out.Rounds = append(out.Rounds, r.report())
		last := &out.Rounds[n]
		if last.Pass {
			cfg.say("round %d: pass", n+1)
		} else {
			cfg.say("round %d: FAIL", n+1)
		}
		if ctx.Err() != nil {
			out.sum()
			return out, fmt.Errorf("drill: stopped in round %d of %d: %w", n+1, cfg.Repeat, context.Cause(ctx))
		}
	}
	out.sum()
	return out, nil
}
