package hop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// Path is where Handle serves recordings.
const Path = "/debug/hops"

// Recording is the answer to a DELETE.
type Recording struct {
	Marks []Mark `json:"marks"`
	Lost  int    `json:"lost"` // marks for which there was no room
}

// Handle serves recordings of this process:
//
//	POST   /debug/hops?marks=N   begins one of at most N marks (100,000 when left out)
//	DELETE /debug/hops           ends it and answers what was recorded
func Handle(mux *http.ServeMux) {
	mux.HandleFunc("POST "+Path, func(w http.ResponseWriter, r *http.Request) {
		limit := DefaultMarks
		if text := r.URL.Query().Get("marks"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > MaxMarks {
				http.Error(w, fmt.Sprintf("marks is %q; give a number from 1 to %d", text, MaxMarks), http.StatusBadRequest)
				return
			}
			limit = n
		}
		begin(limit)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE "+Path, func(w http.ResponseWriter, _ *http.Request) {
		marks, lost, ok := end()
		if !ok {
			http.Error(w, "nothing is being recorded; begin with a POST to "+Path, http.StatusConflict)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Recording{marks, lost}) // a client that is gone needs no answer
	})
}
