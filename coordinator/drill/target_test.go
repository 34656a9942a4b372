package drill

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// folder makes a cluster folder with one process, which sleeps, and a script
// that starts another one in its place.
func folder(t *testing.T, name string) (l *Local, child *exec.Cmd) {
	t.Helper()
	if _, began := state(os.Getpid()); began == "" {
		t.Skip("there is no /proc")
	}
	dir := t.TempDir()
	child = exec.Command("sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = child.Wait(); close(ended) }()
	t.Cleanup(func() { _ = child.Process.Kill(); <-ended })
	_, began := state(child.Process.Pid)
	write(t, filepath.Join(dir, "env"), "export STATION_SERVER=http://127.0.0.1:1,http://127.0.0.1:2\n", 0o600)
	write(t, filepath.Join(dir, name, "pid"), fmt.Sprintf("%d %s\n", child.Process.Pid, began), 0o600)
	script := filepath.Join(dir, "script")
	write(t, script, "#!/bin/sh\n[ \"$1 $2\" = 'start "+filepath.Base(name)+"' ] || exit 9\n[ -e \"$3/stuck\" ] || echo '1234567 99' >\"$3/"+name+"/pid\"\n", 0o700)
	l, err := NewLocal(dir, script)
	if err != nil {
		t.Fatal(err)
	}
	return l, child
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestLocalKillsAndStarts(t *testing.T) {
	for f, name := range map[Fault]string{LeaderKill: "coordinator-1", WorkerKill: "worker-1", RedisRestart: "servers/redis"} {
		l, child := folder(t, name)
		n := Names{Leader: "coordinator-1", Worker: "worker-1"}
		e, err := l.Inject(t.Context(), f, n)
		if err != nil || !strings.Contains(e.Proof, "is gone") || e.At.IsZero() {
			t.Fatalf("%s: %+v, %v", f, e, err)
		}
		if _, began := state(child.Process.Pid); began != "" {
			if s, _ := state(child.Process.Pid); s != "Z" {
				t.Errorf("%s: the process is in state %s", f, s)
			}
		}
		if err := l.Heal(t.Context(), f, n); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if _, err := l.Inject(t.Context(), f, n); err == nil || !strings.Contains(err.Error(), "does not run") {
			t.Errorf("%s of what does not run: %v", f, err)
		}
	}
}

func TestLocalStopsAndWakes(t *testing.T) {
	l, child := folder(t, "worker-1")
	n := Names{Worker: "worker-1"}
	e, err := l.Inject(t.Context(), WorkerPause, n)
	if s, _ := state(child.Process.Pid); err != nil || s != "T" || !strings.Contains(e.Proof, "is stopped") {
		t.Fatalf("state %s, %+v, %v", s, e, err)
	}
	if err := l.Heal(t.Context(), WorkerPause, n); err != nil {
		t.Fatal(err)
	}
	if s, _ := state(child.Process.Pid); s == "T" {
		t.Error("still stopped")
	}
}

func TestLocalRefuses(t *testing.T) {
	l, _ := folder(t, "coordinator-1")
	for _, name := range []string{"", "..", "../x", "coordinator-9"} {
		if _, err := l.Inject(t.Context(), LeaderKill, Names{Leader: name}); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	n := Names{Leader: "coordinator-1"}
	if _, err := l.Inject(t.Context(), LeaderKill, n); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(l.dir, "stuck"), "", 0o600)
	if err := l.Heal(t.Context(), LeaderKill, n); err == nil || !strings.Contains(err.Error(), "same as before") {
		t.Errorf("a start that does nothing: %v", err)
	}
	if s, err := l.Servers(); err != nil || s != "http://127.0.0.1:1,http://127.0.0.1:2" {
		t.Errorf("%q, %v", s, err)
	}
	if _, err := NewLocal(t.TempDir(), l.script); err == nil || !strings.Contains(err.Error(), "scripts/cluster up") {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestCommandKnowsTheNames(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	c, err := NewCommand("echo {leader} {worker} >"+out, "echo healed {leader} >>"+out)
	if err != nil {
		t.Fatal(err)
	}
	n := Names{Leader: "c-1", Worker: "w-1"}
	if e, err := c.Inject(t.Context(), WorkerKill, n); err != nil || e.At.IsZero() || e.Proof != "" {
		t.Fatalf("%+v, %v", e, err)
	}
	if err := c.Heal(t.Context(), WorkerKill, n); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(out); err != nil || string(b) != "c-1 w-1\nhealed c-1\n" {
		t.Errorf("%q, %v", b, err)
	}
	for _, bad := range []string{"", "$(x)", "a b", "-rf", "a;b"} {
		if _, err := c.Inject(t.Context(), WorkerKill, Names{Leader: bad, Worker: "w"}); err == nil {
			t.Errorf("%q is put into a command", bad)
		}
	}
	quiet, err := NewCommand("exit 4", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := quiet.Inject(t.Context(), LeaderKill, n); err == nil || !strings.Contains(err.Error(), "exit status 4") {
		t.Errorf("%v", err)
	}
	if err := quiet.Heal(context.Background(), LeaderKill, n); err != nil {
		t.Errorf("no heal command: %v", err)
	}
}
