package cluster

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/coordinator/bench"
)

// stationctl makes a command that knows nothing of this process's settings.
func (c *cluster) stationctl(t *testing.T, args ...string) (cmd *exec.Cmd, out, errs *bytes.Buffer) {
	t.Helper()
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	cmd = exec.CommandContext(t.Context(), filepath.Join(system.Bin, "stationctl"), append([]string{"--server", "http://" + c.address(0)}, args...)...)
	cmd.Stdout, cmd.Stderr = out, errs
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STATION_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd, out, errs
}

// address is where a coordinator's API answers.
func (c *cluster) address(i int) string {
	args := c.coordinators[i].Args
	return args[slices.Index(args, "--http-addr")+1]
}

// TestBench runs the whole command with tiny sizes, and then interrupts one: neither
// leaves anything.
func TestBench(t *testing.T) {
	t.Parallel()
	c := start(t, setup{single: true})
	t.Run("whole", c.wholeBench)
	t.Run("interrupted", c.interruptedBench)
}

func (c *cluster) wholeBench(t *testing.T) {
	picture := filepath.Join(c.dir, "bench.svg")
	cmd, out, errs := c.stationctl(t, "bench", "-o", "json", "--redis-url", c.redis, "--rabbitmq-url", c.rabbit, "--runs", "2", "--plot", picture, "--chain", "5", "--fan", "10",
		"--diamonds", "3", "--cycles", "2", "--sleeps", "6", "--sleep", "10ms", "--concurrency", "4", "--ticks", "3", "--every", "200ms", "--ticks-for", "1s", "--big", "40", "--small", "4")
	if err := cmd.Run(); err != nil {
		t.Fatalf("bench: %v\n%s", err, errs)
	}
	var rep bench.Report
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		t.Fatalf("report: %v\n%s", err, out)
	}
	if len(rep.Workloads) != len(bench.Workloads()) {
		t.Errorf("%d workloads", len(rep.Workloads))
	}
	for _, w := range rep.Workloads {
		for _, m := range w.Measures {
			if strings.Contains(m.Name, "beside") { // the floor has no such thing
				continue
			}
			if m.Floor == nil || len(m.Ours.Runs) != 2 || len(m.Floor.Runs) != 2 || m.Better == "higher" && (m.Ratio == nil || *m.Ratio <= 0) {
				t.Errorf("%s: %+v", w.Name, m)
			}
		}
		if w.Latency == nil || len(w.Latency.Ours) != 101 || len(w.Latency.Floor) != 101 {
			t.Errorf("%s has no distributions", w.Name)
		}
	}
	if b, err := os.ReadFile(picture); err != nil || strings.Count(string(b), "<polyline") != 12 {
		t.Errorf("the picture: %v\n%s", err, b)
	}
	c.nothingLeft(t)
}

func (c *cluster) interruptedBench(t *testing.T) {
	cmd, _, errs := c.stationctl(t, "bench", "--redis-url", c.redis, "--rabbitmq-url", c.rabbit, "--only", "sleep", "--sleeps", "20", "--sleep", "2s")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.until(t, 30*time.Second, "a flow of the benchmark", func() (bool, string) {
		all, err := c.api.Flows(c.ctx)
		if err != nil || len(all) == 0 {
			return false, "none yet"
		}
		return all[0].LatestCycle > 0, "no cycle yet"
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Errorf("an interrupted benchmark succeeds: %s", errs)
	}
	c.nothingLeft(t)
}

// nothingLeft holds that no flow stands, and nothing of the floor.
func (c *cluster) nothingLeft(t *testing.T) {
	t.Helper()
	if all, err := c.api.Flows(c.ctx); err != nil || len(all) > 0 {
		t.Errorf("flows are left: %v, %v", all, err)
	}
	o, err := redis.ParseURL(c.redis)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(o)
	defer func() { _ = rdb.Close() }()
	if keys, err := rdb.Keys(c.ctx, "station-floor-*").Result(); err != nil || len(keys) > 0 {
		t.Errorf("keys of the floor are left: %q, %v", keys, err)
	}
}
