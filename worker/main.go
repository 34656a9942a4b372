package worker

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tradingflow/weather-station/shared/process"
	"github.com/tradingflow/weather-station/shared/taskqueue/rabbit"
	"github.com/tradingflow/weather-station/worker/node"
)

// Settings are the flags, environment variables and file entries of a worker.
type Settings struct {
	process.Base `embed:""`

	RedisURL     string        `help:"Where the ledger is: redis://, rediss://, redis+sentinel:// or redis+cluster://." default:"redis://127.0.0.1:6379/0"`
	RabbitmqURL  string        `help:"Where the task queues are: amqp:// or amqps://; several brokers of one cluster with commas between." default:"amqp://guest:guest@127.0.0.1:5672/"`
	Prefix       string        `help:"First part of every key and queue name." default:"station"`
	QueueType    string        `help:"Type of the queues: quorum, classic, transient, or auto, which is quorum with several addresses in --rabbitmq-url and transient with one." default:"auto"`
	HTTPAddr     string        `help:"Where /livez, /readyz and /metrics are served; empty for nowhere." default:"127.0.0.1:7003" placeholder:"HOST:PORT"`
	Pprof        string        `help:"Where Go's profiles (/debug/pprof/) and recordings of hops (/debug/hops) are served: a loopback address, since they show memory and can slow the process down; off when empty." placeholder:"HOST:PORT"`
	Advertise    string        `help:"HOST:PORT under which coordinators reach --http-addr." placeholder:"HOST:PORT"`
	Coordinators []string      `help:"URLs of coordinators to ask before an at-most-once node starts, separated by commas; those that announce themselves in the ledger when empty." sep:"," placeholder:"URL"`
	ID           string        `help:"Name of this worker; made up when empty."`
	Pool         string        `help:"Pool whose tasks it takes." default:"default"`
	Concurrency  int           `help:"Nodes it runs at once." default:"16"`
	Lease        time.Duration `help:"How long a claim lasts without a heartbeat; the same on every worker and coordinator." default:"10s"`
	Grace        time.Duration `help:"Time that running nodes get to finish after SIGTERM." default:"30s"`
	EarlyAck     time.Duration `help:"Run time after which a task's message is acked; below the broker's consumer timeout." default:"10m"`
	Direct       bool          `help:"Claim a successor of a node with its report, without a message, where nobody has to wait for it." default:"true" negatable:""`
	Brief        time.Duration `help:"Nodes of types that take no longer, on the average of late, may be claimed several with one report, and run one after the other where places are short; 0 = never." default:"1ms"`
	DataDir      string        `help:"Folder that dataset nodes read and write." default:"." type:"path" placeholder:"DIR"`
	AllowExec    bool          `help:"Carry the exec node type, which runs programs on this machine."`

	AllowPrivateHTTP bool `name:"allow-private-http" help:"Let http nodes reach loopback, private and link-local addresses."`

	PoolQueueTypes []string `help:"Exceptions from --queue-type, as POOL=TYPE, separated by commas." sep:"," placeholder:"POOL=TYPE"`
}

// Validate checks what one value alone does not show.
func (s *Settings) Validate() error {
	_, err := rabbit.ParseTypes(s.QueueType, s.PoolQueueTypes)
	return err
}

// Main runs a worker process with the built-in node types and those that
// register adds; nil adds none. It reads flags and environment, works until the
// process is signalled, and exits.
func Main(register func(*node.Registry)) {
	os.Exit(run(os.Args[1:], register))
}

func run(args []string, register func(*node.Registry)) int {
	var s Settings
	_, err := process.Parse(process.Spec{Name: "worker", Args: args,
		Description: "Takes tasks of one pool from RabbitMQ, runs their nodes and reports what came of them to the ledger in Redis. Start as many as you like."}, &s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		return process.ExitCode(err)
	}
	log, err := process.NewLogger("worker", s.LogLevel, s.LogFormat, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		return process.ExitCode(err)
	}
	defer process.FloorHeap()()
	ctx, stop := process.Signals(context.Background(), log)
	defer stop()
	if err := serve(ctx, s, log, register); err != nil {
		log.Error("worker ends", "error", err)
		return process.ExitCode(err)
	}
	return 0
}
