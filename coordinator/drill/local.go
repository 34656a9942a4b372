package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Local is a Target for a cluster of this machine that scripts/cluster runs. Only
// the very process that the folder remembers, by pid and start time, is
// signalled. It needs /proc.
type Local struct {
	dir    string
	script string
}

// NewLocal returns a Target for the cluster in the folder dir; script is the path
// of scripts/cluster, which starts processes again.
func NewLocal(dir, script string) (*Local, error) {
	full, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cluster folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(full, "env")); err != nil {
		return nil, fmt.Errorf("cluster folder %s: no cluster is in it, run 'scripts/cluster up %s' first: %w", dir, dir, err)
	}
	if info, err := os.Stat(script); err != nil || info.IsDir() {
		return nil, fmt.Errorf("cluster script: %q is none", script)
	}
	if script, err = filepath.Abs(script); err != nil {
		return nil, fmt.Errorf("cluster script: %w", err)
	}
	return &Local{dir: full, script: script}, nil
}

// Servers returns the base URLs of the cluster's coordinators, as a client takes
// them.
func (l *Local) Servers() (string, error) {
	return l.setting("STATION_SERVER", "")
}

// setting reads a variable of the folder's env file.
func (l *Local) setting(name, remedy string) (string, error) {
	b, err := os.ReadFile(filepath.Join(l.dir, "env"))
	if err != nil {
		return "", fmt.Errorf("cluster folder: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "export "+name+"="); ok && v != "" {
			return v, nil
		}
	}
	return "", fmt.Errorf("cluster folder: %s names no %s%s", filepath.Join(l.dir, "env"), name, remedy)
}

// links returns the Target of the faults that need links.
func (l *Local) links() (*Links, error) {
	addr, err := l.setting("STATION_LINKS", fmt.Sprintf("; the fault needs a relay on every link: '%s up --links DIR' in a new folder", l.script))
	if err != nil {
		return nil, err
	}
	return NewLinks(addr), nil
}

func (f Fault) onLinks() bool { return f.hitsLink() || f == LeaderIsolate }

var serverName = regexp.MustCompile(`^(etcd|redis|rabbitmq|sentinel)(-[0-9])?$`)

// process is a process as its folder remembers it.
type process struct {
	pid   int
	began string // start time in clock ticks since boot, as /proc tells it
}

// Inject signals the process that the fault hits. A kill and a stop take effect
// with the signal; a server that is asked to end, when its process is gone.
func (l *Local) Inject(ctx context.Context, f Fault, n Names) (Evidence, error) {
	if f.onLinks() {
		links, err := l.links()
		if err != nil {
			return Evidence{}, err
		}
		return links.Inject(ctx, f, n)
	}
	name := f.process(n)
	p, err := l.remembered(name)
	if err != nil {
		return Evidence{}, err
	}
	if _, began := state(p.pid); began != p.began {
		return Evidence{}, fmt.Errorf("%s does not run: start it by '%s start %s %s'", name, l.script, name, l.dir)
	}
	sig, want := sigKill, "is gone"
	switch {
	case f.pauses():
		sig, want = sigStop, "is stopped"
	case f.server() != "":
		sig = sigTerm
	}
	at := time.Now()
	if err := signal(p.pid, sig); err != nil {
		return Evidence{}, fmt.Errorf("signal %s: %w", name, err)
	}
	if err := l.await(ctx, p, sig); err != nil {
		return Evidence{}, fmt.Errorf("%s, pid %d, got %s: %w", name, p.pid, sig, err)
	}
	if sig == sigTerm {
		at = time.Now()
	}
	return Evidence{At: at, Proof: fmt.Sprintf("%s, pid %d, %s", name, p.pid, want)}, nil
}

// Heal wakes a stopped process, starts one that is gone, and makes sure that
// what runs then is another process.
func (l *Local) Heal(ctx context.Context, f Fault, n Names) error {
	if f.onLinks() {
		links, err := l.links()
		if err != nil {
			return err
		}
		return links.Heal(ctx, f, n)
	}
	name := f.process(n)
	old, err := l.remembered(name)
	if err != nil {
		return err
	}
	if _, began := state(old.pid); began == old.began && f.pauses() {
		if err := signal(old.pid, sigCont); err != nil {
			return fmt.Errorf("wake %s: %w", name, err)
		}
		return nil
	}
	// Starting what runs does nothing.
	if err := execute(exec.CommandContext(ctx, l.script, "start", name, l.dir)); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	now, err := l.remembered(name)
	if err != nil {
		return err
	}
	if now == old {
		return fmt.Errorf("start %s: its process is the same as before", name)
	}
	return nil
}

// await waits until a signal shows: a stopped process has stopped, any other one
// is gone.
func (l *Local) await(ctx context.Context, p process, sig syscall.Signal) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		s, began := state(p.pid)
		gone := began != p.began || s == "Z" || s == "X"
		switch {
		case sig == sigStop && gone:
			return errors.New("it ended instead of stopping")
		case sig == sigStop && s == "T", sig != sigStop && gone:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no effect: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// remembered reads the pid file of a process: "pid starttime".
func (l *Local) remembered(name string) (process, error) {
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
		return process{}, fmt.Errorf("process %q is none of this cluster", name)
	}
	path := filepath.Join(l.dir, name, "pid")
	if serverName.MatchString(name) {
		path = filepath.Join(l.dir, "servers", name, "pid")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return process{}, fmt.Errorf("process %q of this cluster: %w", name, err)
	}
	fields := strings.Fields(string(b))
	if len(fields) != 2 {
		return process{}, fmt.Errorf("process %q of this cluster: %s does not hold a pid and a start time", name, path)
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil || pid <= 1 {
		return process{}, fmt.Errorf("process %q of this cluster: %s holds the pid %q", name, path, fields[0])
	}
	return process{pid: pid, began: fields[1]}, nil
}

// state returns the state letter and the start time of a process, or "" for one
// that is not there.
func state(pid int) (letter, began string) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", ""
	}
	// The name, in parentheses, may hold anything; what follows it does not.
	rest := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(rest) < 20 {
		return "", ""
	}
	return rest[0], rest[19]
}
