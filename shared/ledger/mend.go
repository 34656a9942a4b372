package ledger

import (
	"context"
	"slices"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Repairs that MendNode makes.
const (
	MendReady    = "ready"
	MendOffer    = "offer"
	MendLease    = "lease"
	MendTimer    = "timer"
	MendDecide   = "decide"
	MendSpread   = "spread" // node "" = the cycle's entry nodes
	MendDeclined = "declined"
	MendHeld     = "held"
	MendDeadline = "deadline" // of a cycle
	MendCycle    = "cycle"    // a flow does not list it
)

// causes says what was wrong where one of these repairs is made.
var causes = map[string]string{
	MendReady:    "its inputs are decided and it never became ready",
	MendOffer:    "ready, and no entry asks for its offer",
	MendLease:    "running without a lease",
	MendTimer:    "waits to be retried without a timer",
	MendDecide:   "its inputs are decided and nobody was told",
	MendSpread:   "its edges are counted in part and no entry asks for the rest",
	MendDeclined: "declined by a worker, and no timer offers it again",
	MendHeld:     "set aside, and not in the set that brings it back",
	MendDeadline: "the cycle's deadline has no timer",
	MendCycle:    "open, and its flow does not list it",
}

// Cause says what was wrong where a repair of that kind is made.
func Cause(repair string) string { return causes[repair] }

// MendNode puts back what a node lacks, if the node is still as the audit saw
// it (a.N and status). It reports whether it mended.
func (l *Ledger) MendNode(ctx context.Context, epoch ids.Epoch, a ids.Attempt, status, repair string, lease time.Duration) (bool, error) {
	r, err := l.call(ctx, "mend_node", epoch, string(a.Flow), a.Cycle, a.UUID.String(), string(a.Node), a.N, status, repair, lease.Milliseconds(), causes[repair])
	return err == nil && r.code() == 1, err
}

// MendDeadlineOf sets the timer of a cycle's deadline again. It reports whether it
// was missing.
func (l *Ledger) MendDeadlineOf(ctx context.Context, epoch ids.Epoch, c ActiveCycle, due time.Time) (bool, error) {
	r, err := l.call(ctx, "mend_node", epoch, string(c.Flow), c.Cycle, c.UUID.String(), "", 0, "", MendDeadline, milli(due), causes[MendDeadline])
	return err == nil && r.code() == 1, err
}

// JoinFix is one counter of a join that is wrong.
type JoinFix struct {
	Field string // node:live, node:dead or node:failed
	Seen  string // "" = not there
	Right int
}

// MendCounts replaces a cycle's counters, if completed_nodes is still seen.
func (l *Ledger) MendCounts(ctx context.Context, epoch ids.Epoch, c ActiveCycle, seen int64, counters map[string]int, joins []JoinFix) (bool, error) {
	args := []any{string(c.Flow), c.Cycle, c.UUID.String(), seen, len(counters)}
	for k, v := range counters {
		args = append(args, k, v)
	}
	head := len(args)
	mended := false
	parts := slices.Collect(slices.Chunk(joins, 1000))
	if len(parts) == 0 {
		parts = [][]JoinFix{nil}
	}
	for _, part := range parts {
		args = args[:head]
		for _, j := range part {
			args = append(args, j.Field, j.Seen, j.Right)
		}
		r, err := l.call(ctx, "mend_counts", epoch, args...)
		if err != nil {
			return mended, err
		}
		mended = mended || r.code() == 1
		if done, ok := counters["completed_nodes"]; ok {
			args[3] = int64(done) // a further part meets what this one wrote
		}
	}
	return mended, nil
}

// MendFlow counts a flow's open cycles anew, if the count is still as seen ("" =
// none), and lists again those that Active or the flow lacks. It reports whether
// it mended.
func (l *Ledger) MendFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, seen string) (bool, error) {
	r, err := l.call(ctx, "mend_flow", epoch, string(f), seen)
	return err == nil && r.code() == 1, err
}

// MendClosed tells the leader again of an ended cycle that Closing names. It
// reports whether nobody had heard of it.
func (l *Ledger) MendClosed(ctx context.Context, epoch ids.Epoch, c ActiveCycle) (bool, error) {
	r, err := l.call(ctx, "mend_closed", epoch, string(c.Flow), c.Cycle, c.UUID.String())
	return err == nil && r.code() == 1, err
}

// MendActive takes a cycle whose record is lost out of what Active lists. It
// reports whether it did.
func (l *Ledger) MendActive(ctx context.Context, epoch ids.Epoch, c ActiveCycle) (bool, error) {
	r, err := l.call(ctx, "mend_active", epoch, string(c.Flow), c.Cycle, c.UUID.String())
	return err == nil && r.code() == 1, err
}

// MendPurge asks again for the removal of a deleted flow. It reports whether the
// flow is one.
func (l *Ledger) MendPurge(ctx context.Context, epoch ids.Epoch, f ids.FlowID) (bool, error) {
	r, err := l.call(ctx, "mend_purge", epoch, string(f))
	return err == nil && r.code() == 1, err
}

// NoteRepair counts and journals a repair that no Mend verb makes.
func (l *Ledger) NoteRepair(ctx context.Context, epoch ids.Epoch, a ids.Attempt, kind, cause string) error {
	_, err := l.call(ctx, "note_repair", epoch, string(a.Flow), a.Cycle, a.UUID.String(), string(a.Node), a.N, kind, cause)
	return err
}
