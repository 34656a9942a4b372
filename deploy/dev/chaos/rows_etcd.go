package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// etcdRebuilt gives the coordinators an etcd that knows old things, or nothing:
// whose flows were deleted stay deleted, those that came since are there, and
// everything ticks on.
func etcdRebuilt(ctx context.Context, t *Trial) error {
	t.Limit("flows restored", 0, 0, ttl+10*time.Second)
	c, err := t.Start(ctx, rig.Options{}, load.Config{Flows: 10})
	if err != nil {
		return err
	}
	snapshot := filepath.Join(t.dir, "snapshot")
	doomed := load.Flows(load.Config{Seed: t.Seed + 1, Prefix: "doomed-", Flows: 2 * t.N, Fast: -1, Once: -1})
	for i := range t.N {
		if err := c.Whole(ctx, healWithin); err != nil {
			return err
		}
		gone, young := doomed[2*i], doomed[2*i+1]
		if _, err := c.API.Register(ctx, gone.Text(), client.RegisterOptions{}); err != nil {
			return fmt.Errorf("register %s: %w", gone.ID, err)
		}
		if _, err := t.set.Ctl("etcdctl", "snapshot", "save", snapshot); err != nil {
			return err
		}
		if err := c.API.DeleteFlow(ctx, gone.ID); err != nil {
			return fmt.Errorf("delete %s: %w", gone.ID, err)
		}
		if _, err := c.API.Register(ctx, young.Text(), client.RegisterOptions{}); err != nil {
			return fmt.Errorf("register %s: %w", young.ID, err)
		}
		if err := rig.Pause(ctx, t.between(time.Second, 3*time.Second)); err != nil {
			return err
		}
		before, err := flowNames(ctx, c)
		if err != nil {
			return err
		}
		how := "rebuilt empty"
		if (i+int(t.Seed))%2 == 0 {
			how = "restored from an older snapshot"
		}
		told, err := c.Ledger.Recoveries(ctx)
		if err != nil {
			return fmt.Errorf("recoveries: %w", err)
		}
		if err := t.rebuild(how == "rebuilt empty", snapshot); err != nil {
			return err
		}
		t.Faults(1)
		up := time.Now()
		// The leader may stay: a young snapshot has its candidacy.
		err = rig.Await(ctx, 60*time.Second, "recovery", func() (bool, string) {
			now, err := c.Ledger.Recoveries(ctx)
			return err == nil && slices.ContainsFunc(now, func(r ledger.Recovery) bool { return !slices.Contains(told, r) }), fmt.Sprint(now, err)
		})
		if err != nil {
			return fmt.Errorf("etcd %s: %w", how, err)
		}
		t.Measure("flows restored", time.Since(up))
		if err := c.Whole(ctx, healWithin); err != nil {
			return fmt.Errorf("etcd %s: %w", how, err)
		}
		if err := c.Busy(ctx, 60*time.Second, t.flows, 1); err != nil {
			return fmt.Errorf("etcd %s: %w", how, err)
		}
		err = rig.Await(ctx, healWithin, "flows as they were", func() (bool, string) {
			now, err := flowNames(ctx, c)
			return err == nil && slices.Equal(before, now), fmt.Sprintf("%v, were %v: %v", now, before, err)
		})
		if err != nil {
			t.Violate("etcd %s: %v", how, err)
		}
		t.Sayf("%d/%d etcd %s: every flow ended a cycle %s after it answers", i+1, t.N, how, ms(time.Since(up)))
	}
	return t.noGhosts(ctx, c, doomed)
}

func flowNames(ctx context.Context, c *rig.Cluster) (out []string, err error) {
	flows, err := c.API.Flows(ctx)
	if err != nil {
		return nil, fmt.Errorf("flows: %w", err)
	}
	for _, f := range flows {
		out = append(out, fmt.Sprintf("%s#%d", f.FlowID, f.Revision))
	}
	slices.Sort(out)
	return out, nil
}

// rebuild puts other data in place of etcd's.
func (t *Trial) rebuild(empty bool, snapshot string) error {
	if err := t.set.Do("stop", "etcd"); err != nil {
		return err
	}
	folder := filepath.Join(t.set.Folder(), "etcd")
	data := filepath.Join(folder, "data")
	if err := os.RemoveAll(data); err != nil {
		return fmt.Errorf("rebuild etcd: %w", err)
	}
	if !empty {
		text, err := os.ReadFile(filepath.Join(folder, "ports"))
		if err != nil {
			return fmt.Errorf("rebuild etcd: %w", err)
		}
		ports := strings.Fields(string(text))
		if len(ports) < 2 {
			return fmt.Errorf("rebuild etcd: ports are %q", text)
		}
		peer := "http://127.0.0.1:" + ports[1]
		if _, err := t.set.Ctl("etcdctl", "snapshot", "restore", snapshot, "--name", "etcd", "--data-dir", data,
			"--initial-cluster", "etcd="+peer, "--initial-advertise-peer-urls", peer); err != nil {
			return err
		}
	}
	return t.set.Do("start", "etcd")
}
