package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/ids"
)

// callTimeout bounds every call that needs etcd.
const callTimeout = 3 * time.Second

// Errors that a caller decides by.
var (
	// ErrNotFound says that there is no such flow.
	ErrNotFound = errors.New("no such flow")
	// ErrTooLarge says that a document exceeds MaxDocument.
	ErrTooLarge = errors.New("flow document too large")
	// ErrContended says that other writers won every try of a Put.
	ErrContended = errors.New("flow is being changed by others; try again")
)

// Unavailable says that etcd did not answer in time. A write that failed so may
// have happened all the same.
type Unavailable struct {
	Op  string // what was tried, e.g. "put flow"
	Err error
}

func (u *Unavailable) Error() string { return fmt.Sprintf("%s: etcd is unavailable: %v", u.Op, u.Err) }

// Unwrap returns the client's error.
func (u *Unavailable) Unwrap() error { return u.Err }

// Config describes a catalog.
type Config struct {
	Client *clientv3.Client
	Prefix string       // first part of every key, e.g. "station"
	Log    hclog.Logger // nil: silent
	// Now gives the time for created_at, updated_at and pauses; nil means
	// time.Now.
	Now func() time.Time
	// Copies restores the catalog when etcd's history is another one; nil: what
	// etcd has is believed.
	Copies Copies
	// Calm, when it is set, is called once: in the first load, when a page of flows is there
	// and very many more come. The rest is loaded when it returns.
	Calm func(ctx context.Context)
}

// Catalog holds all flow definitions. Its methods may be called from any
// goroutine.
type Catalog struct {
	client  *clientv3.Client
	prefix  string
	log     hclog.Logger
	now     func() time.Time
	copies  Copies
	calm    func(ctx context.Context) // nil once it was called for; of Run
	answers chan struct{}
	synced  chan struct{}
	skipped atomic.Int64

	admitting chan struct{} // holds one token: one look at etcd's history at a time
	made      restoration   // under the token
	adopted   History       // as the ledger was last told
	told      time.Time     // when that was

	mu      sync.RWMutex
	history History // of the etcd that is believed; no ID: none yet
	age     int     // counts the histories that were believed
	broken  bool    // etcd was seen to have gone back and is not restored
	loaded  bool
	loads   uint32 // counts the loads
	flows   map[ids.FlowID]entry[*Kept]
	pauses  map[ids.FlowID]entry[time.Time]
	subs    map[*Subscription]struct{}

	// Revisions up to which the watches have shown every change.
	flowsSeen, pausesSeen int64
}

// entry is one key's state: a value, or its absence, as of a revision. Absence
// is kept only where this process deleted the key itself and older events may
// still arrive.
type entry[T any] struct {
	val     T
	present bool
	load    uint32 // the last load that found the key
	rev     int64  // modification revision, or that of the deletion
}

// New checks the config and makes an empty catalog. It reaches no server.
func New(cfg Config) (*Catalog, error) {
	cfg.Prefix = strings.TrimRight(cfg.Prefix, "/")
	var faults []error
	if cfg.Client == nil {
		faults = append(faults, errors.New("Client is nil"))
	}
	if cfg.Prefix == "" {
		faults = append(faults, errors.New(`Prefix is empty; give the first part of all keys, such as "station"`))
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("catalog config: %w", errors.Join(faults...))
	}
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Catalog{
		client: cfg.Client, prefix: cfg.Prefix, log: cfg.Log, now: cfg.Now, copies: cfg.Copies, calm: cfg.Calm,
		answers: make(chan struct{}), synced: make(chan struct{}), admitting: make(chan struct{}, 1),
		flows:  make(map[ids.FlowID]entry[*Kept]),
		pauses: make(map[ids.FlowID]entry[time.Time]),
		subs:   make(map[*Subscription]struct{}),
	}, nil
}

func (c *Catalog) flowsKey() string             { return c.prefix + "/flows/" }
func (c *Catalog) pausesKey() string            { return c.prefix + "/pauses/" }
func (c *Catalog) markerKey() string            { return c.prefix + "/catalog" }
func (c *Catalog) flowKey(f ids.FlowID) string  { return c.flowsKey() + string(f) }
func (c *Catalog) pauseKey(f ids.FlowID) string { return c.pausesKey() + string(f) }
func (c *Catalog) chunksOf(f ids.FlowID) string { return c.prefix + "/chunks/" + string(f) + "/" }
func (c *Catalog) setKey(f ids.FlowID, s *chunkSet) string {
	return c.chunksOf(f) + s.Set.String() + "/"
}
func (c *Catalog) chunkKey(f ids.FlowID, s *chunkSet, n int) string {
	return fmt.Sprintf("%s%04d", c.setKey(f, s), n)
}

// Admitted is closed when etcd's history is believed for the first time: from then on
// GetFresh answers.
func (c *Catalog) Admitted() <-chan struct{} { return c.answers }

// Synced is closed when Run has loaded all records for the first time.
func (c *Catalog) Synced() <-chan struct{} { return c.synced }

// Skipped counts the values that could not be read and were passed over.
func (c *Catalog) Skipped() int64 { return c.skipped.Load() }

// Get returns a flow's record from memory.
func (c *Catalog) Get(flow ids.FlowID) (*Kept, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e := c.flows[flow]
	return e.val, e.present
}

// List returns all records from memory, ordered by flow id.
func (c *Catalog) List() []Record {
	c.mu.RLock()
	defer c.mu.RUnlock()
	list := make([]Record, 0, len(c.flows))
	for _, e := range c.flows {
		if e.present {
			list = append(list, e.val.Record())
		}
	}
	slices.SortFunc(list, func(a, b Record) int { return cmp.Compare(a.Flow, b.Flow) })
	return list
}

// Paused reports, from memory, whether a flow is paused.
func (c *Catalog) Paused(flow ids.FlowID) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.pauses[flow].present
}

// PausedSince returns, from memory, since when a flow is paused.
func (c *Catalog) PausedSince(flow ids.FlowID) (time.Time, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e := c.pauses[flow]
	return e.val, e.present
}

// call runs one request with the usual deadline and types its error. An error of
// the caller's own context is returned as it is.
func call[T any](ctx context.Context, op string, f func(context.Context) (T, error)) (T, error) {
	tctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	v, err := f(tctx)
	switch {
	case err == nil:
		return v, nil
	case ctx.Err() != nil:
		return v, fmt.Errorf("%s: %w", op, ctx.Err())
	case permanent(err):
		return v, fmt.Errorf("%s: %w", op, err)
	}
	return v, &Unavailable{Op: op, Err: err}
}
