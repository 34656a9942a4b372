package topology_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/topology"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/partition"
)

// loads is how many partitions each coordinator leads, the highest first; nil while one
// has no leader.
func loads(c api.Cluster) []int {
	var out []int
	for _, p := range c.Partitions {
		if p.Leader == nil {
			return nil
		}
	}
	for _, m := range c.Members {
		out = append(out, len(m.Partitions))
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out
}

func TestPartitionsSpreadAndSurvive(t *testing.T) {
	const partitions = 4
	c := start(t, topology.Config{Partitions: partitions, Coordinators: 3})
	spread := func(want ...int) {
		t.Helper()
		limit := time.After(time.Minute)
		for {
			cl, err := c.client.Cluster(c.ctx)
			if err == nil && slices.Equal(loads(cl), want) {
				return
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-limit:
				t.Fatalf("coordinators lead %v of %d partitions, want %v; %v", loads(cl), partitions, want, err)
			}
		}
	}
	spread(2, 1, 1)

	var flows []string
	var docs []topology.Document
	in := map[int]int{}
	for i := 0; len(in) < partitions || i < 8; i++ {
		f := fmt.Sprintf("flow-%d", i)
		flows = append(flows, f)
		in[partition.Of(ids.FlowID(f), partitions)]++
		docs = append(docs, topology.Document{Name: f, Text: []byte("flow_id: " + f +
			"\nschedule_type: periodic\ninterval_seconds: 1\nnodes: [{id: a, type: log, parameters: {message: hello}}, {id: b, type: log, parameters: {message: hello}}]\nedges: [{source: a, target: b}]\n")})
	}
	if _, err := topology.Register(c.ctx, c.client, docs); err != nil {
		t.Fatal(err)
	}
	on := func(cycles int64) {
		t.Helper()
		for _, f := range flows {
			s, err := c.client.Flow(c.ctx, f)
			if err != nil {
				t.Fatal(err)
			}
			for n := s.LatestCycle; n <= s.LatestCycle+cycles; n++ {
				if got := c.await(t, f, max(n, 1)); got.Status != "completed" {
					t.Errorf("cycle %d of %s: %s, %s", n, f, got.Status, got.Error)
				}
			}
		}
	}
	on(2)

	cl, err := c.client.Cluster(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	dead := cl.Partitions[2].Leader.ID
	before := cl.Partitions
	if err := c.Kill(dead); err != nil {
		t.Fatal(err)
	}
	spread(2, 2)
	cl, err = c.client.Cluster(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for p, was := range before {
		switch now := cl.Partitions[p].Leader; {
		case was.Leader.ID == dead && now.Epoch <= was.Leader.Epoch:
			t.Errorf("partition %d was the dead one's, and is led with epoch %d after %d", p, now.Epoch, was.Leader.Epoch)
		case now.ID == dead:
			t.Errorf("partition %d is led by the dead one", p)
		}
	}
	on(2)
	if err := c.Start(c.ctx, dead); err != nil {
		t.Fatal(err)
	}
	spread(2, 1, 1)

	was, err := c.client.TransferPartition(c.ctx, 3, false)
	if err != nil || was.Partition == nil || *was.Partition != 3 {
		t.Fatalf("transfer: %+v, %v", was, err)
	}
	if _, err := c.client.TransferPartition(c.ctx, 4, false); err == nil {
		t.Error("a partition that is not there was handed over")
	}
	on(1)

	list, err := c.client.Flows(c.ctx)
	if err != nil || len(list) != len(flows) {
		t.Errorf("%d flows are listed of %d, %v", len(list), len(flows), err)
	}
	proof, err := c.client.Verify(c.ctx, client.VerifyOptions{})
	if err != nil || !proof.Clean || proof.Cycles == 0 {
		t.Errorf("verify: %+v, %v", proof, err)
	}

	// A page after the other gives each record once, each partition's in order.
	last, read := map[int]string{}, int64(0)
	for after := ""; ; {
		page, err := c.client.Journal(c.ctx, client.JournalOptions{After: after, Limit: 37})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Records {
			if r.Partition == nil {
				t.Fatalf("record %s names no partition", r.ID)
			}
			p := *r.Partition
			if last[p] != "" && ledger.CompareIDs(r.ID, last[p]) <= 0 {
				t.Fatalf("record %s of partition %d comes after %s", r.ID, p, last[p])
			}
			if r.FlowID != "" && partition.Of(ids.FlowID(r.FlowID), partitions) != p {
				t.Fatalf("a record of %s is in partition %d", r.FlowID, p)
			}
			last[p] = r.ID
			read++
		}
		if after = page.Next; after == "" || read > 10*proof.Records {
			break
		}
	}
	if len(last) != partitions || read < proof.Records || read > 10*proof.Records {
		t.Errorf("%d records of %d partitions are read, verify read %d", read, len(last), proof.Records)
	}
	one, err := c.client.Journal(c.ctx, client.JournalOptions{Flow: flows[0], Limit: 5})
	if err != nil || len(one.Records) != 5 || one.Records[0].FlowID != flows[0] {
		t.Errorf("journal of %s: %+v, %v", flows[0], one, err)
	}
}
