package topology

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"time"

	"github.com/tradingflow/weather-station/shared/process"
)

// Actions that the port for faults takes.
const (
	actionKill  = "kill"
	actionStop  = "stop"
	actionStart = "start"
)

const maxFault = 4 << 10

// remedy is what a fault is told that one process can't have.
const remedy = "a cluster of processes can: start one by 'scripts/cluster up' (with --links for faults of links) and name its folder by --cluster"

// ListenFaults takes a port for faults. Whoever reaches it can end the cluster's
// parts, so it must be a loopback address.
func ListenFaults(ctx context.Context, address string) (net.Listener, error) {
	return process.ListenLocal(ctx, "faults", address, "end parts of the cluster")
}

// order is the body of a POST.
type order struct {
	Action string `json:"action"`
	Member string `json:"member"`
}

// change is the answer to it.
type change struct {
	At     time.Time `json:"at"` // when it began
	Before Member    `json:"before"`
	After  Member    `json:"after"`
}

// listing is the answer to a GET.
type listing struct {
	APIs    []string `json:"apis"`
	Members []Member `json:"members"`
}

// refused answers with a status of HTTP.
type refused struct {
	status int
	err    error
}

func (e *refused) Error() string { return e.err.Error() }
func (e *refused) Unwrap() error { return e.err }

// control serves faults over HTTP:
//
//	GET  /faults   the parts and their states
//	POST /faults   {"action": "kill", "member": "coordinator-1"}: kill, stop or start
//
// A page in a browser of this machine reaches the port too. What it could send
// without the browser asking first is refused: another content type than JSON, and
// a host name that somebody let point here.
func (t *Topology) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, r *http.Request) {
		answer(w, listing{t.APIs(), t.Members()}, guard(r))
	})
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxFault)
		done, err := t.order(r)
		answer(w, done, err)
	})
	return mux
}

func guard(r *http.Request) error {
	if err := process.CheckLocal(r); err != nil {
		return &refused{http.StatusForbidden, err}
	}
	return nil
}

// order does what a request asks for.
func (t *Topology) order(r *http.Request) (change, error) {
	if err := guard(r); err != nil {
		return change{}, err
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return change{}, &refused{http.StatusUnsupportedMediaType, errors.New("content type must be application/json")}
	}
	var o order
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return change{}, &refused{http.StatusBadRequest, fmt.Errorf(`body: give {"action": "kill", "member": "coordinator-1"}: %w`, err)}
	}
	switch o.Action {
	case actionKill, actionStop, actionStart:
	default:
		return change{}, &refused{http.StatusUnprocessableEntity,
			fmt.Errorf("action %q: one process takes %s, %s and %s of a coordinator or worker; %s", o.Action, actionKill, actionStop, actionStart, remedy)}
	}
	m, err := t.member(o.Member)
	if err != nil {
		if server(o.Member) {
			return change{}, &refused{http.StatusUnprocessableEntity, fmt.Errorf("%s is a part of this process and can't be ended alone; %s", o.Member, remedy)}
		}
		return change{}, err
	}
	out := change{At: time.Now(), Before: m.tell()}
	switch o.Action {
	case actionKill:
		err = m.kill()
	case actionStop:
		err = m.stop(r.Context())
	case actionStart:
		err = m.start(r.Context())
	}
	out.After = m.tell()
	return out, err
}

func server(id string) bool { return id == "etcd" || id == "redis" || id == "rabbitmq" }

// answer writes body, or the error with the status that fits.
func answer(w http.ResponseWriter, body any, err error) {
	status := http.StatusOK
	if err != nil {
		var r *refused
		var unknown *UnknownError
		var state *StateError
		switch {
		case errors.As(err, &r):
			status = r.status
		case errors.As(err, &unknown):
			status = http.StatusNotFound
		case errors.As(err, &state):
			status = http.StatusConflict
		default:
			status = http.StatusInternalServerError
		}
		body = map[string]string{"error": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that is gone needs no answer
}
