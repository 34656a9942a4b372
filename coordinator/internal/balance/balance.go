package balance

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/election"
)

// Times of damping; see the package.
const (
	Calm = 3 * time.Second
	Step = 500 * time.Millisecond
)

// Partition is an election as balancing sees it.
type Partition interface {
	Watch() (views <-chan election.View, end func())
	HandTo(ctx context.Context, instance string) error
}

// Config of Run.
type Config struct {
	Partitions []Partition
	Instance   string // of this coordinator
	Log        hclog.Logger
	Calm, Step time.Duration // Calm and Step when 0
}

// Run hands over what this coordinator leads too much of, until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Calm == 0 {
		cfg.Calm = Calm
	}
	if cfg.Step == 0 {
		cfg.Step = Step
	}
	views := make([]<-chan election.View, len(cfg.Partitions))
	for p, e := range cfg.Partitions {
		var end func()
		views[p], end = e.Watch()
		defer end()
	}
	d := damper{calm: cfg.Calm, step: cfg.Step}
	seats := make([]Seats, len(views))
	t := time.NewTicker(cfg.Step / 2)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
		for p, c := range views {
			select {
			case v := <-c:
				seats[p] = Of(v)
			default:
			}
		}
		m, uneven := Next(seats)
		if !d.settled(seats, time.Now()) || !uneven || m.From != cfg.Instance {
			continue
		}
		cfg.Log.Info("partition is handed over to a coordinator that leads fewer", "partition", m.Partition, "to", m.To)
		if err := cfg.Partitions[m.Partition].HandTo(ctx, m.To); err != nil && ctx.Err() == nil {
			cfg.Log.Warn("partition can't be handed over now", "partition", m.Partition, "error", err)
			d.moved = time.Now() // tried again after a step
		}
	}
}

// Of reads the seats of a partition from its election.
func Of(v election.View) Seats {
	var s Seats
	if v.Leader != nil {
		s.Leader = v.Leader.Instance
	}
	for _, m := range v.Members {
		s.Line = append(s.Line, m.Instance)
	}
	return s
}

// damper tells whether nothing has moved for long enough.
type damper struct {
	calm, step time.Duration

	leaders, members []string
	moved, changed   time.Time
}

func (d *damper) settled(all []Seats, now time.Time) bool {
	var leaders, members []string
	for _, s := range all {
		leaders = append(leaders, s.Leader)
		members = append(members, s.Line...)
	}
	slices.Sort(members)
	members = slices.Compact(members)
	if !slices.Equal(leaders, d.leaders) {
		d.leaders, d.moved = leaders, now
	}
	if !slices.Equal(members, d.members) {
		d.members, d.changed = members, now
	}
	return now.Sub(d.moved) >= d.step && now.Sub(d.changed) >= d.calm
}
