package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// hitWithin is how long traffic may take to run into a fault of links.
const hitWithin = 5 * time.Second

// Links is a Target for faults of links, by the control port of station-links.
type Links struct {
	base string
	http http.Client
}

// NewLinks returns a Target of the station-links that is controlled at addr, a
// host:port or URL.
func NewLinks(addr string) *Links {
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	return &Links{base: strings.TrimRight(addr, "/"), http: http.Client{Timeout: 10 * time.Second}}
}

// linkFaults and linkState are what a drill needs of the control port's JSON.
type linkFaults struct {
	Hole  string `json:"hole,omitempty"`
	Delay string `json:"delay,omitempty"`
}

type linkState struct {
	Name   string `json:"name"`
	Counts struct {
		Connections int64 `json:"hit_conns"`
		Bytes       int64 `json:"hit_bytes"`
	} `json:"counts"`
}

// Inject sets the fault and waits until traffic has run into it.
func (l *Links) Inject(ctx context.Context, f Fault, n Names) (Evidence, error) {
	match, faults := pattern(f, n), linkFaults{Hole: "both"}
	if f == Delay {
		faults = linkFaults{Delay: n.Delay.String()}
	}
	at := time.Now()
	if _, err := l.call(ctx, http.MethodPut, "/links/faults", match, faults); err != nil {
		return Evidence{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, hitWithin)
	defer cancel()
	for {
		all, err := l.call(ctx, http.MethodGet, "/links", match, nil)
		if err != nil {
			return Evidence{}, err
		}
		var links, connections, bytes int64
		for _, s := range all {
			if s.Counts.Connections > 0 {
				links++
			}
			connections, bytes = connections+s.Counts.Connections, bytes+s.Counts.Bytes
		}
		if bytes > 0 {
			return Evidence{At: at, Proof: fmt.Sprintf("%d bytes of %d connections of %d links ran into it: %s", bytes, connections, links, parts(f, n))}, nil
		}
		if !pause(ctx, 5*time.Millisecond) {
			return Evidence{}, fmt.Errorf("%s: nothing ran into the fault within %s", parts(f, n), hitWithin)
		}
	}
}

// Heal takes the fault away.
func (l *Links) Heal(ctx context.Context, f Fault, n Names) error {
	_, err := l.call(ctx, http.MethodDelete, "/links/faults", pattern(f, n), nil)
	return err
}

// pattern matches the links that a fault is on. A part without a number, as
// redis, is all of that kind.
func pattern(f Fault, n Names) string {
	if f == LeaderIsolate {
		return n.Leader + ">*,*>" + n.Leader
	}
	var out []string
	for _, pair := range [][2]string{{n.Between[0], n.Between[1]}, {n.Between[1], n.Between[0]}} {
		for _, from := range []string{pair[0], pair[0] + "-[0-9]*"} {
			out = append(out, from+">"+pair[1], from+">"+pair[1]+"-[0-9]*")
		}
	}
	return strings.Join(out, ",")
}

func parts(f Fault, n Names) string {
	if f == LeaderIsolate {
		return "between " + n.Leader + " and everybody"
	}
	return "between " + n.Between[0] + " and " + n.Between[1]
}

func (l *Links) call(ctx context.Context, method, path, match string, body any) ([]linkState, error) {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return nil, fmt.Errorf("links: write request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, l.base+path+"?"+url.Values{"match": {match}}.Encode(), &b)
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	var refused struct {
		Error string `json:"error"`
	}
	var out []linkState
	if resp.StatusCode != http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(&refused); err != nil {
			return nil, fmt.Errorf("links: answer %s: %w", resp.Status, err)
		}
		return nil, errors.New("links: " + refused.Error)
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, fmt.Errorf("links: read answer: %w", err)
	}
	return out, nil
}
