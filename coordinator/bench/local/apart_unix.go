//go:build unix

package local

import (
	"os/exec"
	"syscall"
)

// apart gives a command a process group of its own, and has all of it asked to end.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}
