package cluster

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// servers are the real etcd, Redis and RabbitMQ of this package, and bin the
// binaries under test. Nil when the cluster tests are not asked for.
var servers *serverSet

func TestMain(m *testing.M) {
	flag.Parse()
	code := 1
	defer func() { os.Exit(code) }()
	if wanted() {
		s, err := startServers()
		if err != nil {
			fmt.Fprintln(os.Stderr, "cluster tests:", err)
			return
		}
		defer s.stop()
		servers = s
	}
	code = m.Run()
}

func wanted() bool {
	if os.Getenv("STATION_TEST_CLUSTER") == "1" || os.Getenv("STATION_TEST_REQUIRE") == "1" {
		return true
	}
	for _, name := range []string{"STATION_TEST_ETCD_ENDPOINTS", "STATION_TEST_REDIS_URL", "STATION_TEST_RABBITMQ_URL"} {
		if os.Getenv(name) == "" {
			return false
		}
	}
	return !testing.Short()
}

// serverSet is a private set of servers, kept by scripts/servers.
type serverSet struct {
	script string
	dir    string
	bin    string
	keeper *exec.Cmd
	hold   *os.File // its end lets the keeper throw everything away

	etcd, redis, rabbit string // addresses
}

func startServers() (_ *serverSet, err error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return nil, errors.New("the source folder is unknown")
	}
	root := filepath.Join(filepath.Dir(file), "..", "..", "..")
	s := &serverSet{script: filepath.Join(root, "scripts", "servers")}
	if s.dir, err = os.MkdirTemp("", "station-cluster."); err != nil {
		return nil, err
	}
	s.bin = filepath.Join(s.dir, "bin")
	if err := s.keep(); err != nil {
		return nil, err
	}
	built := make(chan error, 1)
	go func() { built <- s.build(root) }()
	if err = s.do("up"); err == nil {
		err = s.addresses()
	}
	if err = errors.Join(err, <-built); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// keep starts the keeper: a shell that waits for this process to end, however it
// ends, then stops the servers and removes their data.
func (s *serverSet) keep() error {
	read, hold, err := os.Pipe()
	if err != nil {
		return err
	}
	s.keeper = exec.Command("bash", "-c", `cat >/dev/null; "$0" down "$1/servers"; rm -rf "$1"`, s.script, s.dir)
	s.keeper.Stdin, s.hold = read, hold
	s.keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt is not meant for it
	err = s.keeper.Start()
	return errors.Join(err, read.Close())
}

func (s *serverSet) stop() {
	_ = s.hold.Close()
	if err := s.keeper.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, "stop servers:", err)
	}
}

func (s *serverSet) build(root string) error {
	if err := os.MkdirAll(s.bin, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-o", s.bin+"/", "./coordinator/cmd/coordinator", "./worker/cmd/worker", "./worker/examples/spread")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// do runs a command of scripts/servers: up, or kill, stop, start, restart with a
// server's name.
func (s *serverSet) do(verb string, args ...string) error {
	out, err := s.run(append([]string{verb, filepath.Join(s.dir, "servers")}, args...)...)
	if err != nil {
		return fmt.Errorf("servers %s %s: %w\n%s", verb, strings.Join(args, " "), err, out)
	}
	return nil
}

// ctl asks a server with its own tool.
func (s *serverSet) ctl(args ...string) (string, error) {
	return s.run(append([]string{"ctl", filepath.Join(s.dir, "servers")}, args...)...)
}

func (s *serverSet) run(args ...string) (string, error) {
	cmd := exec.Command(s.script, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return string(out) + errs.String(), err
	}
	return string(out), nil
}

func (s *serverSet) addresses() error {
	text, err := os.ReadFile(filepath.Join(s.dir, "servers", "env"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		switch name {
		case "STATION_TEST_ETCD_ENDPOINTS":
			s.etcd = value
		case "STATION_TEST_REDIS_URL":
			s.redis = value
		case "STATION_TEST_RABBITMQ_URL":
			s.rabbit = value
		}
	}
	if s.etcd == "" || s.redis == "" || s.rabbit == "" {
		return fmt.Errorf("servers gave no addresses:\n%s", text)
	}
	return nil
}
