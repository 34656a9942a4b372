package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
)

// redisAway takes Redis away for many leases: no worker that lives loses a claim.
func redisAway(ctx context.Context, t *Trial) error {
	t.Limit("dispatch after Redis answers", 0, 3*time.Second, 0)
	c, err := t.Start(ctx, rig.Options{}, load.Config{NodeTime: time.Second})
	if err != nil {
		return err
	}
	if _, err := t.set.Ctl("redis-cli", "config", "set", "appendfsync", "always"); err != nil {
		return err
	}
	for i := range t.N {
		away := 6 * lease
		if i%5 == 4 {
			away = time.Minute
		}
		if err := t.set.Do("stop", "redis"); err != nil {
			return err
		}
		t.Faults(1)
		if err := rig.Pause(ctx, away); err != nil {
			return err
		}
		if err := t.set.Do("start", "redis"); err != nil {
			return err
		}
		took, err := back(ctx, t, c, "dispatch after Redis answers")
		if err != nil {
			return err
		}
		t.Sayf("%d/%d Redis away for %s: dispatch %s after it answers", i+1, t.N, away, ms(took))
		if err := c.Busy(ctx, 60*time.Second, t.flows, 1); err != nil {
			return err
		}
	}
	if n := rig.Count(c.Reread(ctx), 0, "expire"); n > 0 {
		t.Violate("%d claims of live workers were revoked", n)
	}
	return nil
}

// redisEmptied takes everything from Redis: flows come back from etcd and tick on.
func redisEmptied(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{}, load.Config{})
	if err != nil {
		return err
	}
	c.RedisLost = true
	for i := range t.N {
		if err := rig.Pause(ctx, t.between(time.Second, 3*time.Second)); err != nil {
			return err
		}
		if _, err := t.set.Ctl("redis-cli", "flushall"); err != nil {
			return err
		}
		t.Faults(1)
		c.Emptied()
		at := time.Now()
		if err := c.Busy(ctx, 60*time.Second, t.flows, 1); err != nil {
			return err
		}
		t.Measure("every flow ended a cycle", time.Since(at))
		t.Sayf("%d/%d emptied: every flow ended a cycle after %s", i+1, t.N, ms(time.Since(at)))
	}
	return nil
}

// redisFull leaves Redis no memory, then no disk.
func redisFull(ctx context.Context, t *Trial) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("a small disk can be mounted by root only")
	}
	set, err := t.Servers()
	if err != nil {
		return err
	}
	unmount, err := smallDisk(t)
	if err != nil {
		return err
	}
	defer unmount()
	c, err := t.Start(ctx, rig.Options{}, load.Config{})
	if err != nil {
		return err
	}
	filler := filepath.Join(set.Folder(), "redis", "appendonlydir", "filler")
	for i := range t.N {
		how := []string{"memory", "disk"}[(i+int(t.Seed))%2]
		switch how {
		case "memory":
			if _, err := set.Ctl("redis-cli", "config", "set", "maxmemory", "1mb"); err != nil {
				return err
			}
		case "disk":
			if err := fill(filler); err != nil {
				return err
			}
		}
		t.Faults(1)
		if err := rig.Pause(ctx, t.between(2*time.Second, 6*time.Second)); err != nil {
			return err
		}
		switch how {
		case "memory":
			if _, err := set.Ctl("redis-cli", "config", "set", "maxmemory", "0"); err != nil {
				return err
			}
		case "disk":
			if err := os.Remove(filler); err != nil {
				return fmt.Errorf("free the disk: %w", err)
			}
			// One that syncs every write has ended.
			if err := set.Do("start", "redis"); err != nil {
				return err
			}
		}
		at := time.Now()
		if err := c.Busy(ctx, 60*time.Second, t.flows, 1); err != nil {
			return fmt.Errorf("after a full %s: %w", how, err)
		}
		t.Measure("every flow ended a cycle", time.Since(at))
		t.Sayf("%d/%d %s was full: every flow ended a cycle after %s", i+1, t.N, how, ms(time.Since(at)))
	}
	if n := rig.Count(c.Reread(ctx), 0, "expire"); n > 0 {
		t.Violate("%d claims of live workers were revoked", n)
	}
	return t.finish(ctx)
}

// diskSize is that of the disk that is filled up.
const diskSize = "64m"

// smallDisk puts Redis's file on a small disk of its own.
func smallDisk(t *Trial) (unmount func(), err error) {
	dir := filepath.Join(t.set.Folder(), "redis", "appendonlydir")
	if err := t.set.Do("stop", "redis"); err != nil {
		return nil, err
	}
	if err := os.Rename(dir, dir+".before"); err != nil {
		return nil, fmt.Errorf("small disk: %w", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("small disk: %w", err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+diskSize, "tmpfs", dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("small disk: %w: %s", err, out)
	}
	if err := os.CopyFS(dir, os.DirFS(dir+".before")); err != nil {
		return nil, fmt.Errorf("small disk: %w", err)
	}
	return func() {
		// The servers are thrown away: nobody else shall work on this disk.
		t.Lab.discard(t.set)
		t.set = nil
	}, t.set.Do("start", "redis")
}

// fill writes until the disk is full.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	for buf := make([]byte, 1<<16); err == nil; {
		_, err = f.Write(buf)
	}
	return f.Close()
}
