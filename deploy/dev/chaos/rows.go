package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
	return []Row{
		{ID: "T1", Title: "leader killed", How: "kill -9 of the leading coordinator", Faults: 100, Short: 5, Run: leaderKilled},
		{ID: "T2", Title: "leader stopped and woken", How: "SIGSTOP for 1 to 10 s, SIGCONT", Faults: 30, Short: 1, Run: leaderStopped},
		{ID: "T3", Title: "worker killed in a node", How: "kill -9 of a worker that runs nodes", Faults: 100, Short: 5, Run: workerKilled},
		{ID: "T4", Title: "worker stopped past its lease", How: "SIGSTOP of a worker that runs nodes, SIGCONT", Faults: 30, Short: 1, Run: workerStopped},
		{ID: "T10", Title: "Redis killed", How: "kill -9 and start; half with appendfsync always", Faults: 30, Short: 2, Run: redisKilled},
		{ID: "T12", Title: "Redis loses its last writes", How: "kill -9, cut the append-only file, start, kill, start", Faults: 30, Short: 1, Run: redisTruncated},
		{ID: "T16", Title: "RabbitMQ killed or restarted", How: "kill -9 or TERM, start; application stopped and started", Faults: 20, Short: 1, Run: rabbitRestarted},
		{ID: "T17", Title: "tasks lost in RabbitMQ", How: "queue purged, queue deleted", Faults: 30, Short: 2, Run: tasksLost},
	}
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
