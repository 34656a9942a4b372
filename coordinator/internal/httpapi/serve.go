package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Serve answers requests on the listener until ctx ends, then lets calls in
// hand finish for up to grace (0 = 5 s) and cuts the rest. It closes the
// listener, and returns nil after an ordered end.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log hclog.Logger, grace time.Duration) error {
	if grace <= 0 {
		grace = 5 * time.Second
	}
	cut, cutAll := context.WithCancel(context.WithoutCancel(ctx))
	defer cutAll()
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      90 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return served(ctx, cut) },
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	log.Info("http api listens", "address", l.Addr().String())
	select {
	case err := <-ended:
		_ = srv.Close()
		return fmt.Errorf("serve http api: %w", err)
	case <-ctx.Done():
	}
	// ctx has ended; the calls in hand have their own deadline.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := srv.Shutdown(stop)
	if err != nil {
		log.Warn("http api cuts open calls", "grace", grace, "error", err)
		_ = srv.Close()
	}
	if serveErr := <-ended; !errors.Is(serveErr, http.ErrServerClosed) {
		return fmt.Errorf("serve http api: %w", serveErr)
	}
	log.Info("http api has stopped", "address", l.Addr().String())
	return nil
}
