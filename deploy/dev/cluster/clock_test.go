package cluster

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/clockshim"
	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/deploy/dev/procs"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// ownRedis starts a Redis whose clock can be set.
func ownRedis(t *testing.T) (url string, redis *process, clock *clockshim.Clock) {
	t.Helper()
	if system == nil {
		t.Skip("no cluster is asked for")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("the clock shim needs gcc")
	}
	dir := t.TempDir()
	clock, err := clockshim.New(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(address(t))
	if err != nil {
		t.Fatal(err)
	}
	redis = &process{procs.Process{Name: "redis", Path: binary, Env: clock.Env(), Log: filepath.Join(dir, "redis.log"),
		Args: []string{"--port", port, "--bind", "127.0.0.1", "--dir", data, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec"}}}
	redis.start(t)
	t.Cleanup(redis.Stop)
	return "redis://127.0.0.1:" + port + "/0", redis, clock
}

// TestTheClockOfRedisIsSet puts the clock of Redis's machine off by an hour, both
// ways, also while Redis is down: work goes on as if nothing had happened.
func TestTheClockOfRedisIsSet(t *testing.T) {
	url, redis, clock := ownRedis(t)
	c := start(t, setup{redis: url, faults: true})
	soon := chain("soon", 200*time.Millisecond)
	soon.Timeout = "30s" // far longer than a cycle, far shorter than the jumps
	c.register(t, soon, flaky("flaky", 300*time.Millisecond), diamond("diamond", 300*time.Millisecond))
	c.progress(t, 20*time.Second, 3)
	set := func(what string, off time.Duration, restart bool) {
		t.Helper()
		skip := len(c.read())
		if restart {
			redis.kill(t)
		}
		if err := clock.Set(off); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if restart {
			redis.start(t)
			c.until(t, 20*time.Second, "answer of Redis", func() (bool, string) { err := c.ledger.Ping(c.ctx); return err == nil, fmt.Sprint(err) })
			c.reread()
			skip = min(skip, len(c.journal))
			began = time.Now()
		}
		c.entry(t, 20*time.Second, skip, "slot after "+what, func(r ledger.Record) bool { return r.Op == "cycle_start" })
		first := time.Since(began)
		c.entry(t, 20*time.Second, skip, "end of a cycle after "+what, func(r ledger.Record) bool { return r.Op == "cycle_end" })
		if c.progress(t, 20*time.Second, 4); t.Failed() {
			return
		}
		took := time.Since(began)
		retries, ends := 0, 0
		for _, r := range c.read()[skip:] {
			switch {
			case r.Op == "cycle_end" && r.Detail != "completed":
				t.Errorf("after %s: cycle %s/%d ended %s", what, r.Flow, r.Cycle, r.Detail)
			case r.Op == "expire" && !restart:
				t.Errorf("after %s: %s is revoked: %s", what, r.Attempt, r.Detail)
			case r.Op == "retry_later":
				retries++
			case r.Op == "cycle_end":
				ends++
			}
		}
		t.Logf("%s: first slot after %s, four more cycles of each flow after %s; %d retries in %d cycles", what, first.Round(time.Millisecond), took.Round(time.Millisecond), retries, ends)
		if first > time.Second && !restart {
			t.Errorf("after %s the first slot came after %s", what, first)
		}
		// Two failures are the flaky node's, of one cycle in three or so.
		if retries > 2*ends+20 {
			t.Errorf("after %s: %d retries in %d cycles", what, retries, ends)
		}
	}
	set("an hour forward", time.Hour, false)
	set("back again", 0, false)
	set("an hour back", -time.Hour, false)
	set("two hours forward", time.Hour, false)
	leader, _ := c.leader(t)
	leader.kill(t)
	set("an hour back as the leader dies", 0, false)
	leader.start(t)
	c.whole(t)
	set("restarted an hour ahead", time.Hour, true)
	c.settled(t, 20*time.Second)
	c.judge(t, histcheck.Evidence{RedisLost: true})
}
