// Package procs runs the product's binaries as child processes: it starts,
// signals and ends them, and reads from their logs what a run may not have.
package procs

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
	"time"
)

// Process is one child process, which may be started again and again.
type Process struct {
	Name string
	Path string
	Args []string
	Env  []string // added to this process's own, which gives none of its STATION_ variables
	Log  string   // file that takes its output

	since time.Time // its start
	cmd   *exec.Cmd
	gone  chan struct{} // closed when it has ended
}

// children starts processes from one thread that never ends, for a child is
// killed with the thread that started it (Pdeathsig): so no child outlives a
// process that is killed.
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

// Start starts the process. One that runs is left alone.
func (p *Process) Start() error {
	if p.Running() {
		return nil
	}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(environment(), p.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error, 1)
	children() <- func() { started <- cmd.Start() }
	if err = errors.Join(<-started, out.Close()); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	gone := make(chan struct{})
	p.cmd, p.gone, p.since = cmd, gone, time.Now()
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(gone)
	}()
	return nil
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

// Pid returns its process id; 0 before the first start.
func (p *Process) Pid() int {
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Signal sends a signal to a process that was started.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("%v to %s: %w", s, p.Name, err)
	}
	return nil
}

// Kill ends the process at once and returns when it is gone.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.gone
	return nil
}

// Young reports whether it was started so short a time ago that it may not handle
// signals yet.
func (p *Process) Young() bool { return time.Since(p.since) < 2*time.Second }

// Running reports whether it was started and has not ended.
func (p *Process) Running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// Gone returns a channel that is closed when the process has ended.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Exit waits for the process's end and returns its exit code, which is -1 for one
// that a signal ended.
func (p *Process) Exit(within time.Duration) (int, error) {
	over := time.NewTimer(within)
	defer over.Stop()
	select {
	case <-p.gone:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-over.C:
		return -1, fmt.Errorf("%s has not ended after %s", p.Name, within)
	}
}

// Stop ends the process, whatever state it is in.
func (p *Process) Stop() {
	if !p.Running() {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it reaches a stopped process as well
	<-p.gone
}

// Faults returns the lines of the log that the run may not have, and what a
// reader of a failed run wants to see. quiet says that nothing was done to the
// cluster, so that no error may be logged.
func (p *Process) Faults(quiet bool) (found []string, tail string) {
	text, err := os.ReadFile(p.Log)
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
	return found, filepath.Base(p.Log) + ":\n  " + strings.Join(shown, "\n  ")
}

var lastPort atomic.Int32

// Address returns a loopback address that nobody listens at. It is below the
// kernel's range for outgoing connections and above the one that scripts/servers
// uses, and given once only, so that a process that is started again finds it
// free.
func Address() (string, error) {
	lastPort.CompareAndSwap(0, 30_000+int32(rand.IntN(2000)))
	for range 500 {
		a := fmt.Sprintf("127.0.0.1:%d", 30_000+lastPort.Add(1)%2700)
		l, err := net.Listen("tcp", a)
		if err == nil {
			_ = l.Close()
			return a, nil
		}
	}
	return "", errors.New("no free port")
}
