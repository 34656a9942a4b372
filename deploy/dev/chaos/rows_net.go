package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/deploy/dev/netns"
)

// silence is how long after the leader's last packet another one has to offer:
// its lease may have been renewed just before, and etcd looks for dead ones every
// half second.
const silence = ttl + 500*time.Millisecond

// packetsLost takes the network of one process away, of a coordinator in the first
// half of the faults and of a worker in the second. Every other time that it is a
// coordinator's, that one leads.
func packetsLost(ctx context.Context, t *Trial) error {
	t.Limit("next dispatch", silence, ttl+2*time.Second, 0)
	for part, who := range []string{"coordinator-1", "worker-1"} {
		n := (t.N + 1 - part) / 2
		if n == 0 {
			continue
		}
		c, err := t.Start(ctx, rig.Options{Coordinators: 3, Apart: who}, load.Config{Fast: 4})
		if err != nil {
			return err
		}
		for i := range n {
			if err := c.Whole(ctx, healWithin); err != nil {
				return err
			}
			if err := t.loseOnce(ctx, c, i, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// loseOnce loses packets once and demands that everything goes on, meanwhile and
// afterwards.
func (t *Trial) loseOnce(ctx context.Context, c *rig.Cluster, i, n int) error {
	loss := []netns.Loss{netns.Both, netns.Out, netns.In, netns.Down}[(i+int(t.Seed))%4]
	if c.Apart == c.Coordinators[0].Name && i%2 == 0 {
		loss = []netns.Loss{netns.Both, netns.Out, netns.Down}[(i/2+int(t.Seed))%3] // one that hears may go on for as long as it is heard
		t.makeLeader(ctx, c, c.Coordinators[0])
	}
	leader, epoch, err := c.Leader(ctx)
	if err != nil {
		return err
	}
	skip, at := len(c.Read(ctx)), time.Now()
	if err := c.Net.Lose(loss); err != nil {
		return errors.Join(err, c.Net.Heal())
	}
	t.Faults(1)
	what := fmt.Sprintf("%d/%d packets of %s lost, %s", i+1, n, c.Apart, loss)
	if leader.Name == c.Apart {
		next, err := c.Entry(ctx, healWithin, skip, "offer by the next leader", by("dispatch", epoch))
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", what, err), c.Net.Heal())
		}
		t.Measure("next dispatch", next.At.Sub(at))
		what += ": next dispatch after " + ms(next.At.Sub(at))
	}
	err = rig.Pause(ctx, t.between(time.Second, 6*time.Second))
	if err := errors.Join(err, c.Net.Heal()); err != nil {
		return err
	}
	healed := time.Now()
	if err := errors.Join(c.Whole(ctx, healWithin), c.Busy(ctx, healWithin, t.flows, 1)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	t.Measure("whole again", time.Since(healed))
	t.Sayf("%s; whole again %s after it healed", what, ms(time.Since(healed)))
	return nil
}
