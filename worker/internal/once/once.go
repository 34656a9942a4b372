// Package once gets the once-key of an at-most-once node, between its claim and
// its start. The keys are in etcd, which a worker does not reach; every
// coordinator answers for it (package oncekey).
//
// # Which coordinator
//
// Any. Coordinators announce themselves in the ledger, and what was read is used
// for a while, the one that answered last first. An address that is this machine's
// own, such as 127.0.0.1, counts only if the coordinator runs on this machine: on
// another it may be anybody's. Settings may name the coordinators instead.
//
// # What an answer is
//
// "granted" and "taken", from a coordinator that etcd has answered, and nothing
// else: no status code, no refused connection, no silence. Without one the worker
// asks again, here or elsewhere, with the same token, which is harmless, for as
// long as it holds the claim; heartbeats go on meanwhile. So while no coordinator
// can be reached an at-most-once node waits, and its record names the once-key as
// what it waits for.
//
// # When the claim ends first
//
// The node is not started. Whether the key was made is then not always known: a
// call may have been on its way. The claim is handed back all the same, since
// nothing was started; if there is a key after all, the next to claim the node
// meets it and ends it as unknown. To hand back without leaving a key, a worker
// that stops lets a call that is out finish, and only makes no further one.
package once

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/failpoint"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/oncekey"
)

// ErrTaken says that the key is another claim's: the node may have been started.
var ErrTaken = errors.New("its once-key is another claim's: it may have been started before, when the ledger had lost that")

// ErrStopped says that the worker takes nothing new any more.
var ErrStopped = errors.New("worker takes nothing new")

// Times of asking.
const (
	patience = 2 * time.Second // with one coordinator
	fresh    = 5 * time.Second // as long as what the ledger said of coordinators is used
	minPause = 20 * time.Millisecond
	maxPause = time.Second
)

// Ledger tells where the coordinators are, and is told what a node waits for.
type Ledger interface {
	Coordinators(ctx context.Context) ([]ledger.Coordinator, error)
	Block(ctx context.Context, a ids.Attempt, token uuid.UUID, blocker string) error
}

// Config of Keys.
type Config struct {
	Ledger       Ledger
	Coordinators []string // base URLs; empty = those that the ledger has
	Host         string   // name of this machine; "" = unknown
	Log          hclog.Logger
}

// Keys gets once-keys. Its methods may be called from any goroutine.
type Keys struct {
	cfg  Config
	http *http.Client

	mu     sync.Mutex
	bases  []string // the one that answered last is the first
	read   time.Time
	silent bool // nobody answered last time
}

// Addresses reads base URLs of coordinators and passes over empty ones. The error
// names all that are none.
func Addresses(urls []string) ([]string, error) {
	var faults []error
	bases := make([]string, 0, len(urls))
	for _, c := range urls {
		if c = strings.TrimRight(strings.TrimSpace(c), "/"); c == "" {
			continue
		}
		if u, err := url.Parse(c); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			faults = append(faults, fmt.Errorf("coordinators: %q is no address of a coordinator; want http://host:port", c))
		}
		bases = append(bases, c)
	}
	return bases, errors.Join(faults...)
}

// New checks the addresses and makes a Keys. It reaches nobody.
func New(cfg Config) (*Keys, error) {
	bases, err := Addresses(cfg.Coordinators)
	if err != nil {
		return nil, err
	}
	cfg.Coordinators = bases
	dialer := &net.Dialer{Timeout: patience}
	return &Keys{cfg: cfg, bases: slices.Clone(bases), http: &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close gives idle connections up.
func (k *Keys) Close() { k.http.CloseIdleConnections() }

// Take returns nil when the key is the claim's, and ErrTaken when it is another's.
// Until it knows, it asks: until ctx ends, whose cause it then returns, or until
// stop is closed, which ends the asking but no call that is out (ErrStopped).
func (k *Keys) Take(ctx context.Context, c ledger.Claim, stop <-chan struct{}) error {
	log := k.cfg.Log.With("flow", c.Flow, "cycle", c.Cycle, "node", c.Attempt.Node, "attempt", c.N)
	body, err := json.Marshal(oncekey.Request{FlowID: string(c.Flow), Occasion: c.Occasion.String(), NodeID: string(c.Attempt.Node), Token: c.Token.String()})
	if err != nil {
		return fmt.Errorf("encode request for a once-key: %w", err)
	}
	pause := minPause
	t := time.NewTimer(0)
	defer t.Stop()
	<-t.C
	for waits := false; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-stop:
			return ErrStopped
		default:
		}
		answer, err := k.round(ctx, body)
		if err == nil {
			if waits {
				k.name(ctx, c, "")
				log.Info("once-key was answered", "answer", answer)
			}
			if answer == oncekey.Taken {
				return ErrTaken
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !waits {
			waits = true
			log.Warn("no coordinator gives the once-key; the node waits", "error", err)
			k.name(ctx, c, ledger.BlockedByOnceKey)
		}
		t.Reset(pause)
		select {
		case <-t.C:
		case <-stop:
			return ErrStopped
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pause = min(2*pause, maxPause)
	}
}

// name is for people; without it the node waits all the same.
func (k *Keys) name(ctx context.Context, c ledger.Claim, blocker string) {
	timed, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := k.cfg.Ledger.Block(timed, c.Attempt, c.Token, blocker); err != nil && ctx.Err() == nil {
		k.cfg.Log.Debug("what a node waits for can't be named", "node", c.Attempt.Node, "error", err)
	}
}

// round asks every coordinator until one knows the answer.
func (k *Keys) round(ctx context.Context, body []byte) (string, error) {
	bases, err := k.addresses(ctx)
	if err != nil {
		return "", err
	}
	if len(bases) == 0 {
		k.heard("", false)
		return "", errors.New("the ledger names no coordinator")
	}
	var faults []error
	for _, base := range bases {
		answer, err := k.ask(ctx, base, body)
		if err == nil {
			k.heard(base, true)
			return answer, nil
		}
		if ctx.Err() != nil {
			return "", err
		}
		faults = append(faults, err)
	}
	k.heard("", false)
	return "", errors.Join(faults...)
}

// addresses returns where coordinators are. What the ledger says is read again
// when it is old, or nobody answered there last time. A ledger that is away is no
// reason not to ask those that are known.
func (k *Keys) addresses(ctx context.Context) ([]string, error) {
	k.mu.Lock()
	known, current := slices.Clone(k.bases), len(k.cfg.Coordinators) > 0 || !k.silent && len(k.bases) > 0 && time.Since(k.read) < fresh
	k.mu.Unlock()
	if current {
		return known, nil
	}
	timed, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := k.cfg.Ledger.Coordinators(timed)
	if err != nil {
		if len(known) > 0 {
			return known, nil
		}
		return nil, err
	}
	var bases []string
	for _, c := range found {
		if k.reachable(c) {
			bases = append(bases, strings.TrimRight(c.URL, "/"))
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.bases) > 0 {
		bases = first(bases, k.bases[0])
	}
	k.bases, k.read = bases, time.Now()
	return slices.Clone(bases), nil
}

// reachable reports whether the address that a coordinator announced means it here
// too.
func (k *Keys) reachable(c ledger.Coordinator) bool {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	if u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return true
	}
	return c.Host != "" && c.Host == k.cfg.Host
}

// heard remembers who answered, so as to ask there first.
func (k *Keys) heard(base string, answered bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.silent = !answered
	if answered {
		k.bases = first(k.bases, base)
	}
}

// first moves base to the front, if it is there.
func first(bases []string, base string) []string {
	i := slices.Index(bases, base)
	if i <= 0 {
		return bases
	}
	out := append(make([]string, 0, len(bases)), base)
	return append(append(out, bases[:i]...), bases[i+1:]...)
}

// ask asks one coordinator.
func (k *Keys) ask(ctx context.Context, base string, body []byte) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+oncekey.Path, bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", base, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "weather-station-worker")
	failpoint.Before("once_ask")
	resp, err := k.http.Do(req)
	failpoint.After("once_ask")
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", base, err)
	}
	defer func() { _ = resp.Body.Close() }() // nothing is left to read
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", base, err)
	}
	var reply oncekey.Reply
	if resp.StatusCode != http.StatusOK || json.Unmarshal(b, &reply) != nil || reply.Answer != oncekey.Granted && reply.Answer != oncekey.Taken {
		return "", fmt.Errorf("ask %s: status %d: %s", base, resp.StatusCode, strings.ToValidUTF8(string(b[:min(len(b), 200)]), "?"))
	}
	return reply.Answer, nil
}
