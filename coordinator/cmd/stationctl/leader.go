package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

type leaderCmd struct {
	Transfer leaderTransferCmd `cmd:"" help:"Hand the leadership over to a standby."`
}

type leaderTransferCmd struct {
	Partition int `help:"Which partition's leadership; 0 is the only one unless there are several." placeholder:"NUMBER"`

	Wait bool `short:"w" help:"Wait until another coordinator leads, and print how long that took."`
}

func (leaderTransferCmd) Help() string {
	return "The leader finishes what it has in hand, then a standby is elected. Refused when no other coordinator stands by.\n\nExamples:\n\n" +
		"    stationctl leader transfer\n    stationctl leader transfer --wait\n    stationctl leader transfer --partition 3"
}

// transferred is the answer with --wait: the API's, and who leads now.
type transferred struct {
	api.Transfer
	To      string `json:"to"`
	ToEpoch int64  `json:"to_epoch"`
	TookMS  int64  `json:"took_ms"`
}

func (c *leaderTransferCmd) Run(ctx context.Context, a *app) error {
	began := time.Now()
	t, err := a.client.TransferPartition(ctx, c.Partition, false)
	if err != nil {
		return err
	}
	if !c.Wait {
		return a.print(t, func() { fmt.Fprintf(a.out, "%s leads no more (epoch %d)\n", clean(t.From), t.Epoch) })
	}
	next, err := a.successor(ctx, t, c.Partition)
	if err != nil {
		return err
	}
	took := time.Since(began)
	out := transferred{Transfer: t, To: next.ID, ToEpoch: next.Epoch, TookMS: took.Milliseconds()}
	return a.print(out, func() {
		fmt.Fprintf(a.out, "%s leads with epoch %d instead of %s: %s\n", clean(next.ID), next.Epoch, clean(t.From), seconds(took.Seconds()))
	})
}

// successor asks who leads until that is another one, in a later epoch.
func (a *app) successor(ctx context.Context, t api.Transfer, partition int) (*api.Leader, error) {
	tick := time.NewTicker(max(a.poll/10, time.Millisecond)) // it takes milliseconds
	defer tick.Stop()
	asked := time.Now()
	for {
		c, err := a.client.Cluster(ctx)
		late := time.Since(asked) > a.patience
		leader := c.Leader
		if partition < len(c.Partitions) {
			leader = c.Partitions[partition].Leader
		}
		switch {
		case err == nil && leader != nil && leader.Epoch > t.Epoch && leader.ID != t.From:
			return leader, nil
		case err == nil && late:
			fmt.Fprintf(a.err, "stationctl: %s handed over, and nobody else leads after %s\n", clean(t.From), a.patience)
			return nil, &reportedError{exitFailed}
		case err != nil && ctx.Err() == nil && (late || !mayPass(err)):
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("stopped waiting; %s handed over all the same", t.From)
		case <-tick.C:
		}
	}
}
