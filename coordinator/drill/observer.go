package drill

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
)

// seen is a cycle of the canary as it was seen last.
type seen struct {
	api.CycleSummary
	repeated int // attempts beyond the first of each node
	lost     int
	detailed bool // repeated and lost are known
}

// gone is the status of a cycle that is kept no more and whose end was not seen.
const gone = "gone"

// over reports whether nothing new is to be seen of a cycle.
func (s *seen) over() bool { return s.Status == gone || api.CycleEnded(s.Status) }

// observer collects what the API shows of the canary and of the cluster. A call
// that fails leaves what is known as it is.
type observer struct {
	cfg  *Config
	flow string

	leader   api.Leader // the newest that was seen
	changed  time.Time  // when an epoch later than epoch was seen first
	epoch    int64      // leadership before the fault; 0 while the fault is not done
	down     map[string]bool
	cycles   map[int64]*seen
	lastFail error // of the newest look, nil after one without failures
}

// look asks once for all that changes.
func (o *observer) look(ctx context.Context) {
	o.lastFail = nil
	cluster, err := o.cfg.Fleet.Cluster(ctx)
	if err != nil {
		o.lastFail = err
	} else {
		for _, d := range cluster.Health {
			if !d.OK {
				o.down[d.Name] = true
			}
		}
		if l := cluster.Leader; l != nil && l.Epoch >= o.leader.Epoch {
			o.leader = *l
			if o.epoch > 0 && l.Epoch > o.epoch && o.changed.IsZero() {
				o.changed = time.Now()
			}
		}
	}
	o.lookAtCycles(ctx)
}

// lookAtCycles reads the newest cycles, and each that ended once with its nodes:
// old ones are archived soon.
func (o *observer) lookAtCycles(ctx context.Context) {
	list, err := o.cfg.Cycles.Cycles(ctx, o.flow, 100, 0)
	if err != nil {
		o.lastFail = err
		return
	}
	listed := map[int64]bool{}
	for _, c := range slices.Backward(list.Cycles) {
		listed[c.Cycle] = true
		s := o.cycles[c.Cycle]
		if s == nil {
			s = &seen{}
			o.cycles[c.Cycle] = s
		}
		s.CycleSummary = c
		if !s.detailed && api.CycleEnded(c.Status) {
			o.open(ctx, c.Cycle)
		}
	}
	for n, s := range o.cycles { // a cycle that waits long is not among the newest
		if !listed[n] && !s.over() {
			o.open(ctx, n)
		}
	}
}

// open reads a cycle with its nodes.
func (o *observer) open(ctx context.Context, n int64) {
	if ctx.Err() != nil {
		return
	}
	s := o.cycles[n]
	whole, err := o.cfg.Cycles.Cycle(ctx, o.flow, n)
	var problem *client.Problem
	switch {
	case errors.As(err, &problem) && problem.Status == http.StatusNotFound && !s.over():
		s.Status, s.CompletedAt = gone, api.At(time.Now())
		return
	case err != nil:
		o.lastFail = err
		return
	}
	s.CycleSummary = whole.CycleSummary
	if s.detailed = api.CycleEnded(whole.Status); !s.detailed {
		return
	}
	s.repeated, s.lost = 0, 0
	for _, node := range whole.Nodes {
		s.repeated += max(0, node.Attempt-1)
		s.lost += node.Lost
	}
}

// running returns a worker that runs the canary's longer node now, and in which
// cycle; the newest cycle of those, as it has the most of the node ahead.
func (o *observer) running(ctx context.Context) (worker string, cycle int64) {
	var open []int64
	for n, c := range o.cycles {
		if c.Status == api.CycleRunning {
			open = append(open, n)
		}
	}
	slices.Sort(open)
	for _, n := range slices.Backward(open) {
		node, err := o.cfg.Cycles.Node(ctx, o.flow, n, longNode)
		if err == nil && node.Status == "running" && node.Worker != "" {
			return node.Worker, n
		}
	}
	return "", 0
}

// completed counts the cycles that started at or after an instant and completed.
func (o *observer) completed(since time.Time) (n int) {
	for _, c := range o.cycles {
		if c.Status == api.CycleCompleted && after(c.StartedAt, since) {
			n++
		}
	}
	return n
}

// firsts returns when the first cycle after an instant started, and when the
// first of those that started after it completed; zero for "none yet".
func (o *observer) firsts(since time.Time) (started, completed time.Time) {
	for _, c := range o.cycles {
		if !after(c.StartedAt, since) {
			continue
		}
		if started.IsZero() || c.StartedAt.Before(started) {
			started = c.StartedAt.Time
		}
		if c.Status == api.CycleCompleted && (completed.IsZero() || c.CompletedAt.Before(completed)) {
			completed = c.CompletedAt.Time
		}
	}
	return started, completed
}

// after reports whether t is not before since. Instants of the API are cut to
// milliseconds, so one that is equal to since cut may lie before it and does not
// count.
func after(t api.Time, since time.Time) bool {
	return !t.IsZero() && t.After(since)
}
