package chaos

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/deploy/dev/procs"
)

// pointPatience is how long a part may take to come by its point.
const pointPatience = 6 * time.Second

// leastPoints is how many points have to be reached for a run to prove something.
const leastPoints = 20

// crashPoints ends a part at each point in turn, N times each. A point that the
// run does not come by in time is told.
func crashPoints(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{Coordinator: []string{"--keep-detailed", "3"}}, load.Config{})
	if err != nil {
		return err
	}
	var missed []string
	reached := 0
	for _, points := range [][]string{coordinatorPoints, workerPoints} {
		for _, point := range points {
			hit := false
			for range max(1, t.N/leastPoints) {
				ok, err := t.crashAt(ctx, c, point, slices.Contains(workerPoints, point))
				if err != nil {
					return fmt.Errorf("%s: %w", point, err)
				}
				hit = hit || ok
				t.Sayf("%s: reached %v", point, ok)
			}
			if hit {
				reached++
				t.Faults(1)
			} else {
				missed = append(missed, point)
			}
		}
	}
	t.Sayf("%d points reached; not come by: %v", reached, missed)
	if reached < leastPoints {
		t.Violate("only %d points were reached", reached)
	}
	t.result.Asked = reached
	return nil
}

// crashAt starts a part so that it ends at a point, and reports whether it did.
func (t *Trial) crashAt(ctx context.Context, c *rig.Cluster, point string, worker bool) (bool, error) {
	if err := c.Whole(ctx, healWithin); err != nil {
		return false, err
	}
	p := c.Workers[t.Rand.IntN(len(c.Workers))]
	if !worker {
		leader, _, err := c.Leader(ctx)
		if err != nil {
			return false, err
		}
		p = leader
	}
	env := slices.Clone(p.Env)
	defer func() { p.Env = env }()
	if err := p.Kill(); err != nil {
		return false, err
	}
	p.Env = append(slices.Clone(env), "STATION_FAILPOINT="+point)
	if err := p.Start(); err != nil {
		return false, err
	}
	if !worker {
		t.makeLeader(ctx, c, p)
	}
	code, err := p.Exit(pointPatience)
	if err != nil && point == "before-election_leave" || err != nil && point == "after-election_leave" {
		if err := p.Signal(syscall.SIGTERM); err != nil {
			return false, err
		}
		code, err = p.Exit(pointPatience)
	}
	p.Env = env
	if err != nil { // it did not come by
		if err := p.Kill(); err != nil {
			return false, err
		}
	} else if code != 137 && code != 0 {
		t.Violate("%s ends with code %d at %s", p.Name, code, point)
	}
	if err := p.Start(); err != nil {
		return false, err
	}
	if err := c.Busy(ctx, healWithin, t.flows[:1], 1); err != nil {
		return false, err
	}
	return err == nil && code == 137, nil
}

// makeLeader hands the leadership on until p has it. It may end on the way, so no
// error is one.
func (t *Trial) makeLeader(ctx context.Context, c *rig.Cluster, p *procs.Process) {
	deadline := time.Now().Add(10 * time.Second)
	for p.Running() && time.Now().Before(deadline) {
		s, err := c.API.Cluster(ctx)
		if err == nil && s.Leader != nil && s.Leader.ID == p.Name {
			return
		}
		if err == nil && len(s.Members) == len(c.Coordinators) {
			_, _ = c.API.TransferLeader(ctx, false)
		}
		if rig.Pause(ctx, 50*time.Millisecond) != nil {
			return
		}
	}
}
