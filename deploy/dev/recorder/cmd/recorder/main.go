// Command recorder writes down what nodes do: recorder SOCKET FILE.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/tradingflow/weather-station/deploy/dev/recorder"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: recorder SOCKET FILE")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := os.Remove(args[0]); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed
		return fmt.Errorf("recorder: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", args[0])
	if err != nil {
		return fmt.Errorf("recorder: %w", err)
	}
	return recorder.Serve(ctx, l, args[1])
}
