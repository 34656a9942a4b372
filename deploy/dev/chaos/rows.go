package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/netns"
)

// Row is one kind of fault.
type Row struct {
	ID    string `json:"row"`
	Title string `json:"fault"`
	How   string `json:"how"`           // how it is brought about
	Not   string `json:"not,omitempty"` // why it is not run; "" = it is
	// Failing says what is known to be wrong with the product under this fault.
	Failing string `json:"failing,omitempty"`
	Faults  int    `json:"faults,omitempty"` // of a long run
	Short   int    `json:"short,omitempty"`  // of the short run; 0 = the row is not in it

	Run func(ctx context.Context, t *Trial) error `json:"-"`
}

// Rows returns the fault matrix.
func Rows() []Row {
	rows := []Row{
		{ID: "T1", Title: "leader killed", How: "kill -9 of the leading coordinator", Faults: 100, Short: 5, Run: leaderKilled},
		{ID: "T2", Title: "leader stopped and woken", How: "SIGSTOP for 1 to 10 s, SIGCONT", Faults: 30, Short: 1, Run: leaderStopped},
		{ID: "T3", Title: "worker killed in a node", How: "kill -9 of a worker that runs nodes", Faults: 100, Short: 5, Run: workerKilled},
		{ID: "T4", Title: "worker stopped past its lease", How: "SIGSTOP of a worker that runs nodes, SIGCONT; lease 1 s, every sixth time 10 s", Faults: 60, Short: 1, Run: workerStopped},
		{ID: "T5", Title: "crash at every persist step", How: "binaries with failpoints, exit 137 before and after each step; N/20 times each", Faults: 40, Run: crashPoints},
		{ID: "T6", Title: "unknown results", How: "relay lets the request through, swallows the answer, breaks the connection", Faults: 500, Short: 20, Run: unknownResults},
		{ID: "T7", Title: "links cut, half-open, slow, reset, narrow", How: "a relay on every link, random links and faults", Faults: 100, Short: 10, Run: linkFaults},
		{ID: "T9", Title: "partial partitions of the leader", How: "the link from the leader to etcd, Redis, RabbitMQ or one worker is cut or half-open", Faults: 40, Run: partialPartitions},
		{ID: "T10", Title: "Redis killed", How: "kill -9 and start; half with appendfsync always", Faults: 30, Short: 2, Run: redisKilled},
		{ID: "T11", Title: "Redis away for six leases", How: "stopped, started later; every fifth time after a minute", Faults: 10, Run: redisAway},
		{ID: "T12", Title: "Redis loses its last writes", How: "kill -9, cut the append-only file, start, kill, start", Faults: 30, Short: 1, Run: redisTruncated},
		{ID: "T13", Title: "Redis fails over to a replica", How: "three servers with Sentinels; the primary or a replica killed, stopped or frozen", Faults: 12, Run: nodeLost("redis", 30*time.Second)},
		{ID: "T14", Title: "Redis emptied", How: "FLUSHALL", Faults: 10, Run: redisEmptied},
		{ID: "T15", Title: "Redis without memory or disk", How: "maxmemory lowered; its file on a small tmpfs that is filled up", Faults: 10, Run: redisFull},
		{ID: "T16", Title: "RabbitMQ killed or restarted", How: "kill -9 or TERM, start; application stopped and started", Faults: 20, Short: 1, Run: rabbitRestarted},
		{ID: "T17", Title: "tasks lost in RabbitMQ", How: "queue purged, queue deleted", Faults: 30, Short: 2, Run: tasksLost},
		{ID: "T18", Title: "RabbitMQ alarm", How: "memory watermark lowered for 6 to 15 s", Faults: 5, Run: alarms},
		{ID: "T20", Title: "one RabbitMQ of three lost", How: "the queue's leader or another killed or stopped", Faults: 12, Run: nodeLost("rabbitmq", 30*time.Second)},
		{ID: "T21", Title: "tasks published again", How: "one to four copies of every task, a fifth of them of older ones", Faults: 5000, Short: 200, Run: duplicates},
		{ID: "T22", Title: "etcd away for longer than the lease", How: "the only etcd killed, stopped or frozen", Faults: 12, Short: 1, Run: etcdAway},
		{ID: "T22b", Title: "one etcd of three lost", How: "the leading etcd or another killed, stopped or frozen", Faults: 12, Run: nodeLost("etcd", 5*time.Second)},
		{ID: "T24", Title: "candidacy taken away", How: "election key deleted or lease revoked, under the leader and under who waits", Faults: 40, Short: 2, Run: candidacyLost},
		{ID: "T26", Title: "starved of processor and memory", How: "GOMAXPROCS=1 GOGC=5, 10 s per fault", Faults: 6, Run: starved},
		{ID: "T29", Title: "workers drained under load", How: "SIGTERM of one or of all but one of eight, short grace", Faults: 30, Short: 3, Run: drains},
		{ID: "T30", Title: "API calls that race", How: "four clients cancel, pause, resume, run, delete and make flows", Faults: 2000, Short: 100, Run: apiRaces},
		{ID: "T31", Title: "retention races", How: "one cycle kept whole, two at all, workers killed meanwhile", Faults: 30, Run: retentionRaces},
		{ID: "T32", Title: "soak", Not: "station-chaos soak runs it: random faults of all kinds by seed"},
		{ID: "T33", Title: "links stopped and healed in random order", How: "half of all links at most, one by one", Faults: 20, Run: swizzle},

		{ID: "T8", Title: "packets lost, one way too", How: "a coordinator (the leader every other time) or a worker in a network namespace: wrong neighbour entries, link down; needs root and ip", Faults: 20, Run: packetsLost},
		{ID: "T19", Title: "consumer timeout of the broker", Not: "takes more than five minutes per fault; package rabbit's tests hold early acks against the contract"},
		{ID: "T23", Title: "etcd rebuilt empty or from an old snapshot", How: "stopped, its data put aside or replaced by a snapshot's, started", Faults: 10, Run: etcdRebuilt},
		{ID: "T25", Title: "Redis's clock set by up to an hour", How: "a preloaded library shifts redis-server's wall clock; coordinators' clocks are tested with an injected one", Faults: 20, Run: redisClock},
		{ID: "T27", Title: "few file descriptors, slow clients", How: "the limit of the leader every other time, else of any part, is lowered to a few more than it has open, and 200 clients that send a byte a second, read nothing or say nothing take these", Faults: 12, Run: fewDescriptors},
		{ID: "T28", Title: "rolling upgrade", Not: "there is no earlier release to upgrade from"},
	}
	if why := netns.Missing(); why != "" {
		i := slices.IndexFunc(rows, func(r Row) bool { return r.ID == "T8" })
		rows[i].Not, rows[i].Run = why, nil
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return order(a.ID) - order(b.ID) })
	return rows
}

// order is the number in a row's id.
func order(id string) (n int) {
	_, _ = fmt.Sscanf(id, "T%d", &n)
	return n
}

// Pick finds the named rows; without names, all that are run, or all of the short
// set.
func Pick(names []string, short bool) ([]Row, error) {
	all := Rows()
	var out []Row
	if len(names) == 0 {
		for _, r := range all {
			if r.Not == "" && (!short || r.Short > 0) {
				out = append(out, r)
			}
		}
		return out, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(r Row) bool { return strings.EqualFold(r.ID, name) })
		switch {
		case i < 0:
			return nil, fmt.Errorf("there is no row %q: see station-chaos list", name)
		case all[i].Not != "":
			return nil, fmt.Errorf("row %s is not run: %s", all[i].ID, all[i].Not)
		}
		out = append(out, all[i])
	}
	return out, nil
}
