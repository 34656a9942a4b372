package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/topology"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
)

// cycleID tells cycles apart.
type cycleID struct {
	flow  string
	cycle int64
}

// printer writes what a person wants to see. Leaders hand it cycles; one
// goroutine, that of follow, writes.
type printer struct {
	out     io.Writer
	orders  *tail
	dataDir string
	wake    chan struct{}

	mu    sync.Mutex
	queue []ledger.CycleState
	told  map[cycleID]bool
	count int
}

func newPrinter(out io.Writer, dataDir string) (*printer, error) {
	orders, err := newTail(dataDir)
	if err != nil {
		return nil, err
	}
	return &printer{out: out, orders: orders, dataDir: dataDir, wake: make(chan struct{}, 1), told: map[cycleID]bool{}}, nil
}

// printf writes a line; a terminal that is gone is nobody's concern.
func (p *printer) printf(format string, args ...any) { _, _ = fmt.Fprintf(p.out, format+"\n", args...) }

// begin waits for the cluster, registers the flows and tells where all is.
// A flow that is refused is told and stops nothing.
func (p *printer) begin(ctx context.Context, t *topology.Topology, cfg topology.Config, flows []topology.Document, began time.Time) error {
	c, err := t.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := t.Await(ctx, c); err != nil {
		return err
	}
	names, refused := topology.Register(ctx, c, flows)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.printf("Weather Station runs in this process: %d coordinators, %d workers, started in %s.", cfg.Coordinators, cfg.Workers,
		time.Since(began).Round(time.Millisecond))
	p.printf("  API     %s (described at /openapi.json)", strings.Join(t.APIs(), ", "))
	p.printf("  data    %s", p.dataDir)
	p.printf("  orders  %s", p.orders.pattern)
	p.printf("  flows   %s", strings.Join(names, ", "))
	if cfg.Faults != nil {
		p.printf("  faults  http://%s/faults; bin/stationctl drill leader-kill --dev http://%[1]s", cfg.Faults.Addr())
	}
	if cfg.Profiles != nil {
		p.printf("  pprof   http://%s/debug/pprof/", cfg.Profiles.Addr())
	}
	p.printf("  try     export STATION_SERVER=%s; bin/stationctl flow list", strings.Join(t.APIs(), ","))
	kept := "Nothing of the embedded servers survives this process"
	if cfg.EtcdDir != "" {
		kept = "Of the embedded servers only the flows survive this process"
	}
	p.printf("%s, and their speed says nothing about the real ones.", kept)
	if refused != nil {
		p.printf("refused flows:\n%s", refused)
	}
	p.printf("")
	return nil
}

// ended hears of a cycle from a leader, possibly twice.
func (p *printer) ended(c ledger.CycleState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := cycleID{string(c.Flow), c.Cycle}
	if p.told[id] {
		return
	}
	p.told[id] = true
	p.count++
	delete(p.told, cycleID{id.flow, id.cycle - 1000}) // told twice only around a failover
	p.queue = append(p.queue, c)
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// follow writes cycles and orders until ctx ends.
func (p *printer) follow(ctx context.Context) {
	for {
		select {
		case <-p.wake:
			p.flush()
		case <-ctx.Done():
			return
		}
	}
}

func (p *printer) flush() {
	p.mu.Lock()
	cycles := p.queue
	p.queue = nil
	p.mu.Unlock()
	for _, c := range cycles {
		p.printf("%s", line(c))
	}
	for _, order := range p.orders.more() {
		p.printf("          order  %s", order)
	}
}

// end writes what came while the cluster stopped.
func (p *printer) end(began time.Time) {
	p.flush()
	p.printf("stopped after %s and %d cycles; data is in %s", time.Since(began).Round(time.Second), p.count, p.dataDir)
}

// line tells of one cycle.
func line(c ledger.CycleState) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s  %-16s cycle %-5d %-9s %7s  %d nodes:", c.CompletedAt.Local().Format("15:04:05"), c.Flow, c.Cycle, c.Status,
		c.CompletedAt.Sub(c.StartedAt).Round(time.Millisecond), c.Total)
	sep := " "
	for _, s := range []task.Status{task.Succeeded, task.Failed, task.Skipped, task.Stopped, task.Cancelled, task.Unknown} {
		if n := c.Counts[s]; n > 0 {
			fmt.Fprintf(b, "%s%d %s", sep, n, s)
			sep = ", "
		}
	}
	if c.Error != "" {
		fmt.Fprintf(b, "; %s", c.Error)
	}
	return b.String()
}
