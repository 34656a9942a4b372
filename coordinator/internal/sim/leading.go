package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// dispatch publishes offers as package dispatch does: nothing without the epoch's
// confirmation while the key is in doubt, and nothing marked that was not
// confirmed.
func (r *reign) dispatch(p port) {
	for {
		p.a.await(&r.scheduler, time.Second, func() bool { return r.offers.Len() > 0 })
		if r.offers.Len() == 0 {
			continue
		}
		batch := r.offers.Take(bg, 1+r.rng.IntN(4))
		for i, e := range batch {
			if !r.key() && r.rng.IntN(2) == 0 { // a lease that is not over yet is trusted all the same
				if err := p.CheckEpoch(bg, r.epoch, len(batch)-i); err != nil {
					for _, e := range batch[i:] {
						r.reader.Done(e.ID)
					}
					if r.stop(err) {
						return
					}
					break
				}
			}
			if r.stop(r.offer(p, e)) {
				return
			}
		}
	}
}

// offer publishes one entry.
func (r *reign) offer(p port, e ledger.Entry) error {
	_, err := planSource{p}.OfCycle(bg, e.Attempt)
	if errors.Is(err, ledger.ErrGone) {
		err = p.Drop(bg, r.epoch, e.ID)
		r.reader.Done(e.ID)
		return err
	}
	if r.fault(faultNoCarrier) {
		err := p.Hold(bg, r.epoch, e, held, "no_worker")
		r.reader.Done(e.ID)
		return err
	}
	p.a.step()
	m := message{Attempt: e.Attempt}
	stored, copies, confirmed := "stored", 1, true
	switch {
	case r.fault(faultConfirmLost):
		stored, confirmed = "stored, confirm lost", false
	case r.fault(faultPublishLost):
		stored, copies, confirmed = "lost", 0, false
	case r.fault(faultMessageGone):
		stored, copies = "confirmed and gone", 0
	case r.fault(faultPublishTwice):
		stored, copies = "stored twice", 2
	}
	for range copies {
		r.broker.put(m)
	}
	r.trace(p.a, "publish %s: %s", e.Attempt, stored)
	r.receipts = append(r.receipts, receipt{e, confirmed})
	return nil
}

var held = ledger.HeldByType(plan.DefaultPool, "noop")

// settle marks what the broker confirmed.
func (r *reign) settle(p port) {
	for {
		p.a.await(&r.scheduler, time.Second, func() bool { return len(r.receipts) > 0 })
		if r.rng.IntN(4) == 0 {
			p.a.sleep(&r.scheduler, r.upTo(100*time.Millisecond))
		}
		all := r.receipts
		r.receipts = nil
		var confirmed []ledger.Entry
		for _, o := range all {
			if o.confirmed {
				confirmed = append(confirmed, o.entry)
			} else {
				r.reader.Done(o.entry.ID)
			}
		}
		if len(confirmed) == 0 {
			continue
		}
		err := p.Dispatched(bg, r.epoch, confirmed)
		for _, e := range confirmed {
			r.reader.Done(e.ID)
		}
		if r.stop(err) {
			return
		}
	}
}

// tick starts the flow's slots as package ticker does: the next one that the
// ledger has not accounted, and of those that are long over only the last.
func (r *reign) tick(p port) {
	var known time.Time // last slot known to be accounted; zero = to be asked for
	for {
		s, err := p.Flow(bg, flow)
		if r.recount && err == nil {
			r.recount, known = false, time.Time{}
		}
		if known.IsZero() {
			known = s.LastSlot
		}
		next := known.Add(interval)
		if known.IsZero() {
			next = r.anchor.Add(interval)
		}
		end := r.anchor.Add(time.Duration(r.slots) * interval)
		switch {
		case err != nil:
			p.a.sleep(&r.scheduler, 200*time.Millisecond)
			continue
		case s.Status != "active" || next.After(end):
			p.a.sleep(&r.scheduler, time.Second)
			continue
		case next.After(r.now):
			p.a.sleep(&r.scheduler, min(next.Sub(r.now), time.Second))
			continue
		}
		last := next
		for !last.Add(interval).After(r.now) && !last.Add(interval).After(end) {
			last = last.Add(interval)
		}
		if last.After(next) {
			n := int64(last.Sub(next) / interval)
			if err = p.SkipSlots(bg, r.epoch, flow, r.plan.UID, known, next, last.Add(-interval), n, "missed"); err == nil {
				known = last.Add(-interval)
			}
		}
		if err == nil {
			_, err = p.StartCycle(bg, r.epoch, ledger.Start{Plan: r.plan, Slot: last, Since: known, Occasion: ids.Occasion(r.plan.UID, fmt.Sprint(last.UnixMilli())),
				Overlap: r.seed%2 == 0})
		}
		switch {
		case r.stop(err):
			return
		case err == nil:
			known = last
		default: // it may be accounted, or what was known is not any more
			known = time.Time{}
			p.a.sleep(&r.scheduler, 200*time.Millisecond)
		}
	}
}

// watchLedger makes good what a ledger that was restarted may have lost, as
// package leader does.
func (r *reign) watchLedger(p port) {
	known := -1 // a reign begins with it
	for {
		if id := r.runID; id != known {
			_, err := p.Takeover(bg, r.epoch)
			if err == nil {
				if r.leases != nil {
					r.leases.Quiet(r.now)
				}
				r.whole, r.recount = true, true
				err = r.mirror(p)
			}
			if r.stop(err) {
				return
			}
			if err == nil {
				known = id
			}
		}
		p.a.sleep(&r.scheduler, time.Second)
	}
}

// mirror holds or releases the flow as etcd says, as package mirror does.
func (r *reign) mirror(p port) error {
	s, err := p.Flow(bg, flow)
	switch {
	case err != nil:
	case r.etcd.paused && s.Status == "active":
		_, err = p.PauseFlow(bg, flow)
	case !r.etcd.paused && s.Status == "paused":
		_, err = p.ResumeFlow(bg, flow)
	}
	return err
}

// releaseHolds offers again what was held for a reason that is over, as package
// fleet does.
func (r *reign) releaseHolds(p port) {
	for {
		p.a.sleep(&r.scheduler, time.Second)
		holds, err := p.Holds(bg)
		if err != nil {
			continue
		}
		for _, h := range holds {
			if f, ok := ledger.HeldFlow(h); ok {
				if s, err := p.Flow(bg, f); err != nil || s.Status == "paused" {
					continue
				}
			}
			if _, err := p.ReleaseHeld(bg, r.epoch, h, ""); r.stop(err) {
				return
			}
		}
	}
}
