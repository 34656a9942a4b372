package control

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/coordinator/internal/mirror"
	"github.com/tradingflow/weather-station/coordinator/internal/plans"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/partition"
)

// Part is a partition as the API reaches it. Any coordinator answers for every
// partition: they all reach the same Redis.
type Part struct {
	Ledger   *ledger.Ledger
	Plans    *plans.Cache
	Mirror   *mirror.Mirror
	Election Election
	// Leads tells whether this coordinator is the leader, and so hears the ends of all
	// cycles; nil = never.
	Leads func() bool
	// Transfer ends this coordinator's leadership, as election.Elector.HandTo.
	Transfer func(ctx context.Context, to string) error
}

// of returns the partition that a flow is in.
func (c *Control) of(f ids.FlowID) *Part {
	return &c.cfg.Parts[partition.Of(f, len(c.cfg.Parts))]
}

// several says whether answers have to tell partitions apart.
func (c *Control) several() bool { return len(c.cfg.Parts) > 1 }

// numbered is a partition's number for an answer, nil where there is one only.
func (c *Control) numbered(p int) *int {
	if !c.several() {
		return nil
	}
	return &p
}

// workers lists the live workers, from the first partition whose ledger answers: they
// report themselves to all.
func (c *Control) workers(ctx context.Context) (found []ledger.Worker, err error) {
	for i := range c.cfg.Parts {
		if found, err = c.cfg.Parts[i].Ledger.Workers(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	return found, err
}

// readFlows reads the states of flows and of their latest cycles, in all partitions at
// once.
func (c *Control) readFlows(ctx context.Context, flows []ids.FlowID) ([]read, error) {
	out := make([]read, len(c.cfg.Parts))
	by := make([][]ids.FlowID, len(c.cfg.Parts))
	for _, f := range flows {
		p := partition.Of(f, len(by))
		by[p] = append(by[p], f)
	}
	g, ctx := errgroup.WithContext(ctx)
	for p, own := range by {
		if len(own) == 0 && c.several() {
			continue
		}
		g.Go(func() error { return out[p].of(ctx, c.cfg.Parts[p].Ledger, own) })
	}
	return out, g.Wait()
}

func (r *read) of(ctx context.Context, l *ledger.Ledger, flows []ids.FlowID) (err error) {
	if r.states, err = l.Flows(ctx, flows); err != nil {
		return err
	}
	if r.now, err = l.Now(ctx); err != nil {
		return err
	}
	numbers := make(map[ids.FlowID]int64, len(flows))
	for f, s := range r.states {
		numbers[f] = s.LastCycle
	}
	r.latest, err = l.LatestCycles(ctx, numbers)
	return err
}

// read is what is read of a partition's flows.
type read struct {
	states map[ids.FlowID]ledger.FlowState
	latest map[ids.FlowID]ledger.CycleState
	now    time.Time
}
