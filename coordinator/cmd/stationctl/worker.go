package main

import (
	"context"
	"fmt"
	"strings"
)

type workerCmd struct {
	List workerListCmd `cmd:"" help:"List live workers."`
}

type workerListCmd struct{}

func (workerListCmd) Run(ctx context.Context, a *app) error {
	workers, err := a.client.Workers(ctx)
	if err != nil {
		return err
	}
	return a.print(workers, func() {
		rows := make([][]string, len(workers))
		for i, w := range workers {
			state := "active"
			if w.Draining {
				state = "draining"
			}
			rows[i] = []string{clean(w.WorkerID), clean(w.Pool), a.paint(state), fmt.Sprintf("%d/%d", w.Busy, w.Concurrency),
				dash(w.Version), dash(w.LastBeat.String()), dash(w.HealthAddress), dash(strings.Join(w.NodeTypes, ","))}
		}
		a.table([]string{"worker", "pool", "state", "busy", "version", "last beat", "health", "node types"}, rows)
	})
}
