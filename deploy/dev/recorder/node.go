package recorder

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/worker/node"
)

// NodeType is the type of the node that Handler runs.
const NodeType = "record"

// Handler runs record nodes: it has the recorder write that the execution begins,
// works for a time, fails in a share of its attempts, and has the recorder write
// how it ended. Time and failure follow from seed, intent and attempt alone, so a
// run can be repeated.
type Handler struct {
	Client *Client
	Worker ids.WorkerID
}

type parameters struct {
	Min  int    `json:"min_ms"`
	Max  int    `json:"max_ms"`
	Fail int    `json:"fail_percent"`
	Seed uint64 `json:"seed"`
}

// Run implements node.Handler.
func (h *Handler) Run(ctx context.Context, in *node.Input) (node.Result, error) {
	var p parameters
	if err := in.Bind(&p); err != nil {
		return node.Result{}, node.Permanent(err)
	}
	l := Line{Event: Start, Flow: in.Flow, Slot: in.Slot.UnixMilli(), Cycle: in.Cycle, Node: in.Node, Attempt: in.Attempt,
		Worker: h.Worker, Intent: in.IntentID}
	if err := h.Client.Record(ctx, l); err != nil {
		return node.Result{}, fmt.Errorf("not started: %w", err)
	}
	took, fails := p.draw(in)
	l.Event, l.Result = End, OK
	work := time.NewTimer(took)
	defer work.Stop()
	select {
	case <-work.C:
	case <-ctx.Done():
		l.Result = Abandoned
	}
	if l.Result == OK && fails {
		l.Result = Failed
	}
	if err := h.Client.Record(context.WithoutCancel(ctx), l); err != nil {
		return node.Result{}, fmt.Errorf("its end is not recorded: %w", err)
	}
	switch l.Result {
	case Abandoned:
		return node.Result{}, ctx.Err()
	case Failed:
		return node.Result{}, errors.New("this attempt is one that fails")
	}
	return node.Outputs(map[string]any{"data": in.Attempt}), nil
}

// draw decides how long an attempt works and whether it fails.
func (p parameters) draw(in *node.Input) (time.Duration, bool) {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %s %d", p.Seed, in.IntentID, in.Attempt) // a hash takes everything
	n := h.Sum64()
	ms := p.Min
	if p.Max > p.Min {
		ms += int(n % uint64(p.Max-p.Min+1))
	}
	return time.Duration(ms) * time.Millisecond, int(n>>32%100) < p.Fail
}
