package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// A call's own context ends with its time-out. Those that have no end of their own, or one that is far off, go by others
// too, which its context carries.
type (
	stoppingKey   struct{} // ends when the server is asked to stop: calls may finish then
	cutKey        struct{} // ends when the server cuts what has not finished
	connectionKey struct{} // ends with the connection
)

// served is the context of all calls of a server. It outlives stopping, so that calls in hand may finish.
func served(stopping, cut context.Context) context.Context {
	ctx := context.WithValue(context.WithoutCancel(stopping), stoppingKey{}, stopping)
	return context.WithValue(ctx, cutKey{}, cut)
}

// lifetime returns one of these contexts; one without an end where the call has none, as in a test.
func lifetime(ctx context.Context, key any) context.Context {
	if l, ok := ctx.Value(key).(context.Context); ok {
		return l
	}
	return context.Background()
}

// maxWait is how long a call may wait for the end of a cycle, in seconds.
const maxWait = 60.0

// waits is how long a call asks to wait for the end of a cycle: it has so much longer.
func waits(r *http.Request) time.Duration {
	if r.URL.RawQuery == "" {
		return 0
	}
	seconds, err := strconv.ParseFloat(r.URL.Query().Get("wait_seconds"), 64)
	if err != nil || !(seconds > 0) {
		return 0
	}
	return time.Duration(min(seconds, maxWait) * float64(time.Second))
}
