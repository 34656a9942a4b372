package process

import (
	"context"
	"net"
	"net/http"
	"net/http/pprof"
)

// ListenProfiles takes the port for profiles, which show a process's memory and can
// slow it down: a loopback address.
func ListenProfiles(ctx context.Context, address string) (net.Listener, error) {
	return ListenLocal(ctx, "pprof", address, "read parts of the process's memory and slow it down")
}

// Profiles serves Go's profiles under /debug/pprof/, and what the others add. The
// command line is not among them, for it may hold passwords. What a browser's page
// of another origin asks is refused.
func Profiles(others ...func(*http.ServeMux)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.Handle("/debug/pprof/cmdline", http.NotFoundHandler())
	for _, add := range others {
		add(mux)
	}
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := CheckLocal(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		guarded.ServeHTTP(w, r)
	})
}
