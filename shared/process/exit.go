package process

import (
	"context"
	"errors"
)

// Exit codes of all binaries. A process that a second signal ends exits with 128
// + the signal's number.
const (
	ExitOK      = 0
	ExitFailure = 1
	ExitUsage   = 2
)

// ExitCode is the exit code for what a program's main function got: 0 for nil
// and for a stop that was asked for, 2 for wrong settings, else 1.
func ExitCode(err error) int {
	var usage *UsageError
	var asked *SignalError
	switch {
	case err == nil, errors.As(err, &asked), errors.Is(err, context.Canceled):
		return ExitOK
	case errors.As(err, &usage):
		return ExitUsage
	}
	return ExitFailure
}
