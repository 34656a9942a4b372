package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/failpoint"
	"github.com/tradingflow/weather-station/shared/partition"
)

// Schema is the number of the layout described in doc.go. A ledger with another
// number is refused.
const Schema = "1"

// LeaveJournal is the JournalMax of who knows no bound, such as a worker: the journal is
// left as long as it is, and the coordinators' calls trim it.
const LeaveJournal = 1 << 40

// Config says where the ledger is.
type Config struct {
	// URL is redis://, rediss://, or with several addresses a sentinel or
	// cluster form: redis+sentinel://host:port,host:port/master?db=0 and
	// redis+cluster://host:port,host:port.
	URL string
	// Prefix begins every key; "station" when empty. With Redis Cluster it must
	// hold a hash tag, as "station{0}", unless there are partitions (see Set).
	Prefix string
	// JournalMax is about how many entries the journal keeps, which have a record or the
	// records of one script; 200,000 when 0. Every call that writes trims to the bound of
	// its caller: see LeaveJournal.
	JournalMax int64
	// Name is shown in CLIENT LIST.
	Name string
	// Connections bounds the pool; 0 = the client's default.
	Connections int

	parts bool // of a Set: each partition's prefix has a tag
}

// Ledger is the truth of what runs, in Redis. It is safe for concurrent use.
type Ledger struct {
	rdb          redis.UniversalClient
	blocking     redis.UniversalClient // reads that wait: never in line with the rest
	link         *link                 // scripts: never behind what somebody lists
	waiter       waiter
	prefix       string
	journalMax   string // as scripts take it
	scripts      map[string]*script
	plainScripts bool
	elected      bool // others decide which server is the master: it may change
	server       Server
	connects     *atomic.Int64
	fenced       refusals
	nodes        decoded
	borrows      bool // another's connections, who closes them
}

// Server is what the ledger learned of its Redis when it opened.
type Server struct {
	Embedded bool // not a real Redis: nothing survives its process
	Version  string
	RunID    string
	AOF      bool
	Policy   string // maxmemory_policy
	Role     string
}

// Open connects, and refuses a Redis on which the protocol can't be kept: older
// than 7.0, a replica, or one that evicts keys when memory is short; and a
// ledger of another schema (ErrSchema).
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	l, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	if err := l.inspect(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := l.checkSchema(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// connect makes a ledger and asks its server nothing yet.
func connect(cfg Config) (*Ledger, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = "station"
	}
	if cfg.JournalMax <= 0 {
		cfg.JournalMax = 200_000
	}
	quieten()
	scripts, err := loadScripts()
	if err != nil {
		return nil, err
	}
	l := &Ledger{prefix: cfg.Prefix, scripts: scripts, connects: new(atomic.Int64)}
	if cfg.JournalMax != LeaveJournal {
		l.journalMax = strconv.FormatInt(cfg.JournalMax, 10)
	}
	opts, err := options(cfg)
	if err != nil {
		return nil, err
	}
	l.elected = opts.MasterName != "" || opts.IsClusterMode
	opts.OnConnect = func(context.Context, *redis.Conn) error { l.connects.Add(1); return nil }
	blockingOpts := *opts
	blockingOpts.OnConnect = nil
	l.rdb = redis.NewUniversalClient(opts)
	blockingOpts.PoolSize, blockingOpts.MaxRetries = 4+partition.Max, -1 // one that waits in each partition
	l.blocking = redis.NewUniversalClient(&blockingOpts)
	hopOpts := *opts
	// One pool for single calls and parts. It takes no more than the round trips need, but has its usual
	// size: after as many failures to connect the client tries but once a second.
	hopOpts.MinIdleConns, hopOpts.PipelinePoolSize = roundTrips, -1
	l.link = &link{hop: redis.NewUniversalClient(&hopOpts), alone: l.rdb}
	return l, nil
}

// beside returns the ledger of another prefix over the same connections.
func (l *Ledger) beside(prefix string) *Ledger {
	k := l.link
	if _, several := l.rdb.(*redis.ClusterClient); several { // none waits in line for another's server
		k = &link{hop: k.hop, alone: k.alone}
	}
	return &Ledger{rdb: l.rdb, blocking: l.blocking, link: k, prefix: prefix, journalMax: l.journalMax, scripts: l.scripts, plainScripts: l.plainScripts,
		elected: l.elected, server: l.server, connects: l.connects, borrows: true}
}

// quiet drops what the client library would print by itself: every error also
// comes back from the call, whose maker logs it.
type quiet struct{}

// Printf is for the client library.
func (quiet) Printf(context.Context, string, ...any) {}

var quieten = sync.OnceFunc(func() { redis.SetLogger(quiet{}) })

// Close gives the connections up.
func (l *Ledger) Close() error {
	l.waiter.mu.Lock()
	l.waiter.close()
	l.waiter.mu.Unlock()
	l.link.wait.Wait()
	if l.borrows {
		return nil
	}
	return errors.Join(l.rdb.Close(), l.blocking.Close(), l.link.hop.Close())
}

// Prefix returns the prefix of every key.
func (l *Ledger) Prefix() string { return l.prefix }

// Server returns what Open found.
func (l *Ledger) Server() Server { return l.server }

// Connects counts the connections made so far; a growing count after a quiet
// time means that Redis went away and came back.
func (l *Ledger) Connects() int64 { return l.connects.Load() }

// Ping asks whether Redis answers.
func (l *Ledger) Ping(ctx context.Context) error {
	if err := l.rdb.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping redis: %w", classify(err))
	}
	return nil
}

// RunID returns the id Redis made at its last start ("" for an embedded one):
// a new one means that Redis was restarted and may have lost writes.
func (l *Ledger) RunID(ctx context.Context) (string, error) {
	if l.server.Embedded {
		return "", nil
	}
	info, err := l.info(ctx, "server")
	if err != nil {
		return "", fmt.Errorf("redis info: %w", classify(err))
	}
	return infoField(info, "run_id"), nil
}

// Memory returns used and maximal memory in bytes; the maximum is 0 when there
// is no bound.
func (l *Ledger) Memory(ctx context.Context) (used, limit int64, err error) {
	if l.server.Embedded {
		return 0, 0, nil
	}
	info, err := l.info(ctx, "memory")
	if err != nil {
		return 0, 0, fmt.Errorf("redis info: %w", classify(err))
	}
	used, _ = strconv.ParseInt(infoField(info, "used_memory"), 10, 64)
	limit, _ = strconv.ParseInt(infoField(info, "maxmemory"), 10, 64)
	return used, limit, nil
}

// RewriteAOF asks Redis to write its append-only file anew. After a restart
// that cut a torn script off, only a rewrite keeps the next restart from
// applying the half of it.
func (l *Ledger) RewriteAOF(ctx context.Context) error {
	if l.server.Embedded || !l.server.AOF {
		return nil
	}
	node, err := l.node(ctx)
	if err == nil {
		failpoint.Before("rewrite_aof")
		err = node.BgRewriteAOF(ctx).Err()
		failpoint.After("rewrite_aof")
	}
	if err != nil {
		return fmt.Errorf("bgrewriteaof: %w", classify(err))
	}
	return nil
}

func (l *Ledger) checkSchema(ctx context.Context) error {
	found, err := l.rdb.Get(ctx, l.key("schema")).Result()
	switch {
	case isNil(err): // nobody has led here yet: takeover writes it
		return nil
	case err != nil:
		return fmt.Errorf("read schema: %w", classify(err))
	case found != Schema:
		return fmt.Errorf("%w: found %s, this build has %s", ErrSchema, found, Schema)
	}
	return nil
}

func (l *Ledger) inspect(ctx context.Context) error {
	info, err := l.info(ctx)
	if err != nil && (ctx.Err() != nil || redis.IsAuthError(err) || redis.IsPermissionError(err)) {
		return fmt.Errorf("reach redis: INFO: %w", classify(err))
	}
	if err != nil || infoField(info, "redis_version") == "" {
		if err := l.rdb.Ping(ctx).Err(); err != nil {
			return fmt.Errorf("reach redis: %w", classify(err))
		}
		l.server, l.plainScripts = Server{Embedded: true}, true
		return nil
	}
	l.server = Server{
		Version: infoField(info, "redis_version"),
		RunID:   infoField(info, "run_id"),
		AOF:     infoField(info, "aof_enabled") == "1",
		Policy:  infoField(info, "maxmemory_policy"),
		Role:    infoField(info, "role"),
	}
	var faults []error
	if major, _, _ := strings.Cut(l.server.Version, "."); len(major) == 1 && major < "7" {
		faults = append(faults, fmt.Errorf("redis %s is too old: 7.0 or newer is needed", l.server.Version))
	}
	if l.server.Policy != "" && l.server.Policy != "noeviction" {
		faults = append(faults, fmt.Errorf("maxmemory-policy is %s and would delete live cycles: set it to noeviction", l.server.Policy))
	}
	if l.server.Role != "" && l.server.Role != "master" {
		if l.elected {
			return fmt.Errorf("%w: the one that was taken for the master is a %s now", ErrUnavailable, l.server.Role)
		}
		faults = append(faults, fmt.Errorf("this redis is a %s: give the address of the master, or a sentinel URL", l.server.Role))
	}
	return errors.Join(faults...)
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && k == name {
			return v
		}
	}
	return ""
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func milli(t time.Time) int64 { return t.UnixMilli() }

func fromMilli(text string) time.Time {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}
