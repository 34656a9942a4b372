//go:build !unix

package drill

import (
	"errors"
	"syscall"
)

const (
	sigKill syscall.Signal = 9
	sigTerm syscall.Signal = 15
	sigStop syscall.Signal = 19
	sigCont syscall.Signal = 18
)

func signal(int, syscall.Signal) error {
	return errors.New("processes can't be signalled on this system; use commands")
}
