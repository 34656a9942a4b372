package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
)

// readTogether is how many nodes are read in one round trip.
const readTogether = 500

// CyclesAt returns the cycles of a flow by their numbers, in their order, by one round
// trip. One that is gone has no UUID.
func (l *Ledger) CyclesAt(ctx context.Context, f ids.FlowID, numbers []int64) ([]CycleState, error) {
	if len(numbers) == 0 {
		return nil, nil
	}
	pipe := l.rdb.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(numbers))
	for i, n := range numbers {
		cmds[i] = pipe.HGetAll(ctx, l.cycleKey(f, n, "status"))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read %d cycles of %s: %w", len(numbers), f, classify(err))
	}
	out := make([]CycleState, len(numbers))
	for i, c := range cmds {
		if m := c.Val(); m["uuid"] != "" {
			out[i] = CycleOf(f, m)
		}
	}
	return out, nil
}

// ArchiveCycles replaces the records of ended cycles of a flow, given with their nodes, by an Archive each.
// Those that are small are read, and then replaced, together. It may be repeated. Errors: ErrGone,
// ErrBusy when a cycle has not ended: neither keeps others from being archived. Any other error leaves the rest.
func (l *Ledger) ArchiveCycles(ctx context.Context, epoch ids.Epoch, cycles []CycleState, nodes [][]ids.NodeID) error {
	var faults []error
	for from, to := 0, 0; from < len(cycles); from = to {
		for n := 0; to < len(cycles) && (to == from || n+len(nodes[to]) <= readTogether); to++ {
			n += len(nodes[to])
		}
		blobs, err := l.records(ctx, cycles[from:to], nodes[from:to])
		if err != nil {
			return errors.Join(append(faults, err)...)
		}
		for one, next := from, 0; one < to; one = next {
			next = sameNodes(nodes[:to], one)
			codes, err := inParts(nodes[one], func(part []ids.NodeID, last int) ([]int64, error) {
				return l.replace(ctx, epoch, cycles[one:next], part, blobs[one-from:], last)
			})
			if err != nil {
				return errors.Join(append(faults, err)...)
			}
			for i, code := range codes {
				faults = append(faults, refusal("archive", cycles[one+i].Flow, cycles[one+i].Cycle, code))
			}
		}
	}
	return errors.Join(faults...)
}

// records packs what cycles have of nodes and outputs; nothing for one that has its archive
// already. Only of a single cycle may the nodes be more than readTogether.
func (l *Ledger) records(ctx context.Context, cycles []CycleState, nodes [][]ids.NodeID) ([][]byte, error) {
	blobs := make([][]byte, len(cycles))
	archives := make([]Archive, len(cycles))
	states, outputs := make([][]*redis.MapStringStringCmd, len(cycles)), make([]*redis.MapStringStringCmd, len(cycles))
	pipe := l.rdb.Pipeline()
	for i, c := range cycles {
		if c.Archiving { // the rest of the keys has to go
			continue
		}
		if len(nodes[i]) > readTogether {
			all, err := l.Nodes(ctx, c.Flow, c.Cycle, nodes[i])
			if err != nil {
				return nil, err
			}
			archives[i].Nodes = all
		} else {
			states[i] = make([]*redis.MapStringStringCmd, len(nodes[i]))
			for j, n := range nodes[i] {
				states[i][j] = pipe.HGetAll(ctx, l.nodeKey(c.Flow, c.Cycle, n))
			}
		}
		if archives[i].OutputsDropped = number(c.Raw["output_bytes"]) > maxArchivedOutputs; !archives[i].OutputsDropped { // of a torn script there may be some that are not counted
			outputs[i] = pipe.HGetAll(ctx, l.cycleKey(c.Flow, c.Cycle, "outputs"))
		}
	}
	if pipe.Len() > 0 {
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("read records of %d cycles: %w", len(cycles), classify(err))
		}
	}
	for i, c := range cycles {
		if c.Archiving {
			continue
		}
		a := &archives[i]
		if a.Nodes == nil {
			a.Nodes = make([]NodeState, len(states[i]))
		}
		for j, s := range states[i] {
			a.Nodes[j] = NodeOf(nodes[i][j], s.Val())
		}
		if outputs[i] != nil {
			all := outputs[i].Val()
			a.Outputs = make(map[string]json.RawMessage, len(all))
			for k, v := range all {
				a.Outputs[k] = json.RawMessage(v)
			}
		}
		var err error
		if blobs[i], err = pack(*a); err != nil {
			return nil, fmt.Errorf("archive %s/%d: %w", c.Flow, c.Cycle, err)
		}
	}
	return blobs, nil
}

// replace stores the archives of cycles that have the same nodes, and removes what they hold.
func (l *Ledger) replace(ctx context.Context, epoch ids.Epoch, cycles []CycleState, nodes []ids.NodeID, blobs [][]byte, last int) ([]int64, error) {
	args := append(make([]any, 0, 3+len(nodes)+3*len(cycles)), string(cycles[0].Flow), last, len(nodes))
	for _, n := range nodes {
		args = append(args, string(n))
	}
	for i, c := range cycles {
		args = append(args, c.Cycle, c.UUID.String(), blobs[i])
	}
	return l.forEach(ctx, "archive_cycles", epoch, len(cycles), args)
}
