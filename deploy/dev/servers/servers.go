// Package servers keeps a private set of real servers and of the product's
// binaries for one run: scripts/servers starts them, and a keeper process ends
// them and removes their data when this process ends, however it ends.
package servers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Set is etcd, Redis and RabbitMQ, and a folder of binaries.
type Set struct {
	Root string // of the source
	Dir  string // everything of the set; gone after Close
	Bin  string // binaries

	Etcd, Redis, Rabbit string // addresses
	Topology            string

	script string
	keeper *exec.Cmd
	hold   *os.File // its end lets the keeper throw everything away
}

// Config says what a Set consists of.
type Config struct {
	Root  string   // of the source; FindRoot finds it
	Build []string // main packages, built into Set.Bin
	Tags  string   // build tags
	Race  bool     // build with the race detector
	Bin   string   // folder of binaries that are built already, instead of Build
	// Topology of scripts/servers: single when empty, ha, redis-cluster.
	Topology string
}

// FindRoot returns the source's root folder: the nearest one with a go.work, at or
// above the working directory or the program's own place.
func FindRoot() (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the source: %w", err)
	}
	places := []string{here}
	if exe, err := os.Executable(); err == nil {
		places = append(places, filepath.Dir(exe))
	}
	for _, dir := range places {
		for ; ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("find the source: no folder with a go.work is at or above %s", strings.Join(places, " or "))
}

// Start builds the binaries and starts the servers.
func Start(cfg Config) (_ *Set, err error) {
	s := &Set{Root: cfg.Root, Topology: cfg.Topology, Bin: cfg.Bin}
	if s.Dir, err = os.MkdirTemp("", "station-cluster."); err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	if s.Bin == "" {
		s.Bin = filepath.Join(s.Dir, "bin")
	}
	if err := errors.Join(s.copyScript(), s.keep()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.Dir))
	}
	built := make(chan error, 1)
	go func() { built <- s.build(cfg) }()
	var up []string
	if cfg.Topology != "" {
		up = []string{"--topology", cfg.Topology}
	}
	if err = s.Do("up", up...); err == nil {
		err = s.addresses()
	}
	if err = errors.Join(err, <-built); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// copyScript makes the set independent of changes in the source while it runs.
func (s *Set) copyScript() error {
	text, err := os.ReadFile(filepath.Join(s.Root, "scripts", "servers"))
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	s.script = filepath.Join(s.Dir, "script")
	if err := os.WriteFile(s.script, text, 0o755); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	return nil
}

// keep starts the keeper: a shell that waits for this process to end, however it
// ends, then stops the servers and removes their data.
func (s *Set) keep() error {
	read, hold, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	s.keeper = exec.Command("bash", "-c", `cat >/dev/null; "$0" down "$1/servers"; umount "$1"/servers/redis/appendonlydir 2>/dev/null; rm -rf "$1"`, s.script, s.Dir)
	s.keeper.Stdin, s.hold = read, hold
	s.keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt is not meant for it
	err = s.keeper.Start()
	return errors.Join(err, read.Close())
}

// Close stops the servers and removes everything.
func (s *Set) Close() error {
	_ = s.hold.Close()
	if err := s.keeper.Wait(); err != nil {
		return fmt.Errorf("stop servers: %w", err)
	}
	return nil
}

func (s *Set) build(cfg Config) error {
	if err := os.MkdirAll(s.Bin, 0o755); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	if len(cfg.Build) == 0 || cfg.Bin != "" {
		return nil
	}
	args := []string{"build", "-o", s.Bin + "/"}
	if cfg.Tags != "" {
		args = append(args, "-tags", cfg.Tags)
	}
	if cfg.Race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, cfg.Build...)...)
	cmd.Dir = cfg.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// Folder is where scripts/servers keeps what belongs to the servers.
func (s *Set) Folder() string { return filepath.Join(s.Dir, "servers") }

// Do runs a command of scripts/servers: up, or kill, stop, start, restart with a
// server's name.
func (s *Set) Do(verb string, args ...string) error {
	out, err := s.run(append([]string{verb, s.Folder()}, args...)...)
	if err != nil {
		return fmt.Errorf("servers %s %s: %w\n%s", verb, strings.Join(args, " "), err, out)
	}
	return nil
}

// DoWith is Do with more environment, which the server inherits.
func (s *Set) DoWith(env []string, verb string, args ...string) error {
	cmd := exec.Command(s.script, append([]string{verb, s.Folder()}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("servers %s %s: %w\n%s", verb, strings.Join(args, " "), err, out)
	}
	return nil
}

// Ctl asks a server with its own tool.
func (s *Set) Ctl(args ...string) (string, error) {
	out, err := s.run(append([]string{"ctl", s.Folder()}, args...)...)
	if err != nil {
		return out, fmt.Errorf("servers ctl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return out, nil
}

func (s *Set) run(args ...string) (string, error) {
	cmd := exec.Command(s.script, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return string(out) + errs.String(), err
	}
	return string(out), nil
}

func (s *Set) addresses() error {
	text, err := os.ReadFile(filepath.Join(s.Folder(), "env"))
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		switch name {
		case "STATION_TEST_ETCD_ENDPOINTS":
			s.Etcd = value
		case "STATION_TEST_REDIS_URL":
			s.Redis = value
		case "STATION_TEST_RABBITMQ_URL":
			s.Rabbit = value
		}
	}
	if s.Etcd == "" || s.Redis == "" || s.Rabbit == "" {
		return fmt.Errorf("servers gave no addresses:\n%s", text)
	}
	return nil
}

// Nodes lists the servers of a kind: etcd, redis, sentinel or rabbitmq.
func (s *Set) Nodes(kind string) []string {
	found, _ := filepath.Glob(filepath.Join(s.Folder(), kind+"*", "ports")) // the pattern is good
	out := make([]string, 0, len(found))
	for _, f := range found {
		out = append(out, filepath.Base(filepath.Dir(f)))
	}
	return out
}

// Address is where a server listens for clients.
func (s *Set) Address(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(s.Folder(), name, "ports"))
	if err != nil {
		return "", fmt.Errorf("servers: %w", err)
	}
	ports := strings.Fields(string(text))
	if len(ports) == 0 {
		return "", fmt.Errorf("servers: %s has no port", name)
	}
	return "127.0.0.1:" + ports[0], nil
}

// Leads names the server of a kind that leads.
func (s *Set) Leads(kind string) (string, error) {
	out, err := s.run("leads", s.Folder(), kind)
	name := strings.TrimSpace(out)
	if err == nil && name == "" {
		err = fmt.Errorf("no %s leads", kind)
	}
	if err != nil {
		return "", fmt.Errorf("servers leads %s: %w\n%s", kind, err, out)
	}
	return name, nil
}

// Pid is a server's process id.
func (s *Set) Pid(name string) (pid int, err error) {
	text, err := os.ReadFile(filepath.Join(s.Folder(), name, "pid"))
	if err == nil {
		_, err = fmt.Sscan(string(text), &pid)
	}
	if err != nil {
		return 0, fmt.Errorf("pid of %s: %w", name, err)
	}
	return pid, nil
}
