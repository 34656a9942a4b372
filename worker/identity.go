package worker

import (
	"fmt"
	"net/http"
)

// identity answers with the worker's id, so that a leader can tell this process
// from another one that got its address.
func identity(id string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintln(w, id) // a client that is gone is nobody's concern
	}
}

// presence answers with the worker's id and does not end the answer: whoever reads on
// learns at once when this process dies.
func presence(id string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if _, err := fmt.Fprintln(w, id); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		<-r.Context().Done()
	}
}
