package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	text := "77 (a) b (c)) S 12 77 77 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 5 0 8812 1 2 3"
	got, ok := parseStat(text)
	want := stat{parent: 12, used: 1270 * time.Millisecond, began: "8812"}
	if !ok || got != want {
		t.Errorf("got %+v, %v; want %+v", got, ok, want)
	}
	for _, bad := range []string{"", "77 (a) S 12", "77 (a) S 1 2 3 4 5 6 7 8 9 10 x 1 1 1 1 1 1 1 1"} {
		if _, ok := parseStat(bad); ok {
			t.Errorf("%q is read", bad)
		}
	}
}

// folder makes a cluster's folder whose processes are all this one.
func folder(t *testing.T, began string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pid := fmt.Sprintf("%d %s\n", os.Getpid(), began)
	write("env", "export STATION_SERVER=http://127.0.0.1:1\n")
	write("servers/env", "export STATION_TEST_REDIS_URL=redis://127.0.0.1:2\nSTATION_TEST_RABBITMQ_URL='amqp://127.0.0.1:3'\n")
	for _, name := range []string{"coordinator-1", "worker-1", "worker-2", "servers/redis", "servers/rabbitmq-2"} {
		write(name+"/pid", pid)
	}
	return dir
}

func TestFolder(t *testing.T) {
	self, ok := readStat(os.Getpid())
	if !ok {
		t.Skip("there is no /proc here")
	}
	c, err := Open(folder(t, self.began))
	if err != nil {
		t.Fatal(err)
	}
	for want, ask := range map[string]func() (string, error){"http://127.0.0.1:1": c.Servers, "redis://127.0.0.1:2": c.Redis, "amqp://127.0.0.1:3": c.Rabbit} {
		if got, err := ask(); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	servers, product, err := c.Processes()
	if err != nil {
		t.Fatal(err)
	}
	pid := os.Getpid()
	if diff := cmp.Diff([]Process{{"rabbitmq", pid}, {"redis", pid}}, servers); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Process{{"coordinator", pid}, {"worker", pid}, {"worker", pid}}, product); diff != "" {
		t.Errorf("product (-want +got):\n%s", diff)
	}
	before := CPU(product)
	for began := time.Now(); time.Since(began) < 30*time.Millisecond; { // work that is seen
	}
	after := CPU(product)
	if used := after["coordinator"] - before["coordinator"]; used <= 0 {
		t.Errorf("a busy process used %s", used)
	}
	if used := after["worker"] - before["worker"]; used < after["coordinator"]-before["coordinator"] {
		t.Errorf("two workers used %s, less than one coordinator", used)
	}
}

func TestFoldersThatAreNone(t *testing.T) {
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "scripts/cluster up") {
		t.Errorf("an empty folder: %v", err)
	}
	c, err := Open(folder(t, "1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Processes(); err == nil || !strings.Contains(err.Error(), "no servers") {
		t.Errorf("a pid that another process has: %v", err)
	}
}

// TestAClusterThatDoesNotStart leaves nothing behind, whether it can be ended or was never there.
func TestAClusterThatDoesNotStart(t *testing.T) {
	for name, lines := range map[string]string{"up fails": `[ "$1" = down ]`, "nothing is there": "exit 0"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			script := filepath.Join(t.TempDir(), "cluster")
			if err := os.WriteFile(script, []byte("#!/bin/sh\n"+lines+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			if own, err := Start(t.Context(), script, Settings{Concurrency: 1, Queue: "transient"}); err == nil || own != nil {
				t.Errorf("got %v, %v", own, err)
			}
			if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
