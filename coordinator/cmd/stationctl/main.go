package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], terminal{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		asks:     isatty.IsTerminal(os.Stdin.Fd()),
		shows:    isatty.IsTerminal(os.Stdout.Fd()),
		tells:    isatty.IsTerminal(os.Stderr.Fd()),
		colours:  isatty.IsTerminal(os.Stdout.Fd()) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		width:    width(os.Stdout),
		poll:     250 * time.Millisecond,
		patience: time.Minute,
	})
	stop()
	os.Exit(code)
}
