package links

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/tradingflow/weather-station/shared/relay"
)

const maxBody = 64 << 10

// failure is the body of an answer that is no success.
type failure struct {
	Error string `json:"error"`
}

// Control serves the links over HTTP:
//
//	GET    /links?match=PATTERN           the links, their faults and counts
//	POST   /links                         adds one
//	PUT    /links/faults?match=PATTERN    replaces the faults by those of the body
//	DELETE /links/faults?match=PATTERN    takes them away
//	POST   /links/reset?match=PATTERN     resets open connections, once
//
// Each answers with the links that match.
func (s *Set) Control() http.Handler {
	mux := http.NewServeMux()
	handle := func(route string, do func(r *http.Request, pattern string) error) {
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			pattern := r.URL.Query().Get("match")
			err := do(r, pattern)
			var list []State
			if err == nil {
				list, err = s.List(pattern)
			}
			answer(w, list, err)
		})
	}
	handle("GET /links", func(*http.Request, string) error { return nil })
	handle("POST /links", func(r *http.Request, _ string) error {
		var l Link
		if err := decode(r.Body, &l); err != nil {
			return err
		}
		return s.Add(l)
	})
	handle("PUT /links/faults", func(r *http.Request, pattern string) error {
		var f relay.Faults
		if err := decode(r.Body, &f); err != nil {
			return err
		}
		return s.Fault(pattern, f)
	})
	handle("DELETE /links/faults", func(_ *http.Request, pattern string) error { return s.Fault(pattern, relay.Faults{}) })
	handle("POST /links/reset", func(_ *http.Request, pattern string) error { return s.Reset(pattern) })
	return mux
}

func decode(r io.Reader, into any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func answer(w http.ResponseWriter, list []State, err error) {
	w.Header().Set("Content-Type", "application/json")
	var body any = list
	if list == nil {
		body = []State{}
	}
	if err != nil {
		body = failure{err.Error()}
		var none *NoMatchError
		if errors.As(err, &none) {
			w.WriteHeader(http.StatusNotFound)
		} else {
			w.WriteHeader(http.StatusBadRequest)
		}
	}
	_ = json.NewEncoder(w).Encode(body) // a client that is gone needs no answer
}
