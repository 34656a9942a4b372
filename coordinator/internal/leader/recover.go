package leader

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/alert"
	"github.com/tradingflow/weather-station/coordinator/internal/reconcile"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// watchRedis notices that Redis was restarted and makes good what it may have
// lost; and it tells of repairs when they are done. Redis is asked for its memory
// each second, so a restart breaks a connection of this loop's own, whether
// anything else uses one or not.
func (r *reign) watchRedis(ctx context.Context) error {
	connects := int64(-1)
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			t.Reset(time.Second)
		case <-ctx.Done():
			return nil
		}
		r.checkMemory(ctx)
		r.tell(ctx)
		now := r.Ledger.Connects()
		if now == connects {
			continue // no connection was made since: nothing was restarted
		}
		err := r.heed(ctx)
		if ledger.Fenced(err) {
			return err
		}
		if err == nil {
			connects = now
		}
	}
}

// heed acts on a start of Redis that no leader has acted on yet. Which one that
// was stands in Redis itself, so that neither a change of leaders nor the loss of
// the last writes hides it.
func (r *reign) heed(ctx context.Context) error {
	id, err := r.Ledger.RunID(ctx)
	if err != nil || id == "" {
		return err // it is away, and the loops say so; or embedded
	}
	known, err := r.Ledger.Heeded(ctx)
	if err != nil || known == id {
		return err
	}
	if known != "" {
		if err := r.redisRestarted(ctx); err != nil {
			if !ledger.Fenced(err) && ctx.Err() == nil {
				r.log.Warn("recovery after the restart of redis is put off", "error", err)
			}
			return err
		}
	}
	return r.Ledger.Heed(ctx, id)
}

func (r *reign) redisRestarted(ctx context.Context) error {
	r.log.Warn("redis was restarted; taking over again, auditing every running cycle")
	r.repairs.begin(ledger.RedisRestarted)
	r.leases.Grace()
	if _, err := r.Ledger.Takeover(ctx, r.epoch); err != nil {
		return err
	}
	if err := r.Ledger.RewriteAOF(ctx); err != nil {
		r.log.Warn("append-only file can't be rewritten now", "error", err)
	}
	for f := range r.all(ctx) {
		r.Registry.Refresh(f) // follow tries it again
	}
	r.audit.Whole()
	return nil
}

// watchQueues has the audit offer again at once what was in queues that are lost. What
// was found before this epoch counts too: nobody may have led then.
func (r *reign) watchQueues(ctx context.Context) error {
	known := map[string]time.Time{}
	for {
		queues, more := r.Queue.Losses()
		for queue, at := range queues {
			if at.After(known[queue]) {
				known[queue] = at
				r.audit.QueueLost(queue, at)
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
	}
}

// mended hears of each repair.
func (r *reign) mended(kind string) {
	if r.Metrics.Mended != nil {
		r.Metrics.Mended(kind)
	}
	r.repairs.add(kind)
}

// tell notes what was repaired, once nothing more is to be expected of one cause.
func (r *reign) tell(ctx context.Context) {
	what, done := r.repairs.over(r.Within)
	if what == "" {
		return
	}
	if err := r.Ledger.NoteRecovery(ctx, what, done, "", 0); err != nil {
		r.repairs.begin(what) // told later
		return
	}
	r.log.Info("recovered", "from", what, "done", done)
	r.Alerts.Raise(alert.Alert{Kind: "recovered", Message: what + ": " + done, At: time.Now()})
}

// tally is what was repaired lately.
type tally struct {
	mu     sync.Mutex
	cause  string
	since  time.Time
	counts map[string]int
}

// begin names the cause of the repairs that follow.
func (t *tally) begin(cause string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cause, t.since = cause, time.Now()
}

func (t *tally) add(kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.counts) == 0 && t.cause == "" {
		t.since = time.Now()
	}
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[kind]++
}

// over takes the tally once it is as old as repairs may take.
func (t *tally) over(within time.Duration) (cause, done string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() || time.Since(t.since) < within {
		return "", ""
	}
	cause, done = t.cause, "nothing was missing"
	if len(t.counts) > 0 {
		var parts []string
		for _, kind := range slices.Sorted(maps.Keys(t.counts)) {
			parts = append(parts, fmt.Sprintf("%s %d", kind, t.counts[kind]))
		}
		done = "repaired " + strings.Join(parts, ", ")
		if cause == "" {
			cause = "entries of the ledger were lost"
			if len(t.counts) == 1 && t.counts["message"] > 0 {
				cause = "messages were lost"
			}
		}
	}
	t.cause, t.since, t.counts = "", time.Time{}, nil
	return cause, done
}

// kept tells the audit which flows the ledger has to have.
type kept struct{ r *reign }

// Len implements reconcile.Flows.
func (k kept) Len() int { return k.r.Registry.Len() }

// Has implements reconcile.Flows.
func (k kept) Has(f ids.FlowID) bool { return k.r.Registry.Get(f) != nil }

// Names implements reconcile.Flows.
func (k kept) Names() []ids.FlowID { return k.r.Registry.Names() }

// Get implements reconcile.Flows. A flow whose plan can't be made here is not one that
// the ledger has to have.
func (k kept) Get(f ids.FlowID) (reconcile.Flow, bool) {
	flow := k.r.Registry.Get(f)
	if flow == nil {
		return reconcile.Flow{}, false
	}
	fields, err := flow.PlanFields()
	return reconcile.Flow{UID: flow.Record.UID, Revision: flow.Record.Revision, Fields: fields}, err == nil
}

// Restore implements reconcile.Flows.
func (k kept) Restore(ctx context.Context, f ids.FlowID) error {
	flow := k.r.Registry.Get(f)
	if flow == nil { // deleted meanwhile
		return ledger.ErrStale
	}
	if err := k.r.mirror.Install(ctx, flow); err != nil {
		return err
	}
	k.r.ticker.Look(f)
	return nil
}
