//go:build unix

package drill

import "syscall"

const (
	sigKill = syscall.SIGKILL
	sigTerm = syscall.SIGTERM
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
)

func signal(pid int, s syscall.Signal) error { return syscall.Kill(pid, s) }
