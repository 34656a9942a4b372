package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// back waits until Redis answers, then until the next offer, and measures that.
func back(ctx context.Context, t *Trial, c *rig.Cluster, figure string) (time.Duration, error) {
	err := rig.Await(ctx, 20*time.Second, "answer of Redis", func() (bool, string) {
		err := c.Ledger.Ping(ctx)
		return err == nil, fmt.Sprint(err)
	})
	if err != nil {
		return 0, err
	}
	// The journal's times are Redis's. The ledger's own clock stands still from five
	// seconds after Redis went away until the leader has confirmed it.
	clock, err := c.Ledger.ReadClock(ctx)
	if err != nil {
		return 0, err
	}
	now := clock.Redis
	c.Reread(ctx)
	next, err := c.Entry(ctx, 30*time.Second, 0, "offer", func(r ledger.Record) bool { return r.Op == "dispatch" && r.At.After(now) })
	if err != nil {
		return 0, err
	}
	t.Measure(figure, next.At.Sub(now))
	return next.At.Sub(now), nil
}

// redisKilled kills Redis; half of the faults with every write synced, so that
// nothing may be lost at all.
func redisKilled(ctx context.Context, t *Trial) error {
	t.Limit("dispatch after Redis answers", 0, 3*time.Second, 0)
	for part, sync := range []string{"everysec", "always"} {
		n := (t.N + 1 - part) / 2
		if n == 0 {
			continue
		}
		c, err := t.Start(ctx, rig.Options{}, load.Config{})
		if err != nil {
			return err
		}
		c.RedisLost = sync == "everysec"
		for i := range n {
			if _, err := t.set.Ctl("redis-cli", "config", "set", "appendfsync", sync); err != nil {
				return err
			}
			if err := rig.Pause(ctx, t.between(500*time.Millisecond, 2*time.Second)); err != nil {
				return err
			}
			if err := t.set.Do("kill", "redis"); err != nil {
				return err
			}
			t.Faults(1)
			if err := rig.Pause(ctx, t.between(0, time.Second)); err != nil {
				return err
			}
			if err := t.set.Do("start", "redis"); err != nil {
				return err
			}
			took, err := back(ctx, t, c, "dispatch after Redis answers")
			if err != nil {
				return err
			}
			t.Sayf("%d/%d Redis (%s) killed: dispatch %s after it answers", i+1, n, sync, ms(took))
			if err := c.Busy(ctx, 40*time.Second, t.flows, 1); err != nil {
				return err
			}
		}
		if n := rig.Count(c.Reread(ctx), 0, "expire"); n > 0 {
			t.Violate("%d claims of live workers were revoked", n)
		}
	}
	return nil
}

// redisTruncated makes Redis lose what it wrote last, and then restarts it once
// more, which is when a torn script shows.
func redisTruncated(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{}, load.Config{})
	if err != nil {
		return err
	}
	c.RedisLost = true
	for i := range t.N {
		if err := rig.Pause(ctx, t.between(time.Second, 3*time.Second)); err != nil {
			return err
		}
		from, err := aofSize(t.set.Folder())
		if err != nil {
			return err
		}
		if err := rig.Pause(ctx, t.between(100*time.Millisecond, 2*time.Second)); err != nil {
			return err
		}
		if err := t.set.Do("kill", "redis"); err != nil {
			return err
		}
		cut, err := cutAOF(t.set.Folder(), from, t.Rand)
		if err != nil {
			return err
		}
		t.Faults(1)
		for again := range 2 {
			if again > 0 {
				if err := rig.Pause(ctx, t.between(time.Second, 2*time.Second)); err != nil {
					return err
				}
				if err := t.set.Do("kill", "redis"); err != nil {
					return err
				}
			}
			if err := t.set.Do("start", "redis"); err != nil {
				return err
			}
			if _, err := back(ctx, t, c, "dispatch after Redis answers"); err != nil {
				return err
			}
		}
		t.Sayf("%d/%d Redis lost %d bytes of its file", i+1, t.N, cut)
		if err := c.Busy(ctx, 60*time.Second, t.flows, 1); err != nil {
			return err
		}
	}
	return nil
}

// aofFile is the part of the append-only file that is written now.
func aofFile(folder string) (string, error) {
	parts, err := filepath.Glob(filepath.Join(folder, "redis", "appendonlydir", "*.incr.aof"))
	if err != nil || len(parts) == 0 {
		return "", fmt.Errorf("no append-only file below %s: %w", folder, os.ErrNotExist)
	}
	slices.SortFunc(parts, func(a, b string) int { return sequence(a) - sequence(b) })
	return parts[len(parts)-1], nil
}

func sequence(name string) (n int) {
	parts := strings.Split(filepath.Base(name), ".") // appendonly.aof.N.incr.aof
	if len(parts) >= 3 {
		_, _ = fmt.Sscan(parts[2], &n)
	}
	return n
}

func aofSize(folder string) (int64, error) {
	name, err := aofFile(folder)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return 0, fmt.Errorf("append-only file: %w", err)
	}
	return info.Size(), nil
}

// cutAOF cuts the file at a random byte written since it had the size from.
func cutAOF(folder string, from int64, r *rand.Rand) (int64, error) {
	name, err := aofFile(folder)
	if err != nil {
		return 0, err
	}
	size, err := aofSize(folder)
	if err != nil {
		return 0, err
	}
	if size <= 1 {
		return 0, nil
	}
	if from >= size {
		from = 0 // it was written anew meanwhile
	}
	at := from + r.Int64N(size-from)
	if err := os.Truncate(name, at); err != nil {
		return 0, fmt.Errorf("cut append-only file: %w", err)
	}
	return size - at, nil
}

// rabbitRestarted takes RabbitMQ away in three ways.
func rabbitRestarted(ctx context.Context, t *Trial) error {
	t.Limit("dispatch after RabbitMQ answers", 0, 5*time.Second, 0)
	c, err := t.Start(ctx, rig.Options{}, load.Config{})
	if err != nil {
		return err
	}
	// A quorum queue that is younger may be lost with its server: RabbitMQ writes
	// the list of its queues late.
	if err := rig.Pause(ctx, 6*time.Second); err != nil {
		return err
	}
	for i := range t.N {
		how := []string{"kill", "stop", "app"}[(i+int(t.Seed))%3]
		switch how {
		case "app":
			if _, err := t.set.Ctl("rabbitmqctl", "--quiet", "stop_app"); err != nil {
				return err
			}
			if _, err := t.set.Ctl("rabbitmqctl", "--quiet", "start_app"); err != nil {
				return err
			}
		default:
			if err := t.set.Do(how, "rabbitmq"); err != nil {
				return err
			}
			if err := t.set.Do("start", "rabbitmq"); err != nil {
				return err
			}
		}
		t.Faults(1)
		skip, up := len(c.Read(ctx)), time.Now()
		next, err := c.Entry(ctx, 60*time.Second, skip, "offer", func(r ledger.Record) bool { return r.Op == "dispatch" && r.At.After(up) })
		if err != nil {
			return err
		}
		t.Measure("dispatch after RabbitMQ answers", next.At.Sub(up))
		t.Sayf("%d/%d RabbitMQ %s: dispatch %s after it answers", i+1, t.N, how, ms(next.At.Sub(up)))
		if err := c.Busy(ctx, 60*time.Second, t.flows, 1); err != nil {
			return err
		}
	}
	return nil
}

// present waits until a queue is there: the first offer after its deletion makes it anew.
func (t *Trial) present(ctx context.Context, queue string) error {
	return rig.Await(ctx, 20*time.Second, "queue "+queue, func() (bool, string) {
		out, err := t.set.Ctl("rabbitmqctl", "--quiet", "list_queues", "name")
		return err == nil && slices.Contains(strings.Fields(out), queue), strings.TrimSpace(out)
	})
}

// tasksLost purges or deletes the queue while tasks are in it: workers are fewer
// than the work.
func tasksLost(ctx context.Context, t *Trial) error {
	t.Limit("every cycle open at the loss ended", 0, 0, 30*time.Second)
	c, err := t.Start(ctx, rig.Options{Workers: 2, Concurrency: 6}, load.Config{Flows: 6, NodeTime: 200 * time.Millisecond})
	if err != nil {
		return err
	}
	queue := taskqueue.Queue(c.Prefix, "default")
	for i := range t.N {
		verb := []string{"purge_queue", "delete_queue"}[(i+int(t.Seed))%2]
		if err := rig.Pause(ctx, t.between(200*time.Millisecond, 2*time.Second)); err != nil {
			return err
		}
		if err := t.present(ctx, queue); err != nil {
			return err
		}
		at := time.Now()
		if out, err := t.set.Ctl("rabbitmqctl", "--quiet", verb, queue); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		t.Faults(1)
		if err := c.Settled(ctx, 60*time.Second); err != nil {
			return err
		}
		t.Measure("every cycle open at the loss ended", time.Since(at))
		t.Sayf("%d/%d %s: every cycle that was open has ended after %s", i+1, t.N, verb, ms(time.Since(at)))
	}
	return nil
}
