package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/election"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Info is what a coordinator tells of itself in its election key.
type Info struct {
	HTTP    string `json:"http"`
	Version string `json:"version"`
}

// Cluster returns the state of the deployment as this coordinator sees it.
func (c *Control) Cluster(ctx context.Context) (api.Cluster, error) {
	out := api.Cluster{Members: []api.Member{}, Schema: ledger.Schema, Pools: []api.Pool{}, Health: c.cfg.Ready(ctx), Repairs: map[string]int64{}, Recoveries: []api.Recovery{}}
	leader, err := c.cfg.Election.Leader(ctx)
	if err == nil {
		out.Leader = &api.Leader{ID: leader.ID, Epoch: int64(leader.Epoch), Since: api.At(leader.Since), Address: info(leader.Candidate).HTTP}
	} else if !errors.Is(err, election.ErrNoLeader) {
		c.cfg.Log.Debug("leader is not known", "error", err)
	}
	members, err := c.cfg.Election.Members(ctx)
	if err != nil {
		c.cfg.Log.Debug("members are not known", "error", err)
	}
	for _, m := range members {
		i := info(m)
		out.Members = append(out.Members, api.Member{ID: m.ID, Address: i.HTTP, Version: i.Version, Since: api.At(m.Joined),
			Leader: out.Leader != nil && m.Key == leader.Key, Self: m.ID == c.cfg.ID})
	}
	workers, err := c.cfg.Ledger.Workers(ctx)
	if err != nil { // the answer is still worth having: it says that redis is away
		return out, nil //nolint:nilerr // shown as a dependency
	}
	out.Pools = c.pools(ctx, workers)
	if err := c.repaired(ctx, &out); err != nil {
		return out, nil //nolint:nilerr // shown as a dependency
	}
	return out, nil
}

// repaired adds what was lost and put back.
func (c *Control) repaired(ctx context.Context, out *api.Cluster) error {
	counts, err := c.cfg.Ledger.Repairs(ctx)
	if err != nil {
		return err
	}
	latest, err := c.cfg.Ledger.Recoveries(ctx)
	if err != nil {
		return err
	}
	out.Repairs = counts
	for _, r := range latest {
		out.Recoveries = append(out.Recoveries, api.Recovery{At: api.At(r.At), What: r.What})
	}
	return nil
}

func info(m election.Candidate) Info {
	var i Info
	if json.Unmarshal(m.Info, &i) != nil {
		return Info{}
	}
	return i
}

// pools lists every pool that has workers or is named by a flow.
func (c *Control) pools(ctx context.Context, workers []ledger.Worker) []api.Pool {
	byName := map[string]*api.Pool{}
	get := func(name string) *api.Pool {
		if byName[name] == nil {
			byName[name] = &api.Pool{Pool: name}
		}
		return byName[name]
	}
	get(plan.DefaultPool)
	for _, w := range workers {
		p := get(w.Pool)
		p.Workers++
		p.Capacity += w.Concurrency
		p.Busy += w.Busy
	}
	c.cfg.Registry.Each(func(f *registry.Flow) bool {
		for _, name := range f.Pools() {
			get(name)
		}
		return true
	})
	out := make([]api.Pool, 0, len(byName))
	for name, p := range byName {
		d, err := c.cfg.Depths.Depth(ctx, taskqueue.Queue(c.cfg.Prefix, name))
		switch {
		case err == nil:
			p.Ready, p.Consumers = d.Ready, d.Consumers
		case p.Workers > 0 && !errors.Is(err, taskqueue.ErrDisconnected): // that is told of the server
			p.Fault = err.Error()
		}
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b api.Pool) int { return cmp.Compare(a.Pool, b.Pool) })
	return out
}

// Workers returns the live workers, ordered by pool and id.
func (c *Control) Workers(ctx context.Context) ([]api.Worker, error) {
	workers, err := c.cfg.Ledger.Workers(ctx)
	if err != nil {
		return nil, translate(err, "workers")
	}
	out := make([]api.Worker, len(workers))
	for i, w := range workers {
		out[i] = api.Worker{WorkerID: string(w.ID), Pool: w.Pool, NodeTypes: w.Types, Concurrency: w.Concurrency, Busy: w.Busy,
			Version: w.Version, StartedAt: api.At(w.StartedAt), LastBeat: api.At(w.LastBeat), HealthAddress: w.Health, Draining: w.Draining}
	}
	slices.SortFunc(out, func(a, b api.Worker) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.WorkerID, b.WorkerID))
	})
	return out, nil
}
