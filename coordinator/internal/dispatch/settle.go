package dispatch

import (
	"context"
	"time"

	"github.com/tradingflow/weather-station/shared/hop"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// most is how many offers are marked with one script call, and linger the least time
// between two calls that are not full. An offer that comes alone is marked at once; in a
// stream of them a mark waits for others, since nobody waits for it: a node may be
// claimed, and may even end, before it is marked. What a crash leaves unmarked is
// offered again, and refused.
const (
	most   = 128
	linger = 10 * time.Millisecond
)

// settled is what became of offers whose receipts are there, or came too late.
type settled struct {
	confirmed []ledger.Entry
	back      []string
}

func (s *settled) add(o *offer) {
	o.pool.window.unconfirmed.Add(-int64(len(o.entries)))
	if isDone(o.receipt) && o.receipt.Err() == nil {
		s.confirmed = append(s.confirmed, o.entries...)
	} else {
		s.back = append(s.back, idsOf(o.entries)...)
	}
}

// settle waits for the oldest open receipt, then takes along every later one
// that is there already or comes soon, and marks them together.
func (d *dispatcher) settle(ctx context.Context) error {
	var waiting *offer // read from the channel, its receipt still open
	var marked time.Time
	for {
		o := waiting
		if o == nil {
			next, more := <-d.open
			if !more {
				return nil
			}
			o = &next
		}
		if !d.await(ctx, o.receipt, o.until) {
			return nil
		}
		if isDone(o.receipt) {
			d.patience.Store(int64(minPatience))
		} else { // once for all that were published with the same patience
			d.patience.CompareAndSwap(int64(o.patience), int64(min(2*o.patience, maxPatience)))
		}
		var s settled
		s.add(o)
		waiting = d.gather(ctx, &s, marked.Add(linger))
		if err := d.mark(ctx, s.confirmed, s.back); err != nil {
			return err
		}
		marked = time.Now()
	}
}

// gather adds the next offers whose receipts are there, or come until an instant. It
// returns the one that it waited for in vain; nil when there is none.
func (d *dispatcher) gather(ctx context.Context, s *settled, until time.Time) *offer {
	var over <-chan time.Time
	for len(s.confirmed)+len(s.back) < most {
		if len(s.back) > 0 { // what was refused does not wait for others
			over = nil
		} else if left := time.Until(until); left > 0 && over == nil {
			t := time.NewTimer(left)
			defer t.Stop()
			over = t.C
		}
		o, there := d.soon(ctx, over)
		if o == nil || !there {
			return o
		}
		s.add(o)
	}
	return nil
}

// soon returns the next offer, nil when there is none, and whether its receipt is there.
// It waits for both until over; it does not wait when that is nil.
func (d *dispatcher) soon(ctx context.Context, over <-chan time.Time) (o *offer, there bool) {
	var next offer
	var more bool
	select {
	case next, more = <-d.open:
	default:
		if over == nil {
			return nil, false
		}
		select {
		case next, more = <-d.open:
		case <-over:
		case <-ctx.Done():
		}
	}
	if !more {
		return nil, false
	}
	if isDone(next.receipt) || over == nil {
		return &next, isDone(next.receipt)
	}
	select {
	case <-next.receipt.Done():
		return &next, true
	case <-over:
	case <-ctx.Done():
	}
	return &next, false
}

// await waits until the receipt is there or patience is at its end; false when
// ctx ended.
func (d *dispatcher) await(ctx context.Context, r *taskqueue.Receipt, until time.Time) bool {
	if isDone(r) {
		return true
	}
	patience := time.NewTimer(time.Until(until))
	defer patience.Stop()
	select {
	case <-r.Done():
	case <-patience.C:
	case <-ctx.Done():
		return false
	}
	return true
}

func isDone(r *taskqueue.Receipt) bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}

func (d *dispatcher) mark(ctx context.Context, confirmed []ledger.Entry, back []string) error {
	if len(back) > 0 {
		if !d.refused {
			d.refused = true
			d.Log.Warn("offers are not confirmed and will be made again", "count", len(back))
		}
		select {
		case d.backs <- refusal{back, time.Now().Add(breath)}:
		case <-ctx.Done():
		}
	}
	if len(confirmed) == 0 {
		return nil
	}
	if len(back) == 0 && d.refused {
		d.refused = false
		d.Log.Info("offers are confirmed again")
	}
	if !d.told.confirmed {
		d.told.confirmed = true
		d.Log.Debug("first offer confirmed")
	}
	for _, e := range confirmed {
		hop.Pass(hop.Confirmed, e.Attempt)
	}
	err := d.Ledger.Dispatched(ctx, d.Epoch, confirmed)
	entries := make([]string, len(confirmed))
	for i, e := range confirmed {
		hop.Pass(hop.Dispatched, e.Attempt)
		entries[i] = e.ID
	}
	d.Done(entries...)
	switch {
	case ledger.Fenced(err):
		return err
	case err != nil && ctx.Err() == nil:
		d.Log.Warn("offers can't be marked and will be made again", "count", len(confirmed), "error", err)
	case err == nil && d.Offered != nil:
		d.Offered(len(confirmed))
	}
	return nil
}
