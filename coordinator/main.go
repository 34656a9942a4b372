package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/coordinator/internal/election"
	"github.com/tradingflow/weather-station/coordinator/internal/presence"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/partition"
	"github.com/tradingflow/weather-station/shared/process"
	"github.com/tradingflow/weather-station/shared/taskqueue/rabbit"
)

// Settings are the flags, environment variables and file entries of a
// coordinator.
type Settings struct {
	process.Base `embed:""`

	EtcdEndpoints     []string      `help:"Where etcd is: host:port or URLs, separated by commas." default:"127.0.0.1:2379" sep:","`
	EtcdUsername      string        `help:"User of etcd; empty for none."`
	EtcdPassword      string        `help:"Password of that user; better given as STATION_ETCD_PASSWORD_FILE."`
	RedisURL          string        `help:"Where the ledger is: redis://, rediss://, redis+sentinel:// or redis+cluster://." default:"redis://127.0.0.1:6379/0"`
	RabbitmqURL       string        `help:"Where the task queues are: amqp:// or amqps://; several brokers of one cluster with commas between." default:"amqp://guest:guest@127.0.0.1:5672/"`
	Prefix            string        `help:"First part of every key and queue name." default:"station"`
	Partitions        int           `help:"How many partitions the flows are spread over, each with a leader and a ledger of its own, 64 at most. A property of the deployment: the same on every coordinator, and never changed while it runs." default:"1" placeholder:"NUMBER"`
	QueueType         string        `help:"Type of the queues: quorum, classic, transient, or auto, which is quorum with several addresses in --rabbitmq-url and transient with one." default:"auto"`
	PoolQueueTypes    []string      `help:"Exceptions, as POOL=TYPE, separated by commas." sep:"," placeholder:"POOL=TYPE"`
	HTTPAddr          string        `help:"Where the API is served. It asks for no credentials: bind it to loopback or a private network." default:"127.0.0.1:7002" placeholder:"HOST:PORT"`
	Pprof             string        `help:"Where Go's profiles (/debug/pprof/) and recordings of hops (/debug/hops) are served: a loopback address, since they show memory and can slow the process down; off when empty." placeholder:"HOST:PORT"`
	Advertise         string        `help:"URL under which others reach the API." placeholder:"URL"`
	PresenceAddr      string        `help:"Where this coordinator shows to the others that it lives; empty for nowhere. A crash is then noticed at once and not by the lease." default:"127.0.0.1:0" placeholder:"HOST:PORT"`
	PresenceAdvertise string        `help:"HOST:PORT under which other coordinators reach --presence-addr." placeholder:"HOST:PORT"`
	ID                string        `help:"Name of this coordinator; made up when empty."`
	LeaderTTL         time.Duration `help:"How long a leadership lasts without a sign of life." default:"5s"`
	Lease             time.Duration `help:"How long a claim lasts without a heartbeat; the same on every worker and coordinator." default:"10s"`
	RepairWithin      time.Duration `help:"What a server has lost is put back within this time once it answers; 2s at least." default:"5s"`
	MaxLost           int           `help:"How often a node may lose its worker before it fails." default:"3"`
	KeepDetailed      int           `help:"Newest cycles of a flow that are kept whole; older ones are archived, some at a time." default:"10"`
	KeepCycles        int           `help:"Newest cycles of a flow that are kept at all; older ones are removed, some at a time." default:"100"`
	OnceKeep          time.Duration `help:"How long the once-key of an at-most-once node is kept in etcd after its cycle is forgotten." default:"24h"`
	JournalMax        int64         `help:"About how many entries the journal keeps; the records of one step may be one." default:"200000"`
	AlertWebhook      string        `help:"URL that gets each alert as a JSON POST." placeholder:"URL"`
}

// Validate checks what one value alone does not show.
func (s *Settings) Validate() error {
	_, err := rabbit.ParseTypes(s.QueueType, s.PoolQueueTypes)
	return errors.Join(err, partition.Check(s.Prefix, s.Partitions))
}

// Main runs a coordinator process until it is signalled, and exits.
func Main() {
	process.Slacken(500 * time.Microsecond)
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	var s Settings
	_, err := process.Parse(process.Spec{Name: "coordinator", Args: args,
		Description: "Serves the API and stands for election; the one that is elected starts cycles on time and publishes ready nodes. Start two or more for failover."}, &s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "coordinator:", err)
		return process.ExitCode(err)
	}
	log, err := process.NewLogger("coordinator", s.LogLevel, s.LogFormat, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "coordinator:", err)
		return process.ExitCode(err)
	}
	defer process.FloorHeap()()
	ctx, stop := process.Signals(context.Background(), log)
	defer stop()
	if err := serve(ctx, s, log); err != nil {
		log.Error("coordinator ends", "error", err)
		return process.ExitCode(err)
	}
	return 0
}

// serve runs a coordinator on real servers.
func serve(ctx context.Context, s Settings, log hclog.Logger) (err error) {
	cfg := Config{ID: s.ID, Prefix: s.Prefix, LeaseTTL: s.LeaderTTL, Lease: s.Lease, Within: s.RepairWithin, MaxLost: s.MaxLost, Detailed: s.KeepDetailed, Kept: s.KeepCycles, OnceKeep: s.OnceKeep,
		Webhook: s.AlertWebhook, Advertise: s.Advertise, PresenceAddress: s.PresenceAdvertise, Log: log}
	pools, err := rabbit.ParseTypes(s.QueueType, s.PoolQueueTypes)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	if cfg.HTTP, err = lc.Listen(ctx, "tcp", s.HTTPAddr); err != nil {
		return fmt.Errorf("listen for the API: %w", err)
	}
	if err := cfg.complete(); err != nil {
		return fmt.Errorf("coordinator settings: %w", err)
	}
	if s.Pprof != "" {
		if cfg.Profiles, err = process.ListenProfiles(ctx, s.Pprof); err != nil {
			return &process.UsageError{Err: err}
		}
		defer func() { _ = cfg.Profiles.Close() }() // if Run did not
	}
	if s.PresenceAddr != "" {
		if cfg.Presence, err = lc.Listen(ctx, "tcp", s.PresenceAddr); err != nil {
			return fmt.Errorf("listen for presence: %w", err)
		}
		cfg.Presence = presence.Apart(cfg.Presence)
	}
	etcd, err := election.Connect(election.ConnectConfig{Endpoints: trim(s.EtcdEndpoints), Username: s.EtcdUsername, Password: s.EtcdPassword})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()
	l, err := ledger.WaitSet(ctx, ledger.Config{URL: s.RedisURL, Prefix: s.Prefix, Name: cfg.ID, JournalMax: s.JournalMax, Connections: 48 + 8*(s.Partitions-1)}, s.Partitions, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	q := rabbit.Config{URL: s.RabbitmqURL, Prefix: s.Prefix, Name: cfg.ID, Log: log, QueueType: s.QueueType, PoolTypes: pools}
	return Run(ctx, cfg, etcd, l, NewQueue(rabbit.NewPublisher(q), rabbit.NewAdmin(q)))
}

// Connect makes an etcd client with the settings that a coordinator counts on,
// without credentials. The caller closes it.
func Connect(endpoints []string) (*clientv3.Client, error) {
	return election.Connect(election.ConnectConfig{Endpoints: endpoints})
}

func trim(in []string) []string {
	out := make([]string, 0, len(in))
	for _, e := range in {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}
