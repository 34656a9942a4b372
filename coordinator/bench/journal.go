package bench

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/bench/shape"
	"github.com/tradingflow/weather-station/coordinator/client"
)

// history is what the journal tells of the cycles of a job. Its instants are those
// of Redis, in milliseconds.
type history struct {
	job      shape.Job
	before   [][]int // predecessors of each node
	open     map[string]*past
	out      *shape.Sample
	from, to time.Time // slots that count; zero = no slots
}

// past is a cycle while it is read.
type past struct {
	began time.Time
	ended []time.Time // of each node
}

// read adds to the sample of the job that ran last what the journal has of it.
func (c *cluster) read(ctx context.Context, job shape.Job, out *shape.Sample) error {
	h := &history{job: job, before: predecessors(job.Shape), open: map[string]*past{}, out: out}
	if job.Every > 0 {
		h.from, h.to = c.from, c.from.Add(out.Took)
		defer func() { out.Nodes = len(out.Late) * len(job.Shape.Next) }()
	}
	opts := client.JournalOptions{From: c.from.UTC().Format(api.TimeFormat)}
	prefix, other, beside := c.prefix+"-"+job.Name+"-", "", (*history)(nil)
	switch {
	case job.Beside != nil:
		other = c.id(*job.Beside, 0)
		beside = &history{job: *job.Beside, before: predecessors(job.Beside.Shape), open: map[string]*past{}, out: &shape.Sample{}}
		defer func() { out.Beside = beside.out.Hops }()
	case job.Flows == 1:
		opts.Flow = c.id(job, 0)
	}
	for {
		page, err := c.cycles.Journal(ctx, opts)
		if err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		for _, r := range page.Records {
			switch {
			case strings.HasPrefix(r.FlowID, prefix):
				h.add(r)
			case beside != nil && r.FlowID == other:
				beside.add(r)
			}
		}
		if page.Next == "" {
			break
		}
		opts.After, opts.From = page.Next, ""
	}
	if job.Every > 0 {
		return c.remove(ctx, prefix) // they tick on otherwise
	}
	return nil
}

func predecessors(s shape.Shape) [][]int {
	before := make([][]int, len(s.Next))
	for n, next := range s.Next {
		for _, m := range next {
			before[m] = append(before[m], n)
		}
	}
	return before
}

// add takes the next record.
func (h *history) add(r api.JournalRecord) {
	key := r.FlowID + "/" + strconv.FormatInt(r.Cycle, 10)
	at := r.At.Time
	switch r.Op {
	case "cycle_start":
		slot, _, _ := strings.Cut(r.Detail, " ")
		if ms, err := strconv.ParseInt(slot, 10, 64); err == nil {
			due := time.UnixMilli(ms)
			if due.Before(h.from) || !due.Before(h.to) {
				return
			}
			h.out.Late = append(h.out.Late, at.Sub(due))
		}
		h.open[key] = &past{began: at, ended: make([]time.Time, len(h.before))}
	case "outcome":
		p, n := h.open[key], shape.NodeOf(r.NodeID)
		if p == nil || n < 0 || n >= len(p.ended) {
			return
		}
		p.ended[n] = at
		ready := p.began
		for _, b := range h.before[n] {
			if p.ended[b].After(ready) {
				ready = p.ended[b]
			}
		}
		h.out.Hops = append(h.out.Hops, at.Sub(ready))
	case "cycle_end":
		if p := h.open[key]; p != nil {
			h.out.Cycles = append(h.out.Cycles, at.Sub(p.began))
			delete(h.open, key)
		}
	}
}
