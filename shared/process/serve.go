package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// drainTimeout is how long Serve waits for requests in hand.
const drainTimeout = 5 * time.Second

// Mux serves /livez, /readyz and /metrics. Health answers are JSON Reports, with
// status 200 or 503. A nil metrics handler leaves /metrics out.
func Mux(h *Health, metrics http.Handler) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", LiveHandler(h))
	mux.Handle("GET /readyz", ReadyHandler(h))
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	return mux
}

// LiveHandler answers /livez.
func LiveHandler(h *Health) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, h.Live()) })
}

// ReadyHandler answers /readyz.
func ReadyHandler(h *Health) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, h.Ready(r.Context())) })
}

func answer(w http.ResponseWriter, r Report) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !r.OK() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// The status is sent; a client that is gone by now is nobody's concern.
	_ = json.NewEncoder(w).Encode(r)
}

// Serve answers HTTP on a listener until ctx ends, then waits up to five seconds
// for requests in hand. Requests see a context that ends with ctx. It closes the
// listener.
func Serve(ctx context.Context, ln net.Listener, handler http.Handler) error {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve http on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := srv.Shutdown(sctx)
	if err != nil {
		_ = srv.Close() // cuts what did not end in time
	}
	if serr := <-failed; !errors.Is(serr, http.ErrServerClosed) {
		return fmt.Errorf("serve http on %s: %w", ln.Addr(), serr)
	}
	if err != nil {
		return fmt.Errorf("serve http on %s: requests still open after %v: %w", ln.Addr(), drainTimeout, err)
	}
	return nil
}
