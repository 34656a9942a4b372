package chaos

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
)

// baseline is what a cluster held before anything was done to it, after flows like those
// of the trial had run, ended and been removed.
type baseline struct {
	keys  map[string]bool // of Redis
	parts rig.Holdings
}

// restWithin is how long a cluster at rest may take to give back what it held: idle
// HTTP connections are kept for 30 s, goroutines of a rush for 20.
const restWithin = 45 * time.Second

// warm runs flows like those of the trial for a few cycles, so that connections are
// open and caches full, removes them, and measures the baseline.
func (t *Trial) warm(ctx context.Context, c *rig.Cluster, l load.Config) (b *baseline, err error) {
	l.Prefix, l.Seed = "warm-", t.Seed
	flows := load.Flows(l)
	if err := c.Register(ctx, flows); err != nil {
		return nil, err
	}
	if err := c.Busy(ctx, 60*time.Second, flows, 2); err != nil {
		return nil, err
	}
	if err := c.Quiesce(ctx, flows, healWithin); err != nil {
		return nil, fmt.Errorf("before any fault: %w", err)
	}
	if err := c.Remove(ctx, healWithin); err != nil {
		return nil, err
	}
	b = &baseline{}
	err = rig.Await(ctx, healWithin, "removal of the first flows", func() (bool, string) {
		if b.keys, err = c.Keys(ctx); err != nil {
			return false, err.Error()
		}
		for k := range b.keys {
			if strings.Contains(k, ":flow:") {
				return false, k
			}
		}
		return true, ""
	})
	if err != nil {
		return nil, err
	}
	b.parts, err = c.Holdings(ctx)
	return b, err
}

// atRest removes every flow, and demands that keys, goroutines, descriptors and memory
// come back to the baseline.
func (t *Trial) atRest(ctx context.Context, c *rig.Cluster, b *baseline) {
	if err := c.Remove(ctx, healWithin); err != nil {
		t.Violate("back to baseline: %v", err)
		return
	}
	began := time.Now()
	var left []string
	err := rig.Await(ctx, healWithin, "removal of all keys of flows", func() (bool, string) {
		now, err := c.Keys(ctx)
		if err != nil {
			return false, err.Error()
		}
		maps.DeleteFunc(now, func(k string, _ bool) bool { // those of fixed names, as of counters, are few
			return b.keys[k] || strings.Count(k, ":") == 1
		})
		left = slices.Sorted(maps.Keys(now))
		return len(left) <= len(b.keys)/20, fmt.Sprintf("%d keys beside the baseline's %d: %q", len(left), len(b.keys), left[:min(10, len(left))])
	})
	if err != nil {
		t.Violate("back to baseline: %v", err)
	}
	var last rig.Holdings
	before := ""
	err = rig.Await(ctx, restWithin, "return to the baseline", func() (bool, string) {
		now, err := c.Holdings(ctx)
		if err != nil {
			return false, err.Error()
		}
		last = now
		over := now.Over(b.parts)
		if len(over) > 0 {
			if said := fmt.Sprint(over); said != before {
				c.Sayf("not at rest yet: %s", said)
				before = said
			}
			_ = rig.Pause(ctx, time.Second) // a look costs collections
		}
		return len(over) == 0, fmt.Sprint(over)
	})
	if err != nil {
		t.Violate("back to baseline: %v", err)
		if err := c.KeepProfiles(ctx); err != nil {
			t.Violate("evidence is not whole: %v", err)
		}
	}
	t.Measure("back to baseline", time.Since(began))
	c.Sayf("baseline: %d keys; %s", len(b.keys), b.parts)
	c.Sayf("at rest:  %d keys more %q; %s", len(left), left, last)
}
