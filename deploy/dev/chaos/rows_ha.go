package chaos

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// nodeLost takes one of three servers of a kind away, the leading one in every
// other round: by kill -9, by SIGSTOP, or in good order.
func nodeLost(kind string, limit time.Duration) func(ctx context.Context, t *Trial) error {
	return func(ctx context.Context, t *Trial) error {
		t.HA = true
		t.Limit("dispatch after the loss", 0, 0, limit)
		c, err := t.Start(ctx, rig.Options{}, load.Config{Flows: 7, Fast: 2})
		if err != nil {
			return err
		}
		c.RedisLost = kind == "redis" // a replica may lag behind the primary that is lost
		if err := rig.Pause(ctx, 6*time.Second); err != nil {
			return err // queues are young; see rabbitRestarted
		}
		nodes := t.set.Nodes(kind + "-")
		for i := range t.N {
			name := nodes[t.Rand.IntN(len(nodes))]
			if i%2 == 0 {
				err := rig.Await(ctx, 60*time.Second, "leading "+kind, func() (bool, string) {
					var err error
					name, err = t.set.Leads(kind)
					return err == nil, fmt.Sprint(err) // one that just came back may not answer yet
				})
				if err != nil {
					return err
				}
			}
			how := []string{"kill", "SIGSTOP", "stop"}[(i+int(t.Seed))%3]
			if kind == "rabbitmq" && how == "SIGSTOP" {
				how = "kill" // net_ticktime is a minute: longer than a row has patience
			}
			at := time.Now()
			if err := lose(t, name, how); err != nil {
				return err
			}
			t.Faults(1)
			took, err := goesOn(ctx, t, c, at)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", how, name, err)
			}
			t.Measure("dispatch after the loss", took)
			if err := c.Busy(ctx, 60*time.Second, t.flows, 1); err != nil {
				return fmt.Errorf("without %s: %w", name, err)
			}
			if err := regain(t, name, how); err != nil {
				return err
			}
			if kind == "redis" {
				c.Reread(ctx)
			}
			t.Sayf("%d/%d %s of %s: dispatch after %s, every flow goes on without it", i+1, t.N, how, name, ms(took))
			if err := c.Busy(ctx, 60*time.Second, t.flows, 1); err != nil {
				return err
			}
			if err := rejoined(ctx, t, kind); err != nil {
				return err
			}
		}
		return nil
	}
}

func lose(t *Trial, name, how string) error {
	if how != "SIGSTOP" {
		return t.set.Do(how, name)
	}
	pid, err := t.set.Pid(name)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGSTOP)
}

func regain(t *Trial, name, how string) error {
	if how != "SIGSTOP" {
		return t.set.Do("start", name)
	}
	pid, err := t.set.Pid(name)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGCONT)
}

// goesOn waits for an offer some time after the loss that no offer of the last
// moment before can be taken for, and tells the longest time without one.
func goesOn(ctx context.Context, t *Trial, c *rig.Cluster, at time.Time) (time.Duration, error) {
	var longest time.Duration
	err := rig.Await(ctx, 60*time.Second, "offers in a row after the loss", func() (bool, string) {
		all := c.Reread(ctx)
		last, row := at, 0
		longest = 0
		for _, r := range all {
			if r.Op == "dispatch" && r.At.After(at) {
				longest, last = max(longest, r.At.Sub(last)), r.At
				if row++; r.At.Sub(at) > 4*time.Second && row > 10 {
					return true, ""
				}
			}
		}
		return false, fmt.Sprintf("%d offers, the last %s after it", row, last.Sub(at))
	})
	return longest, err
}

// rejoined waits until the servers of a kind are three again: the next loss must
// not be the second.
func rejoined(ctx context.Context, t *Trial, kind string) error {
	return rig.Await(ctx, 90*time.Second, "three servers of "+kind, func() (bool, string) {
		switch kind {
		case "etcd":
			out, err := t.set.Ctl("etcdctl", "endpoint", "status")
			return err == nil && strings.Count(out, "\n") >= 1, out
		case "redis":
			leads, err := t.set.Leads("redis")
			if err != nil {
				return false, err.Error()
			}
			out, err := t.set.Ctl("redis-cli@"+leads, "info", "replication")
			return err == nil && strings.Count(out, "state=online") == 2, out
		}
		out, err := t.set.Ctl("rabbitmqctl", "--quiet", "cluster_status")
		return err == nil && running3(out), "not three running nodes"
	})
}

func running3(status string) bool {
	_, rest, _ := strings.Cut(status, "Running Nodes")
	rest, _, _ = strings.Cut(rest, "Versions")
	return strings.Count(rest, "@localhost") == 3
}

// etcdAway takes the only etcd away, or its quorum, for longer than the leader's
// lease: nobody can be elected, so the leader goes on.
func etcdAway(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{}, load.Config{})
	if err != nil {
		return err
	}
	for i := range t.N {
		if err := c.Whole(ctx, healWithin); err != nil {
			return err
		}
		how := []string{"kill", "SIGSTOP", "stop"}[(i+int(t.Seed))%3]
		skip := len(c.Read(ctx))
		if err := lose(t, "etcd", how); err != nil {
			return err
		}
		t.Faults(1)
		quiet := time.Now().Add(ttl + time.Second)
		_, err := c.Entry(ctx, healWithin, skip, "slots without etcd", func(r ledger.Record) bool { return r.Op == "cycle_start" && r.At.After(quiet) })
		if err != nil {
			return err
		}
		if err := regain(t, "etcd", how); err != nil {
			return err
		}
		t.Sayf("%d/%d etcd %s: slots go on without it", i+1, t.N, how)
		if err := c.Busy(ctx, healWithin, t.flows, 1); err != nil {
			return err
		}
	}
	return c.Whole(ctx, healWithin)
}

// candidacyLost deletes election keys and revokes their leases, under the leader
// and under who waits.
func candidacyLost(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{Coordinators: 3}, load.Config{Fast: 2})
	if err != nil {
		return err
	}
	for i := range t.N {
		if err := c.Whole(ctx, healWithin); err != nil {
			return err
		}
		out, err := t.set.Ctl("etcdctl", "get", "--prefix", "--keys-only", "--sort-by=CREATE", c.Prefix+"/election/")
		if err != nil {
			return err
		}
		keys := strings.Fields(out)
		if len(keys) == 0 {
			return fmt.Errorf("no candidate's key under %s/election/", c.Prefix)
		}
		key := keys[t.Rand.IntN(len(keys))]
		if i%2 == 0 {
			key = keys[0]
		}
		skip := len(c.Read(ctx))
		what := "key deleted"
		if t.Rand.IntN(2) == 0 { // the key is named by its lease
			what = "lease revoked"
			_, err = t.set.Ctl("etcdctl", "lease", "revoke", key[strings.LastIndexByte(key, '/')+1:])
		} else {
			_, err = t.set.Ctl("etcdctl", "del", key)
		}
		if err != nil {
			return err
		}
		t.Faults(1)
		t.Sayf("%d/%d %s: %s", i+1, t.N, what, key)
		if err := c.Busy(ctx, healWithin, t.flows, 1); err != nil {
			return err
		}
		if n := rig.Count(c.Read(ctx), skip, "takeover"); n > 2 {
			t.Violate("%d leaderships began after one %s", n, what)
		}
	}
	return c.Whole(ctx, healWithin)
}
