package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/tradingflow/weather-station/coordinator/api"
)

type clusterCmd struct {
	Status clusterStatusCmd `cmd:"" help:"Show leader, coordinators, pools and health."`
}

type clusterStatusCmd struct{}

func (clusterStatusCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client.Cluster(ctx)
	if err != nil {
		return err
	}
	return a.print(c, func() { a.showCluster(c) })
}

func (a *app) showCluster(c api.Cluster) {
	leader := a.paint("nobody leads")
	if l := c.Leader; l != nil {
		leader = fmt.Sprintf("%s, epoch %d, since %s, at %s", clean(l.ID), l.Epoch, dash(l.Since.String()), dash(l.Address))
	}
	a.fields("leader", leader, "schema", clean(c.Schema))
	if len(c.Members) > 0 {
		rows := make([][]string, len(c.Members))
		for i, m := range c.Members {
			role := "standby"
			if m.Leader {
				role = "leader"
			}
			if n := len(m.Partitions); n > 0 {
				role = fmt.Sprintf("leads %d", n)
			}
			if m.Self {
				role += ", answers"
			}
			rows[i] = []string{clean(m.ID), role, dash(m.Address), dash(m.Version), dash(m.Since.String())}
		}
		fmt.Fprintln(a.out)
		a.table([]string{"coordinator", "role", "address", "version", "since"}, rows)
	}
	if len(c.Partitions) > 0 {
		rows := make([][]string, len(c.Partitions))
		for i, p := range c.Partitions {
			rows[i] = []string{strconv.Itoa(p.Partition), a.paint("nobody leads"), "-", "-"}
			if l := p.Leader; l != nil {
				rows[i] = []string{strconv.Itoa(p.Partition), clean(l.ID), strconv.FormatInt(l.Epoch, 10), dash(l.Since.String())}
			}
		}
		fmt.Fprintln(a.out)
		a.table([]string{"partition", "leader", "epoch", "since"}, rows)
	}
	if len(c.Pools) > 0 {
		rows := make([][]string, len(c.Pools))
		for i, p := range c.Pools {
			rows[i] = []string{clean(p.Pool), strconv.Itoa(p.Ready), strconv.Itoa(p.Consumers), strconv.Itoa(p.Workers),
				fmt.Sprintf("%d/%d", p.Busy, p.Capacity)}
		}
		fmt.Fprintln(a.out)
		a.table([]string{"pool", "queued", "consumers", "workers", "busy"}, rows)
		for _, p := range c.Pools {
			if p.Fault != "" {
				fmt.Fprintf(a.out, "pool %s: %s\n", clean(p.Pool), clean(p.Fault))
			}
		}
	}
	if len(c.Health) > 0 {
		rows := make([][]string, len(c.Health))
		for i, d := range c.Health {
			state := "ok"
			if !d.OK {
				state = "down"
			}
			rows[i] = []string{clean(d.Name), a.paint(state), dash(d.Detail)}
		}
		fmt.Fprintln(a.out)
		a.table([]string{"server", "state", "detail"}, rows)
	}
	a.showRepairs(c)
}

// showRepairs tells what stores had lost and was put back.
func (a *app) showRepairs(c api.Cluster) {
	if len(c.Repairs) > 0 {
		rows := make([][]string, 0, len(c.Repairs))
		for _, kind := range slices.Sorted(maps.Keys(c.Repairs)) {
			rows = append(rows, []string{clean(kind), strconv.FormatInt(c.Repairs[kind], 10)})
		}
		fmt.Fprintln(a.out)
		a.table([]string{"repaired", "times"}, rows)
	}
	if len(c.Recoveries) > 0 {
		rows := make([][]string, len(c.Recoveries))
		for i, r := range c.Recoveries {
			rows[i] = []string{dash(r.At.String()), clean(r.What)}
		}
		fmt.Fprintln(a.out)
		a.table([]string{"recovered at", "from"}, rows)
	}
}
