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
	c.seats(ctx, &out)
	workers, err := c.workers(ctx)
	if err != nil { // the answer is still worth having: it says that redis is away
		return out, nil //nolint:nilerr // shown as a dependency
	}
	out.Pools = c.pools(ctx, workers)
	if err := c.repaired(ctx, &out); err != nil {
		return out, nil //nolint:nilerr // shown as a dependency
	}
	return out, nil
}

// seats adds who leads and who stands, in all partitions. The leader of the whole is
// that of partition 0.
func (c *Control) seats(ctx context.Context, out *api.Cluster) {
	at := map[string]int{} // index of a member by its instance
	for p := range c.cfg.Parts {
		var lead *api.Leader
		leader, err := c.cfg.Parts[p].Election.Leader(ctx)
		if err == nil {
			lead = &api.Leader{ID: leader.ID, Epoch: int64(leader.Epoch), Since: api.At(leader.Since), Address: info(leader.Candidate).HTTP}
		} else if !errors.Is(err, election.ErrNoLeader) {
			c.cfg.Log.Debug("leader is not known", "partition", p, "error", err)
		}
		if p == 0 {
			out.Leader = lead
		}
		if c.several() {
			out.Partitions = append(out.Partitions, api.Partition{Partition: p, Leader: lead})
		}
		members, err := c.cfg.Parts[p].Election.Members(ctx)
		if err != nil {
			c.cfg.Log.Debug("members are not known", "partition", p, "error", err)
		}
		for _, m := range members {
			i, known := at[m.Instance]
			if !known || !c.several() { // one that lost its lease may stand twice for a while
				inf := info(m)
				i = len(out.Members)
				at[m.Instance] = i
				out.Members = append(out.Members, api.Member{ID: m.ID, Address: inf.HTTP, Version: inf.Version, Since: api.At(m.Joined), Self: m.ID == c.cfg.ID})
			}
			if lead == nil || m.Key != leader.Key {
				continue
			}
			out.Members[i].Leader = true
			if c.several() {
				out.Members[i].Partitions = append(out.Members[i].Partitions, p)
			}
		}
	}
}

// repaired adds what was lost and put back, in all partitions.
func (c *Control) repaired(ctx context.Context, out *api.Cluster) error {
	for p := range c.cfg.Parts {
		counts, err := c.cfg.Parts[p].Ledger.Repairs(ctx)
		if err != nil {
			return err
		}
		latest, err := c.cfg.Parts[p].Ledger.Recoveries(ctx)
		if err != nil {
			return err
		}
		for kind, n := range counts {
			out.Repairs[kind] += n
		}
		for _, r := range latest {
			out.Recoveries = append(out.Recoveries, api.Recovery{At: api.At(r.At), What: r.What, Partition: c.numbered(p)})
		}
	}
	if c.several() {
		slices.SortStableFunc(out.Recoveries, func(a, b api.Recovery) int { return b.At.Compare(a.At.Time) })
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
	workers, err := c.workers(ctx)
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
