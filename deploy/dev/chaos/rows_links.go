package chaos

import (
	"context"
	"errors"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/relay"
)

// linkFaults draws faults on links, as a soak does.
func linkFaults(ctx context.Context, t *Trial) error {
	s, err := Draw(t.Seed, Soak{Faults: t.N, PerPhase: t.N, NoLoss: true,
		Kinds: []string{"link-cut", "link-hole", "link-stall", "link-slow", "link-narrow", "link-cut-mid-frame", "link-reset", "part-isolated", "server-isolated"}})
	if err != nil {
		return err
	}
	return t.phase(ctx, s.Phases[0])
}

// unknownResults lets requests through and not their answers, and then breaks the
// connection: whether the call took effect is not known to the caller.
func unknownResults(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{Links: true}, load.Config{})
	if err != nil {
		return err
	}
	servers := []string{"redis", "redis", "redis", "rabbitmq", "etcd"}
	for i := range t.N {
		parts := c.Parts()
		p := parts[t.Rand.IntN(len(parts))].Name + ">" + servers[t.Rand.IntN(len(servers))]
		if _, err := c.Links.List(p); err != nil {
			p = c.Coordinators[t.Rand.IntN(len(c.Coordinators))].Name + ">etcd" // workers have no link to etcd
		}
		if err := c.Links.Fault(p, relay.Faults{Hole: relay.Down}); err != nil {
			return err
		}
		t.Faults(1)
		if err := rig.Pause(ctx, t.between(5*time.Millisecond, 60*time.Millisecond)); err != nil {
			return err
		}
		// In this order: what the hole holds is thrown away with the connection.
		if err := errors.Join(c.Links.Reset(p), c.Links.Fault(p, relay.Faults{})); err != nil {
			return err
		}
		if i%20 == 19 {
			t.Sayf("%d/%d answers lost", i+1, t.N)
		}
		if err := rig.Pause(ctx, t.between(50*time.Millisecond, 300*time.Millisecond)); err != nil {
			return err
		}
	}
	return c.Whole(ctx, healWithin)
}

// partialPartitions cuts the leader off from one other part alone. While Redis is
// up no slot may be missed for more than the time it takes to notice.
func partialPartitions(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{Links: true}, load.Config{Fast: 4})
	if err != nil {
		return err
	}
	for i := range t.N {
		if err := c.Whole(ctx, healWithin); err != nil {
			return err
		}
		leader, _, err := c.Leader(ctx)
		if err != nil {
			return err
		}
		whom := []string{"etcd", "redis", "rabbitmq", c.Workers[t.Rand.IntN(len(c.Workers))].Name}[(i+int(t.Seed))%4]
		f := relay.Faults{Cut: true}
		if t.Rand.IntN(2) == 0 {
			f = relay.Faults{Hole: []relay.Direction{relay.Up, relay.Down, relay.Both}[t.Rand.IntN(3)]}
		}
		p, lasts := leader.Name+">"+whom, t.between(2*time.Second, 8*time.Second)
		skip, at := len(c.Read(ctx)), time.Now()
		if err := c.Links.Fault(p, f); err != nil {
			return err
		}
		t.Faults(1)
		if err := rig.Pause(ctx, lasts); err != nil {
			return err
		}
		if err := c.Links.Fault(p, relay.Faults{}); err != nil {
			return err
		}
		healed := time.Now()
		next, err := c.Entry(ctx, healWithin, skip, "offer after it healed", func(r ledger.Record) bool { return r.Op == "dispatch" && r.At.After(healed) })
		if err != nil {
			return err
		}
		quiet := gap(c.Read(ctx)[skip:], at, next.At)
		t.Measure("longest time without an offer, "+kindOf(whom), quiet)
		t.Sayf("%d/%d %s for %s, %+v: longest time without an offer %s", i+1, t.N, p, ms(lasts), f, ms(quiet))
		if err := c.Busy(ctx, healWithin, t.flows, 1); err != nil {
			return err
		}
	}
	return nil
}

func kindOf(whom string) string {
	switch whom {
	case "etcd", "redis", "rabbitmq":
		return whom
	}
	return "worker"
}

// gap is the longest time between two offers.
func gap(journal []ledger.Record, from, to time.Time) (longest time.Duration) {
	last := from
	for _, r := range journal {
		if r.Op == "dispatch" && r.At.After(last) && !r.At.After(to) {
			longest, last = max(longest, r.At.Sub(last)), r.At
		}
	}
	return longest
}

// swizzle stops links one by one and heals them in another order.
func swizzle(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{Links: true}, load.Config{})
	if err != nil {
		return err
	}
	all, err := c.Links.List("")
	if err != nil {
		return err
	}
	for i := range t.N {
		picked := t.Rand.Perm(len(all))[:2+t.Rand.IntN(len(all)/2)]
		each := func(order []int, f relay.Faults) error {
			for _, k := range order {
				if err := c.Links.Fault(all[k].Name, f); err != nil {
					return err
				}
				if err := rig.Pause(ctx, t.between(20*time.Millisecond, 300*time.Millisecond)); err != nil {
					return err
				}
			}
			return nil
		}
		if err := each(picked, relay.Faults{Hole: relay.Both}); err != nil {
			return err
		}
		t.Faults(1)
		if err := rig.Pause(ctx, t.between(0, 2*time.Second)); err != nil {
			return err
		}
		t.Rand.Shuffle(len(picked), func(i, k int) { picked[i], picked[k] = picked[k], picked[i] })
		if err := each(picked, relay.Faults{}); err != nil {
			return err
		}
		at := time.Now()
		if err := errors.Join(c.Whole(ctx, healWithin), c.Busy(ctx, healWithin, t.flows, 1)); err != nil {
			return err
		}
		t.Measure("every flow went on", time.Since(at))
		t.Sayf("%d/%d %d links stopped and healed: every flow went on after %s", i+1, t.N, len(picked), ms(time.Since(at)))
	}
	return nil
}
