package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/deploy/dev/servers"
)

// Trial is one run of a row: what the row works with, and what it found.
type Trial struct {
	Lab  *Lab
	N    int // faults asked for
	Seed uint64
	Rand *rand.Rand
	HA   bool // servers of three nodes each

	dir     string
	result  *Result
	set     *servers.Set
	cluster *rig.Cluster
	base    *baseline // of cluster; nil = it is not held to one
	flows   []load.Flow
	parts   int // clusters started
}

// Faults counts faults that were really brought about.
func (t *Trial) Faults(n int) { t.result.Faults += n }

// Measure adds to a figure.
func (t *Trial) Measure(name string, d time.Duration) { t.result.figure(name).add(d) }

// Limit says what a figure may be at most; zero bounds nothing.
func (t *Trial) Limit(name string, p50, p99, most time.Duration) {
	f, wider := t.result.figure(name), time.Duration(max(1, t.Lab.Slack))
	f.limit50, f.limit99, f.limitMax = wider*p50, wider*p99, wider*most
}

// Violate reports something that must not be.
func (t *Trial) Violate(format string, args ...any) {
	t.result.Violations = append(t.result.Violations, fmt.Sprintf(format, args...))
}

// Sayf tells how it goes.
func (t *Trial) Sayf(format string, args ...any) { t.cluster.Sayf(format, args...) }

// Servers returns the servers that the trial works with: of one node each, or of
// three each when t.HA is set.
func (t *Trial) Servers() (*servers.Set, error) {
	if t.set != nil {
		return t.set, nil
	}
	topology := ""
	if t.HA {
		topology = "ha"
	}
	s, err := t.Lab.servers(topology)
	t.set = s
	return s, err
}

// Start starts a cluster with load on it, and waits until it works. A cluster
// that the trial had before is judged and ended.
func (t *Trial) Start(ctx context.Context, o rig.Options, l load.Config) (*rig.Cluster, error) {
	if err := t.finish(ctx); err != nil {
		return nil, err
	}
	set, err := t.Servers()
	if err != nil {
		return nil, err
	}
	t.parts++
	o.Servers, o.Say, o.Dir = set, t.Lab.Say, filepath.Join(t.dir, fmt.Sprintf("cluster-%d", t.parts))
	c, err := rig.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	t.cluster = c
	if t.base = nil; t.Lab.Slack == 0 && o.Apart == "" { // a short run has no time for it
		if t.base, err = t.warm(ctx, c, l); err != nil {
			return nil, err
		}
	}
	l.Seed = t.Seed
	t.flows = load.Flows(l)
	if err := c.Register(ctx, t.flows); err != nil {
		return nil, err
	}
	return c, c.Busy(ctx, 60*time.Second, t.flows, 1)
}

// healWithin is how long everything may take to end after the last fault.
const healWithin = 30 * time.Second

// finish heals, judges and ends the trial's cluster.
func (t *Trial) finish(ctx context.Context) error {
	c := t.cluster
	if c == nil {
		return nil
	}
	t.cluster = nil
	began := time.Now()
	if err := c.Quiesce(ctx, t.flows, healWithin); err != nil {
		t.Violate("stuck: %v", err)
	}
	t.Measure("everything ended", time.Since(began))
	v, err := c.Judge(ctx)
	if err != nil {
		t.Violate("can't be judged: %v", err)
	}
	t.result.take(v)
	c.Sayf("judged: %d cycles, %d claims, %d executions, %d of them again, %d repairs: %d violations", v.Cycles, v.Claims, v.Runs, v.Again, v.Repairs, len(v.Violations))
	for _, x := range v.Violations[:min(5, len(v.Violations))] {
		c.Sayf("  ! %s", clip(x, 300))
	}
	if t.base != nil && len(t.result.Violations) == 0 { // else the keys are evidence
		t.atRest(ctx, c, t.base)
	}
	if len(t.result.Violations) > 0 {
		if err := c.Keep(ctx); err != nil {
			t.Violate("evidence is not whole: %v", err)
		}
	}
	return c.Close()
}

// abandon ends the cluster of a trial that failed.
func (t *Trial) abandon(ctx context.Context) {
	if c := t.cluster; c != nil {
		t.cluster = nil
		if err := c.Keep(ctx); err != nil {
			t.Violate("evidence is not whole: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Violate("end cluster: %v", err)
		}
	}
}

// between draws a duration.
func (t *Trial) between(from, to time.Duration) time.Duration {
	return from + time.Duration(t.Rand.Int64N(int64(to-from)+1))
}

// RunRow runs a row once.
func RunRow(ctx context.Context, lab *Lab, r Row, n int, seed uint64) *Result {
	began := time.Now()
	t := &Trial{Lab: lab, N: n, Seed: seed, Rand: rand.New(rand.NewPCG(seed, 0xc4a05)), dir: filepath.Join(lab.Evidence, r.ID),
		result: &Result{Row: r.ID, Title: r.Title, Seed: seed, Asked: n}}
	err := os.MkdirAll(t.dir, 0o755)
	if err == nil {
		err = r.Run(ctx, t)
	}
	if err == nil {
		err = t.finish(ctx)
	}
	if err != nil {
		t.Violate("%v", err)
		t.abandon(ctx)
	}
	t.result.close(time.Since(began))
	if t.result.OK {
		_ = os.RemoveAll(t.dir) // nobody needs the evidence of a clean run
	} else {
		t.result.Evidence = t.dir
		if err := t.result.write(filepath.Join(t.dir, "result.json")); err != nil {
			_, _ = fmt.Fprintln(lab.Say, err)
		}
		lab.discard(t.set) // servers that somebody may still be wrong about
	}
	return t.result
}
