package drill

import (
	"fmt"
	"strings"
	"time"
)

// Fault is a name of what is done to the cluster, as "leader-kill".
type Fault string

// The faults.
const (
	LeaderKill      Fault = "leader-kill"      // the leader's process is killed
	LeaderPause     Fault = "leader-pause"     // it is stopped and goes on after a while
	WorkerKill      Fault = "worker-kill"      // a worker is killed while it runs a node
	WorkerPause     Fault = "worker-pause"     // a worker is stopped while it runs a node
	RedisRestart    Fault = "redis-restart"    // Redis ends and comes back
	RabbitMQRestart Fault = "rabbitmq-restart" // RabbitMQ ends and comes back
	EtcdRestart     Fault = "etcd-restart"     // etcd ends and comes back
)

// Faults returns every fault, in the order in which help lists them.
func Faults() []Fault {
	return []Fault{LeaderKill, LeaderPause, WorkerKill, WorkerPause, RedisRestart, RabbitMQRestart, EtcdRestart}
}

// ParseFault returns the fault of that name.
func ParseFault(name string) (Fault, error) {
	var known []string
	for _, f := range Faults() {
		if string(f) == name {
			return f, nil
		}
		known = append(known, string(f))
	}
	return "", fmt.Errorf("fault %q is not known; choose one of %s", name, strings.Join(known, ", "))
}

func (f Fault) hitsLeader() bool { return f == LeaderKill || f == LeaderPause }
func (f Fault) hitsWorker() bool { return f == WorkerKill || f == WorkerPause }
func (f Fault) pauses() bool     { return f == LeaderPause || f == WorkerPause }

// server returns the server that the fault restarts, "" for any other fault.
func (f Fault) server() string {
	name, ok := strings.CutSuffix(string(f), "-restart")
	if !ok {
		return ""
	}
	return name
}

// Interval returns the canary's interval that fits the fault: short, to measure
// well, and long enough that the cycles which a cluster keeps, 100 by default,
// reach back over the time that a cycle may wait.
func (f Fault) Interval() time.Duration {
	if f.pauses() || f == RabbitMQRestart {
		return 500 * time.Millisecond // they wait for a lease, or until the broker is there
	}
	return 100 * time.Millisecond
}

// Names are the processes of a round. Worker runs the canary's longer node; it
// is empty for faults that hit no worker.
type Names struct {
	Leader string
	Worker string
}

// process returns the name of what the fault hits.
func (f Fault) process(n Names) string {
	switch {
	case f.hitsLeader():
		return n.Leader
	case f.hitsWorker():
		return n.Worker
	default:
		return f.server()
	}
}
