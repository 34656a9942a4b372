package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cluster is the folder of a cluster.
type Cluster struct{ dir string }

// Open looks into the folder.
func Open(dir string) (*Cluster, error) {
	full, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cluster folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(full, "env")); err != nil {
		return nil, fmt.Errorf("cluster folder %s: no cluster is in it, run 'scripts/cluster up %s' first: %w", dir, dir, err)
	}
	return &Cluster{full}, nil
}

// Servers returns the base URLs of the coordinators, as a client takes them.
func (c *Cluster) Servers() (string, error) { return c.setting("env", "STATION_SERVER") }

// Redis returns the URL of Redis.
func (c *Cluster) Redis() (string, error) {
	return c.setting(filepath.Join("servers", "env"), "STATION_TEST_REDIS_URL")
}

// Rabbit returns the URL of RabbitMQ.
func (c *Cluster) Rabbit() (string, error) {
	return c.setting(filepath.Join("servers", "env"), "STATION_TEST_RABBITMQ_URL")
}

// setting reads a variable of an env file.
func (c *Cluster) setting(file, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(c.dir, file))
	if err != nil {
		return "", fmt.Errorf("cluster folder: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(line), "export "), name+"="); ok && v != "" {
			return strings.Trim(v, `"'`), nil
		}
	}
	return "", fmt.Errorf("cluster folder: %s names no %s", filepath.Join(c.dir, file), name)
}

// Process is a process and the part that its CPU time counts for.
type Process struct {
	Part string
	Pid  int
}

// Parts of a cluster.
const (
	coordinators = "coordinator"
	workers      = "worker"
)

// Processes are the servers' processes, and those of the product.
func (c *Cluster) Processes() (servers, product []Process, err error) {
	files, err := filepath.Glob(filepath.Join(c.dir, "*", "pid"))
	if err != nil {
		return nil, nil, fmt.Errorf("cluster folder: %w", err)
	}
	more, err := filepath.Glob(filepath.Join(c.dir, "servers", "*", "pid"))
	if err != nil {
		return nil, nil, fmt.Errorf("cluster folder: %w", err)
	}
	for _, file := range slices.Concat(files, more) {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, fmt.Errorf("cluster folder: %w", err)
		}
		fields := strings.Fields(string(b))
		if len(fields) != 2 {
			return nil, nil, fmt.Errorf("cluster folder: %s does not hold a pid and a start time", file)
		}
		pid, err := strconv.Atoi(fields[0])
		if err != nil || pid <= 1 {
			return nil, nil, fmt.Errorf("cluster folder: %s holds the pid %q", file, fields[0])
		}
		if s, ok := readStat(pid); !ok || s.began != fields[1] {
			continue // it does not run
		}
		part, _, _ := strings.Cut(filepath.Base(filepath.Dir(file)), "-")
		if part == coordinators || part == workers {
			product = append(product, Process{part, pid})
		} else {
			servers = append(servers, Process{part, pid})
		}
	}
	if len(servers) == 0 || len(product) == 0 {
		return nil, nil, errors.New("cluster folder: no servers, coordinators or workers run in it")
	}
	return servers, product, nil
}

// tick is the unit of CPU time in /proc.
const tick = 10 * time.Millisecond

type stat struct {
	parent int
	used   time.Duration // by it, and by its children that have ended
	began  string
}

func readStat(pid int) (stat, bool) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, false
	}
	return parseStat(string(b))
}

// parseStat reads /proc/PID/stat.
func parseStat(text string) (stat, bool) {
	// The name, in parentheses, may hold anything; what follows it does not.
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 20 {
		return stat{}, false
	}
	s := stat{began: f[19]}
	s.parent, _ = strconv.Atoi(f[1])
	for _, at := range []int{11, 12, 13, 14} {
		n, err := strconv.ParseInt(f[at], 10, 64)
		if err != nil {
			return stat{}, false
		}
		s.used += time.Duration(n) * tick
	}
	return s, true
}

// exact is the CPU time of a process to the nanosecond, as the scheduler counts
// that of its threads; what ended threads have used is missing. It falls back to
// the coarse count where that is not told.
func exact(pid int, coarse time.Duration) time.Duration {
	files, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "schedstat"))
	sum := time.Duration(0)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		first, _, _ := strings.Cut(string(b), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return coarse
		}
		sum += time.Duration(n)
	}
	if sum == 0 {
		return coarse
	}
	return sum
}

// CPU returns the CPU time that each part has used so far, with the children of
// its processes.
func CPU(of []Process) map[string]time.Duration {
	all := map[int]stat{}
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, ok := readStat(pid); ok {
			all[pid] = s
			children[s.parent] = append(children[s.parent], pid)
		}
	}
	out := map[string]time.Duration{}
	var add func(part string, pid int)
	add = func(part string, pid int) {
		out[part] += exact(pid, all[pid].used)
		for _, child := range children[pid] {
			add(part, child)
		}
	}
	for _, p := range of {
		add(p.Part, p.Pid)
	}
	return out
}

// Load1 is the machine's load over the last minute; 0 where it is not told.
func Load1() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	load, _ := strconv.ParseFloat(first, 64)
	return load
}
