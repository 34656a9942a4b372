package rabbit

import (
	"cmp"
	"context"
	"slices"
	"time"
)

const (
	glance = time.Second     // between two looks
	renew  = 5 * time.Second // how long a slot waits on one channel
)

// watch gives slots that wait in vain a new channel, until the generation's ctx ends. The
// broker can forget a consumer, or send to it what the channel drops, without a word; the
// message is then with the consumer, and shows nowhere. Nothing but a delivery proves
// that a slot is heard. At most a fifth of all slots is renewed at a time, so that a
// message finds the others.
func (c *Consumer) watch(ctx context.Context) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		waiting, slots := c.waiting(time.Now().Add(-renew))
		for _, w := range waiting[:min(len(waiting), max(1, slots/int(renew/glance)))] {
			w.on.renew(w.since)
		}
	}
}

// spell is a slot's waiting on one channel.
type spell struct {
	on    *attachment
	since int64
}

// waiting returns the waits that began before an instant, the longest first, and the
// number of all slots.
func (c *Consumer) waiting(before time.Time) (found []spell, slots int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.slots {
		a, _ := s.attached()
		if a == nil {
			continue
		}
		if since := a.waits.Load(); since > 0 && since < before.UnixNano() {
			found = append(found, spell{a, since})
		}
	}
	slices.SortFunc(found, func(a, b spell) int { return cmp.Compare(a.since, b.since) })
	return found, len(c.slots)
}
