package cluster

import (
	"syscall"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/procs"
)

// process is one child process: a coordinator or a worker.
type process struct{ procs.Process }

func (p *process) start(t *testing.T) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// kill ends the process at once and returns when it is gone.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
}

// exit waits for the process and returns its exit code.
func (p *process) exit(t *testing.T, within time.Duration) int {
	t.Helper()
	code, err := p.Exit(within)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func address(t *testing.T) string {
	t.Helper()
	a, err := procs.Address()
	if err != nil {
		t.Fatal(err)
	}
	return a
}
