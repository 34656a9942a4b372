package process

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
)

// SignalError is the cause (context.Cause) of a context that a signal ended.
type SignalError struct{ Signal syscall.Signal }

func (e *SignalError) Error() string { return fmt.Sprintf("signal: %v", e.Signal) }

// Signals returns a context that ends at the first SIGTERM or SIGINT. A second
// signal exits the process at once with 128 + its number. The function gives the
// signals back to the system.
func Signals(parent context.Context, log hclog.Logger) (context.Context, func()) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
	ctx, stop := onSignals(parent, log, c, os.Exit)
	return ctx, func() {
		signal.Stop(c)
		stop()
	}
}

func onSignals(parent context.Context, log hclog.Logger, c <-chan os.Signal, exit func(int)) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for first := true; ; first = false {
			select {
			case <-quit:
				return
			case s := <-c:
				n, _ := s.(syscall.Signal)
				if !first {
					log.Error("second signal, exiting at once", "signal", s.String())
					exit(128 + int(n))
					return
				}
				log.Info("stopping, a second signal exits at once", "signal", s.String())
				cancel(&SignalError{Signal: n})
			}
		}
	})
	return ctx, sync.OnceFunc(func() {
		close(quit)
		done.Wait()
		cancel(nil)
	})
}
