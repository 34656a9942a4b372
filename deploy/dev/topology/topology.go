package topology

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hashicorp/go-hclog"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/shared/hop"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/partition"
	"github.com/tradingflow/weather-station/shared/process"
	"github.com/tradingflow/weather-station/shared/taskqueue/inproc"
	"github.com/tradingflow/weather-station/worker"
)

const prefix = "station"

// Config says what the cluster consists of. Zero values mean the defaults.
type Config struct {
	Coordinators int    // 2
	Workers      int    // 2
	Partitions   int    // 1
	Concurrency  int    // nodes a worker runs at once; 16
	HTTPAddr     string // of the first coordinator's API; the others, and it when empty, take free ports
	DataDir      string // folder that dataset nodes read and write; it must exist
	EtcdDir      string // folder of etcd's data; a temporary one when empty

	AllowExec        bool // workers carry the exec node type
	AllowPrivateHTTP bool // http nodes reach loopback and private addresses

	LeaseTTL time.Duration // of the leadership; the coordinator's default when 0
	Grace    time.Duration // for running nodes at the end; the worker's default when 0

	// Faults, when set, is where parts are killed, stopped and started over HTTP;
	// see ListenFaults.
	Faults net.Listener
	// Profiles, when set, is where profiles and recordings of hops are served; see
	// process.ListenProfiles.
	Profiles net.Listener
	// Ended, when set, hears of each cycle that ends, at least once. It must not
	// block.
	Ended func(c ledger.CycleState)
	Log   hclog.Logger
}

func (c *Config) complete() error {
	var faults []error
	for _, n := range []struct {
		name  string
		value *int
	}{{"coordinators", &c.Coordinators}, {"workers", &c.Workers}} {
		if *n.value == 0 {
			*n.value = 2
		}
		if *n.value < 1 || *n.value > 50 {
			faults = append(faults, fmt.Errorf("%s is %d; 1 to 50 are allowed", n.name, *n.value))
		}
	}
	if info, err := os.Stat(c.DataDir); err != nil {
		faults = append(faults, fmt.Errorf("data folder: %w", err))
	} else if !info.IsDir() {
		faults = append(faults, fmt.Errorf("data folder %s is a file", c.DataDir))
	}
	if c.Partitions == 0 {
		c.Partitions = 1
	}
	if err := partition.Check(prefix, c.Partitions); err != nil {
		faults = append(faults, err)
	}
	if c.Concurrency == 0 {
		c.Concurrency = 16
	}
	if c.Concurrency < 1 || c.Concurrency > worker.MaxConcurrency {
		faults = append(faults, fmt.Errorf("concurrency is %d; 1 to %d are allowed", c.Concurrency, worker.MaxConcurrency))
	}
	if c.HTTPAddr == "" {
		c.HTTPAddr = "127.0.0.1:0"
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	return errors.Join(faults...)
}

// Topology is a cluster in this process. Make one with Open, then call Run.
type Topology struct {
	cfg     Config
	etcd    *embed.Etcd
	tmp     string // etcd's folder, when it is temporary
	redis   *miniredis.Miniredis
	broker  *inproc.Broker
	members []*member // workers, then coordinators
}

// Open starts the embedded servers and takes the ports of all parts. Run must
// follow: it gives them back.
func Open(ctx context.Context, cfg Config) (_ *Topology, err error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("topology settings: %w", err)
	}
	t := &Topology{cfg: cfg, broker: inproc.New(prefix)}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	for i := range cfg.Workers {
		if err := t.add(ctx, Worker, i+1, "127.0.0.1:0", t.runWorker); err != nil {
			return nil, err
		}
	}
	for i := range cfg.Coordinators {
		addr := "127.0.0.1:0"
		if i == 0 {
			addr = cfg.HTTPAddr
		}
		if err := t.add(ctx, Coordinator, i+1, addr, t.runCoordinator); err != nil {
			return nil, err
		}
	}
	t.redis = miniredis.NewMiniRedis()
	if err := t.redis.Start(); err != nil {
		t.redis = nil
		return nil, fmt.Errorf("start embedded redis: %w", err)
	}
	if err := t.startEtcd(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// close gives up what Open took.
func (t *Topology) close() error {
	var faults []error
	for _, m := range t.members {
		l := m.latest()
		l.ask()
		l.shut()
	}
	if t.cfg.Faults != nil {
		if err := t.cfg.Faults.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			faults = append(faults, fmt.Errorf("close the port for faults: %w", err))
		}
	}
	if t.cfg.Profiles != nil {
		if err := t.cfg.Profiles.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			faults = append(faults, fmt.Errorf("close the port for profiles: %w", err))
		}
	}
	t.broker.Close()
	if t.redis != nil {
		t.redis.Close()
	}
	if t.etcd != nil {
		t.etcd.Close()
	}
	if t.tmp != "" {
		faults = append(faults, os.RemoveAll(t.tmp))
	}
	return errors.Join(faults...)
}

// Run works until ctx ends, then stops all parts in order and the servers last.
// It is called once.
func (t *Topology) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, t.close()) }()
	var workers, coordinators []process.Service
	for i, m := range t.members {
		s := process.Service{Name: m.id, Run: m.run}
		if i < t.cfg.Workers {
			workers = append(workers, s)
		} else {
			coordinators = append(coordinators, s)
		}
	}
	servers := []process.Service{{Name: "etcd", Run: t.watchEtcd}, {Name: "expiry", Run: t.age}}
	stages := [][]process.Service{servers, workers, coordinators}
	if t.cfg.Faults != nil {
		stages = append(stages, []process.Service{{Name: "faults", Run: func(ctx context.Context) error { return process.Serve(ctx, t.cfg.Faults, t.control()) }}})
	}
	if t.cfg.Profiles != nil {
		stages = append(stages, []process.Service{{Name: "profiles", Run: func(ctx context.Context) error {
			return process.Serve(ctx, t.cfg.Profiles, process.Profiles(hop.Handle))
		}}})
	}
	return process.NewGroup(t.cfg.Log, stages...).Run(ctx)
}

// age lets keys of the embedded Redis expire as time passes. Its own way of doing
// so looks at every key before every command, those inside scripts too: it was
// measured to make a script ten times slower.
func (t *Topology) age(ctx context.Context) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case now := <-tick.C:
			t.redis.FastForward(now.Sub(last))
			last = now
		case <-ctx.Done():
			return nil
		}
	}
}

// APIs returns the base URLs of the coordinators' APIs, the first coordinator's
// first.
func (t *Topology) APIs() []string {
	var out []string
	for _, m := range t.members[t.cfg.Workers:] {
		out = append(out, "http://"+m.address)
	}
	return out
}

// Client returns a client that knows every coordinator. The caller closes it.
func (t *Topology) Client() (*client.Client, error) {
	return client.New(strings.Join(t.APIs(), ","), client.Options{Timeout: 30 * time.Second, UserAgent: "station-dev"})
}

// Await waits until a coordinator leads and every part answers. It returns
// ctx's error when that ends first.
func (t *Topology) Await(ctx context.Context, c *client.Client) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		cluster, err := c.Cluster(ctx)
		if err == nil && cluster.Leader != nil && t.led(cluster) && len(cluster.Members) == t.running(t.cfg.Workers, len(t.members)) {
			workers, err := c.Workers(ctx)
			if err == nil && len(workers) == t.running(0, t.cfg.Workers) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the cluster is not ready: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// led reports whether every partition has a leader.
func (t *Topology) led(c api.Cluster) bool {
	for _, p := range c.Partitions {
		if p.Leader == nil {
			return false
		}
	}
	return t.cfg.Partitions == 1 || len(c.Partitions) == t.cfg.Partitions
}

// Stop ends one part, "coordinator-1" or "worker-2", in the orderly way, and
// returns when it has ended, or when ctx ends. The others go on.
func (t *Topology) Stop(ctx context.Context, id string) error {
	m, err := t.member(id)
	if err != nil {
		return err
	}
	return m.stop(ctx)
}

// Kill ends one part as the death of its process would: nothing is handed back,
// nothing is said. It returns when the part has lost every connection.
func (t *Topology) Kill(id string) error {
	m, err := t.member(id)
	if err != nil {
		return err
	}
	return m.kill()
}

// Start brings a part back that was stopped or killed, under the same id and at
// the same address. It returns when the part begins.
func (t *Topology) Start(ctx context.Context, id string) error {
	m, err := t.member(id)
	if err != nil {
		return err
	}
	return m.start(ctx)
}

// Members tells of every part, the workers first.
func (t *Topology) Members() []Member {
	out := make([]Member, len(t.members))
	for i, m := range t.members {
		out[i] = m.tell()
	}
	return out
}

func (t *Topology) member(id string) (*member, error) {
	i := slices.IndexFunc(t.members, func(m *member) bool { return m.id == id })
	if i < 0 {
		return nil, &UnknownError{id}
	}
	return t.members[i], nil
}

func (t *Topology) running(from, to int) int {
	n := 0
	for _, m := range t.members[from:to] {
		if m.tell().State == Running {
			n++
		}
	}
	return n
}
