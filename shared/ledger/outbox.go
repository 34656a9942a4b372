package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Kind says what an outbox entry asks of the leader.
type Kind string

// Kinds of outbox entries.
const (
	KindReady   Kind = "ready"   // offer this attempt
	KindDecide  Kind = "decide"  // all inputs of this node are decided: run or skip it
	KindSpread  Kind = "spread"  // count the rest of this node's edges ("" = the cycle's entry nodes)
	KindSweep   Kind = "sweep"   // end what does not run: the cycle ("" node) or the node's component
	KindTimer   Kind = "timer"   // a timer was set that may be the next one due
	KindSuspect Kind = "suspect" // does the worker that holds this claim still live?
	KindRelease Kind = "release" // the flow was resumed: offer what was held
	KindPurge   Kind = "purge"   // the flow was deleted: remove its keys
	KindAlert   Kind = "alert"   // a node failed for good
	KindClosed  Kind = "closed"  // a cycle ended
)

// Entry is a fact the leader has yet to act on.
type Entry struct {
	ID   string
	Kind Kind
	ids.Attempt
}

// Outbox returns up to count entries with ids after the given one ("" = from
// the start).
func (l *Ledger) Outbox(ctx context.Context, after string, count int64) ([]Entry, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	msgs, err := l.rdb.XRangeN(ctx, l.key("outbox"), from, "+", count).Result()
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", classify(err))
	}
	return entries(msgs), nil
}

// WaitOutbox waits up to block for entries after the given id and returns them;
// none when the time is over or ctx has ended. One call at a time waits.
func (l *Ledger) WaitOutbox(ctx context.Context, after string, count int64, block time.Duration) ([]Entry, error) {
	if after == "" {
		after = "0"
	}
	streams, err := l.wait(ctx, &redis.XReadArgs{Streams: []string{l.key("outbox"), after}, Count: count, Block: block})
	if isNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("wait for outbox: %w", classify(err))
	}
	if len(streams) == 0 {
		return nil, nil
	}
	return entries(streams[0].Messages), nil
}

func entries(msgs []redis.XMessage) []Entry {
	out := make([]Entry, 0, len(msgs))
	for _, m := range msgs {
		f := fields(m, outboxField, outboxFields)
		out = append(out, Entry{ID: m.ID, Kind: Kind(f[0]), Attempt: attempt(f[1:])})
	}
	return out
}

// Dispatched records that the broker stored these offers: their entries go, and
// nodes still ready under the same attempt become dispatched.
func (l *Ledger) Dispatched(ctx context.Context, epoch ids.Epoch, done []Entry) error {
	done = slices.SortedFunc(slices.Values(done), func(a, b Entry) int { return CompareIDs(a.ID, b.ID) })
	for part := range slices.Chunk(done, 128) {
		args := make([]any, 0, 6*len(part))
		for _, e := range part {
			args = append(args, e.ID, string(e.Flow), e.Cycle, e.UUID.String(), string(e.Node), e.N)
		}
		if _, err := l.call(ctx, "dispatched", epoch, args...); err != nil {
			return err
		}
	}
	return nil
}

// Drop removes entries that were acted on.
func (l *Ledger) Drop(ctx context.Context, epoch ids.Epoch, entryIDs ...string) error {
	for part := range slices.Chunk(entryIDs, 1000) {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		if _, err := l.call(ctx, "drop_entries", epoch, args...); err != nil {
			return err
		}
	}
	return nil
}

// Told removes the entries of ends of cycles, which the leader has acted on.
func (l *Ledger) Told(ctx context.Context, epoch ids.Epoch, ended ...Entry) error {
	for part := range slices.Chunk(ended, 128) {
		args := make([]any, 0, 4*len(part))
		for _, e := range part {
			args = append(args, e.ID, string(e.Flow), e.Cycle, e.UUID.String())
		}
		if _, err := l.call(ctx, "told", epoch, args...); err != nil {
			return err
		}
	}
	return nil
}

// CheckEpoch returns a *FencedError when a higher epoch has written. publishes is
// how many messages wait for the answer; what is refused goes into the journal.
func (l *Ledger) CheckEpoch(ctx context.Context, epoch ids.Epoch, publishes int) error {
	_, err := l.call(ctx, "check_epoch", epoch, fmt.Sprintf("publish %d", publishes))
	return err
}

// Verdict is what the leader decided about a node, and what it rests on.
type Verdict struct {
	Run                bool
	Reason             string
	Passes             Result // what its out-edges get when it does not run
	Live, Dead, Failed int    // edges into the node, by result, as they were read
}

// Decide carries out the leader's verdict on a node whose inputs are decided. If
// they are others by now, nothing changes and the entry stays.
func (l *Ledger) Decide(ctx context.Context, epoch ids.Epoch, e Entry, n *plan.Node, v Verdict) error {
	verdict := "skip"
	if v.Run {
		verdict = "run"
	}
	total := len(n.Successors)
	given := min(total, Chunk)
	args := []any{string(e.Flow), e.Cycle, e.UUID.String(), string(n.ID), verdict, v.Reason, e.ID, total, given, n.Component,
		fmt.Sprintf("%d %d %d", v.Live, v.Dead, v.Failed)}
	args = successorArgs(args, n, 0, given, AllEdges(v.Passes))
	_, err := l.call(ctx, "decide", epoch, args...)
	return err
}

// SpreadChunk is how many nodes one call of spread touches. One call follows the other, so each script of
// somebody else waits for one of them: COSTS.md has what that is.
const SpreadChunk = 128

// SpreadFrom returns how far a spread has come: the number of successors (or
// entry nodes, for node "") that are counted, and whether one is under way.
func (l *Ledger) SpreadFrom(ctx context.Context, e Entry) (int, bool, error) {
	key := l.cycleKey(e.Flow, e.Cycle, "status")
	if e.Node != "" {
		key = l.nodeKey(e.Flow, e.Cycle, e.Node)
	}
	v, err := l.rdb.HGet(ctx, key, "spread").Result()
	if isNil(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read spread of %s: %w", e.Attempt, classify(err))
	}
	return int(number(v)), true, nil
}

// SpreadEdges counts one more part of a node's decided edges, beginning at
// successor from; the last part removes the entry.
func (l *Ledger) SpreadEdges(ctx context.Context, epoch ids.Epoch, e Entry, n *plan.Node, from int, decided Decided) (next int, err error) {
	next = min(from+SpreadChunk, len(n.Successors))
	entry := ""
	if next == len(n.Successors) {
		entry = e.ID
	}
	args := []any{string(e.Flow), e.Cycle, e.UUID.String(), string(n.ID), from, next, entry, next - from}
	args = successorArgs(args, n, from, next, decided)
	return next, l.spread(ctx, epoch, args)
}

// SpreadEntries offers one more part of a cycle's entry nodes.
func (l *Ledger) SpreadEntries(ctx context.Context, epoch ids.Epoch, e Entry, all []*plan.Node, from int) (next int, err error) {
	next = min(from+SpreadChunk, len(all))
	entry := ""
	if next == len(all) {
		entry = e.ID
	}
	args := []any{string(e.Flow), e.Cycle, e.UUID.String(), "", from, next, entry, next - from}
	for _, n := range all[from:next] {
		args = append(args, string(n.ID))
	}
	return next, l.spread(ctx, epoch, args)
}

func (l *Ledger) spread(ctx context.Context, epoch ids.Epoch, args []any) error {
	r, err := l.call(ctx, "spread", epoch, args...)
	if err == nil && r.code() == -1 {
		return ErrGone
	}
	return err
}

// EndMark stands in Sweep's entry for the node that ended a component, where no record
// of that node is left: the mark of the component's end.
func EndMark(component int) ids.NodeID { return ids.NodeID(fmt.Sprintf("component:%d", component)) }

// Sweep gives the nodes that do not run a final status, a part at a time; the
// last part removes the entry (its id may be ""). The entry's node is the one whose
// end ends its component (or EndMark's), "" for a cycle that is cancelled; when that is not
// ending, nothing changes: Redis went back in time since somebody looked.
func (l *Ledger) Sweep(ctx context.Context, epoch ids.Epoch, e Entry, status, reason string, nodes []ids.NodeID) error {
	for from := 0; ; from += Chunk {
		to := min(from+Chunk, len(nodes))
		entry := ""
		if to == len(nodes) {
			entry = e.ID
		}
		args := []any{string(e.Flow), e.Cycle, e.UUID.String(), status, reason, entry, string(e.Node)}
		for _, n := range nodes[from:to] {
			args = append(args, string(n))
		}
		if _, err := l.call(ctx, "sweep", epoch, args...); err != nil {
			return err
		}
		if to == len(nodes) {
			return nil
		}
	}
}

// Hold sets an offer aside until somebody releases what it waits for.
func (l *Ledger) Hold(ctx context.Context, epoch ids.Epoch, e Entry, waitsFor, blocker string) error {
	_, err := l.call(ctx, "hold", epoch, string(e.Flow), e.Cycle, e.UUID.String(), string(e.Node), e.N, e.ID, waitsFor, blocker)
	return err
}

// Holds lists what held offers wait for, as given to Hold.
func (l *Ledger) Holds(ctx context.Context) ([]string, error) {
	names, err := l.rdb.SMembers(ctx, l.key("holds")).Result()
	if err != nil {
		return nil, fmt.Errorf("list holds: %w", classify(err))
	}
	return names, nil
}

// ReleaseHeld offers everything again that waits for one thing, then removes
// the entry that asked for it ("" = none).
func (l *Ledger) ReleaseHeld(ctx context.Context, epoch ids.Epoch, waitsFor, entryID string) (offered int64, err error) {
	for {
		r, err := l.call(ctx, "release_held", epoch, waitsFor, Chunk, entryID)
		if err != nil {
			return offered, err
		}
		offered += r.int(1)
		if r.int(2) == 0 {
			return offered, nil
		}
	}
}

// PruneHold forgets a reason that no offer waits for any more.
func (l *Ledger) PruneHold(ctx context.Context, epoch ids.Epoch, waitsFor string) error {
	_, err := l.call(ctx, "release_held", epoch, waitsFor, 0, "")
	return err
}

// HeldFlow returns the flow whose pause a hold waits for; false for another
// reason.
func HeldFlow(waitsFor string) (ids.FlowID, bool) {
	f, ok := strings.CutPrefix(waitsFor, "flow:")
	return ids.FlowID(f), ok
}

// ReleaseFlow is ReleaseHeld for a resumed flow.
func (l *Ledger) ReleaseFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, entryID string) (int64, error) {
	return l.ReleaseHeld(ctx, epoch, heldByFlow(f), entryID)
}
