// Package clockshim sets the clock of one process, as an operator or a time service
// sets that of its machine: the wall clock jumps, monotonic clocks go on. It works on
// programs that ask libc for the time, Redis and RabbitMQ among them; Go programs ask
// the kernel and do not notice.
package clockshim

import (
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed c/shim.c
var source []byte

// Clock is the wall clock of the processes that run with its Env.
type Clock struct {
	library, file string
}

// New builds the shim with gcc, and a clock that is right, in a folder.
func New(ctx context.Context, dir string) (*Clock, error) {
	c := &Clock{library: filepath.Join(dir, "clockshim.so"), file: filepath.Join(dir, "clock")}
	text := filepath.Join(dir, "shim.c")
	if err := os.WriteFile(text, source, 0o600); err != nil {
		return nil, fmt.Errorf("clock shim: %w", err)
	}
	cmd := exec.CommandContext(ctx, "gcc", "-shared", "-fPIC", "-O2", "-o", c.library, text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build clock shim: %w\n%s", err, out)
	}
	if err := os.WriteFile(c.file, make([]byte, 8), 0o600); err != nil {
		return nil, fmt.Errorf("clock shim: %w", err)
	}
	return c, nil
}

// Env is what a process needs in its environment to go by this clock.
func (c *Clock) Env() []string {
	return []string{"LD_PRELOAD=" + c.library, "STATION_CLOCK=" + c.file}
}

// Set puts the clock off by whole seconds, at once, also for processes that run.
func (c *Clock) Set(off time.Duration) error {
	f, err := os.OpenFile(c.file, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(int64(off/time.Second))) //nolint:gosec // a negative number is meant
	_, err = f.WriteAt(b[:], 0)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	return nil
}
