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
	LeaderTransfer  Fault = "leader-transfer"  // it hands over, as asked
	LeaderIsolate   Fault = "leader-isolate"   // its packets vanish, to and from everybody
	WorkerKill      Fault = "worker-kill"      // a worker is killed while it runs a node
	WorkerPause     Fault = "worker-pause"     // a worker is stopped while it runs a node
	RedisRestart    Fault = "redis-restart"    // Redis ends and comes back
	RabbitMQRestart Fault = "rabbitmq-restart" // RabbitMQ ends and comes back
	EtcdRestart     Fault = "etcd-restart"     // etcd ends and comes back
	ServerKill      Fault = "server-kill"      // a server is killed; one of several stays away until the cluster recovered
	Partition       Fault = "partition"        // packets between two parts vanish for a while
	Delay           Fault = "delay"            // packets between two parts are late for a while
)

// Faults returns every fault, in the order in which help lists them.
func Faults() []Fault {
	return []Fault{LeaderKill, LeaderPause, LeaderTransfer, LeaderIsolate, WorkerKill, WorkerPause, RedisRestart, RabbitMQRestart, EtcdRestart,
		ServerKill, Partition, Delay}
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

func (f Fault) hitsLeader() bool {
	return f == LeaderKill || f == LeaderPause || f == LeaderTransfer || f == LeaderIsolate
}
func (f Fault) hitsLink() bool   { return f == Partition || f == Delay }
func (f Fault) lasts() bool      { return f.pauses() || f.hitsLink() } // for Config.Pause
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
	if f.lasts() || f == RabbitMQRestart || f == ServerKill || f == LeaderIsolate {
		return 500 * time.Millisecond // they wait for a lease, or until the broker is there
	}
	return 100 * time.Millisecond
}

// Names are the parts of a round. Worker runs the canary's longer node; it is
// empty for faults that hit no worker.
type Names struct {
	Leader  string
	Worker  string
	Server  string        // of ServerKill
	Between [2]string     // of Partition and Delay
	Delay   time.Duration // of Delay
}

// process returns the name of what the fault hits.
func (f Fault) process(n Names) string {
	switch {
	case f.hitsLeader():
		return n.Leader
	case f.hitsWorker():
		return n.Worker
	case f == ServerKill:
		return n.Server
	default:
		return f.server()
	}
}
