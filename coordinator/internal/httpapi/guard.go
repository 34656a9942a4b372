package httpapi

import (
	"context"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// guard stands before every route: it ends a panic with its request, sets the
// deadline of the call, which is later for one that waits, and refuses writes that come from pages of another
// origin.
func guard(next http.Handler, log hclog.Logger, timeout time.Duration) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		newProblem(http.StatusForbidden, "cross_origin", "a page of another origin may not change anything here").write(w)
	}))
	next = origins.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		tw := &trackingWriter{ResponseWriter: w}
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), connectionKey{}, r.Context()), timeout+waits(r))
		defer cancel()
		defer func() {
			if cause := recover(); cause != nil {
				if cause == http.ErrAbortHandler {
					panic(cause)
				}
				log.Error("call panicked", "method", r.Method, "path", r.URL.Path, "cause", cause, "stack", string(debug.Stack()))
				if tw.status != 0 {
					panic(http.ErrAbortHandler) // half an answer is out: cut the connection
				}
				internalProblem().write(tw)
			}
			log.Trace("call answered", "method", r.Method, "path", r.URL.Path, "status", tw.status, "took", time.Since(begin))
		}()
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(tw, r.WithContext(ctx))
	})
}

// trackingWriter remembers whether an answer has begun.
type trackingWriter struct {
	http.ResponseWriter
	status int // 0 = nothing written
}

// WriteHeader begins the answer.
func (w *trackingWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write begins the answer with status 200 if nothing did before.
func (w *trackingWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *trackingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// unrouted answers what no route matches: 405 when the path exists under other
// methods, 404 otherwise.
func unrouted(mux *http.ServeMux) http.Handler {
	methods := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, m := range methods {
			probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
			if _, pattern := mux.Handler(probe); pattern != "" && pattern != "/" {
				allowed = append(allowed, m)
			}
		}
		p := newProblem(http.StatusNotFound, api.CodeNotFound, "there is no such route; /openapi.json lists them all")
		if len(allowed) > 0 && !slices.Contains(allowed, r.Method) {
			list := strings.Join(allowed, ", ")
			w.Header().Set("Allow", list)
			p = newProblem(http.StatusMethodNotAllowed, api.CodeMethodNotAllowed, r.Method+" is not allowed here; allowed: "+list)
		}
		if strings.HasPrefix(r.URL.Path, "/flows/") {
			p.forOriginal()
		}
		p.write(w)
	})
}
