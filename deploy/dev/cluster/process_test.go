package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// process is one child process: a coordinator or a worker.
type process struct {
	name string
	args []string
	path string
	log  string

	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
}

// children starts processes from one thread that never ends, for a child is
// killed with the thread that started it (Pdeathsig): so no child outlives a
// test process that is killed.
var children = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func (p *process) start(t *testing.T) {
	t.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error, 1)
	children() <- func() { started <- cmd.Start() }
	err = errors.Join(<-started, out.Close())
	if err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	gone := make(chan struct{})
	p.cmd, p.gone = cmd, gone
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(gone)
	}()
}

// environment is this process's without its STATION_ variables, which would be
// settings.
func environment() []string {
	var out []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STATION_") {
			out = append(out, v)
		}
	}
	return out
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%v to %s: %v", s, p.name, err)
	}
}

// kill ends the process at once and returns when it is gone.
func (p *process) kill(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	<-p.gone
}

func (p *process) running() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// exit waits for the process and returns its exit code.
func (p *process) exit(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.gone:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("%s has not ended after %s", p.name, within)
		return -1
	}
}

// stop ends the process at the end of a test.
func (p *process) stop() {
	if p.cmd == nil || !p.running() {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // it may be one that the test has stopped
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.gone
}

// faults returns the lines that the run may not have, and what a reader of a
// failed test wants to see. quiet says that nothing was done to the cluster.
func (p *process) faults(quiet bool) (found []string, tail string) {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return nil, err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	for _, l := range lines {
		if strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") || strings.Contains(l, "WARNING: DATA RACE") {
			found = append(found, l)
		}
		if quiet && strings.Contains(l, "[ERROR]") && !strings.Contains(l, "handler panicked") && !strings.Contains(l, "coordinator.alert") { // of nodes that fail
			found = append(found, l)
		}
	}
	var shown []string
	for i, l := range lines {
		if i >= len(lines)-30 || strings.Contains(l, "[WARN]") || strings.Contains(l, "[ERROR]") || strings.Contains(l, "leading") {
			shown = append(shown, l)
		}
	}
	if len(shown) > 120 {
		shown = append(append(shown[:60:60], fmt.Sprintf("… %d lines …", len(shown)-120)), shown[len(shown)-60:]...)
	}
	return found, filepath.Base(p.log) + ":\n  " + strings.Join(shown, "\n  ")
}

var lastPort atomic.Int32

// address returns a loopback address that nobody listens at. It is below the
// kernel's range for outgoing connections and above the servers' one, and given
// once only, so that a process that is started again finds it free.
func address(t *testing.T) string {
	t.Helper()
	lastPort.CompareAndSwap(0, 30_000+int32(rand.IntN(2000)))
	for range 500 {
		a := fmt.Sprintf("127.0.0.1:%d", 30_000+lastPort.Add(1)%2700)
		l, err := net.Listen("tcp", a)
		if err == nil {
			_ = l.Close()
			return a
		}
	}
	t.Fatal("no free port")
	return ""
}
