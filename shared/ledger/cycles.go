package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Chunk is the most nodes one script call touches: large flows are worked on in
// parts, so that no call holds up the others.
const Chunk = 256

// Start asks for a cycle: of a slot, or by a trigger.
type Start struct {
	Plan       *plan.Plan
	Slot       time.Time // zero for a trigger
	Since      time.Time // last slot that the caller knows to be accounted; zero when it knows of none
	TriggerKey string    // idempotency key of a trigger, or ""
	Occasion   uuid.UUID
	Overlap    bool // another cycle of the flow may be running
	MaxActive  int  // most running cycles of the flow; 100 when 0
}

// Started is the answer to Start.
type Started struct {
	Cycle   int64
	UUID    uuid.UUID
	At      time.Time
	Before  bool          // the same slot or trigger had started it earlier
	Skipped string        // the slot was accounted as skipped, for this reason
	Ahead   time.Duration // the slot lies this far ahead of the ledger's clock: nothing was done
}

// StartCycle turns a slot or a trigger into a cycle. Slots need the leader's
// epoch, triggers are guarded by the flow's state alone (epoch 0), so that any
// replica may start them. Errors: ErrGone, ErrPaused, ErrStale, ErrAccounted
// (the slot), ErrForgotten (an earlier one), ErrBusy (a trigger; Cycle then names the running one).
func (l *Ledger) StartCycle(ctx context.Context, epoch ids.Epoch, s Start) (Started, error) {
	p := s.Plan
	id := ids.CycleUUID(s.Occasion, p.Revision)
	slot := ""
	if !s.Slot.IsZero() {
		slot = fmt.Sprint(milli(s.Slot))
	}
	overlap := "skip"
	if s.Overlap {
		overlap = "allow"
	}
	if s.MaxActive <= 0 {
		s.MaxActive = 100
	}
	entries := p.Entries()
	args := []any{string(p.Flow), id.String(), s.Occasion.String(), slot, s.TriggerKey, p.Revision, len(p.Nodes), overlap,
		s.MaxActive, p.CycleTimeout.Milliseconds(), p.OnFailure, len(entries), since(s.Since)}
	for _, n := range entries[:min(Chunk, len(entries))] {
		args = append(args, string(n.ID))
	}
	r, err := l.call(ctx, "start_cycle", epoch, args...)
	if err != nil {
		return Started{}, err
	}
	out := Started{UUID: id}
	switch r.code() {
	case 1:
		out.Cycle, out.At = r.int(1), fromMilli(r.text(2))
		return out, nil
	case 2:
		out.Cycle, out.Before = r.int(1), true
		return out, nil
	case 3:
		out.Skipped = r.text(1)
		return out, nil
	case -5:
		out.Ahead = time.Duration(r.int(1)) * time.Millisecond
		return out, nil
	case -6:
		out.Cycle = r.int(1)
		return out, fmt.Errorf("start %s: %w", p.Flow, ErrBusy)
	}
	refusals := map[int64]error{-1: ErrGone, -2: ErrPaused, -3: ErrStale, -4: ErrAccounted, -7: ErrForgotten}
	if refusal := refusals[r.code()]; refusal != nil {
		return out, fmt.Errorf("start %s: %w", p.Flow, refusal)
	}
	return out, unexpected("start_cycle", r)
}

// since is the argument for the last slot that a caller knows of.
func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprint(milli(t))
}

// SkipSlots accounts count slots from the first to the last as skipped; known is
// the last slot that the caller knows to be accounted, zero for none. It may be
// repeated. Errors: ErrGone, ErrForgotten, ErrAccounted (a part of them was accounted
// otherwise: read the flow's last slot and count again).
func (l *Ledger) SkipSlots(ctx context.Context, epoch ids.Epoch, f ids.FlowID, uid uuid.UUID, known, first, last time.Time, count int64, reason string) error {
	r, err := l.call(ctx, "skip_slots", epoch, string(f), milli(first), milli(last), count, reason, uid.String(), since(known))
	switch {
	case err != nil:
		return err
	case r.code() == -1:
		return fmt.Errorf("skip slots of %s: %w", f, ErrGone)
	case r.code() == -4:
		return fmt.Errorf("skip slots of %s: %w", f, ErrAccounted)
	case r.code() == -7:
		return fmt.Errorf("skip slots of %s: %w", f, ErrForgotten)
	}
	return nil
}

// Causes of a cycle's early end.
const (
	CauseCancelled = "cancelled"
	CauseTimeout   = "timeout"
)

// CancelCycle ends a cycle early: from its return on no claim is granted in it.
// It returns the status the cycle had: "running" when this call began the end,
// "" when the cause is a timeout whose deadline is not reached.
func (l *Ledger) CancelCycle(ctx context.Context, epoch ids.Epoch, f ids.FlowID, n int64, id uuid.UUID, cause string) (string, error) {
	text := ""
	if id != uuid.Nil {
		text = id.String()
	}
	r, err := l.call(ctx, "cancel_cycle", epoch, string(f), n, text, cause)
	if err != nil {
		return "", err
	}
	switch r.code() {
	case 1:
		return "running", nil
	case 2:
		return r.text(1), nil
	case 3:
		return "", nil
	case -1:
		return "", fmt.Errorf("cancel %s/%d: %w", f, n, ErrGone)
	}
	return "", unexpected("cancel_cycle", r)
}

func unexpected(verb string, r reply) error {
	return fmt.Errorf("ledger %s: unexpected answer %v", verb, []any(r))
}
