package inproc_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/inproc"
)

// holding is what the model knows of one slot.
type holding struct {
	slot     taskqueue.Slot
	delivery taskqueue.Delivery // nil: idle
	stale    bool
}

// TestModel drives a broker at random and checks that each message is at all
// times in exactly one place: waiting, with one slot, acked, or parked.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const queue = "p.pool.default"
		ctx := context.Background()
		broker := inproc.New("p")
		defer broker.Close()
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		must(broker.Admin().Ensure(ctx, queue))
		open := func() *holding {
			s, err := broker.Consumer().Slot(queue)
			must(err)
			return &holding{slot: s}
		}
		slots := []*holding{open(), open(), open()}
		published, parked := 0, 0
		var waiting []string // bodies, in no order
		back := func(h *holding) { waiting = append(waiting, string(h.delivery.Body())) }
		pick := func(busy bool) *holding {
			var fit []*holding
			for _, h := range slots {
				if (h.delivery != nil) == busy {
					fit = append(fit, h)
				}
			}
			if len(fit) == 0 {
				t.Skip("no such slot")
			}
			return rapid.SampledFrom(fit).Draw(t, "slot")
		}
		end := func(h *holding, how func() error, then func()) {
			err := how()
			if h.stale != errors.Is(err, taskqueue.ErrStale) || !h.stale && err != nil {
				t.Fatalf("end of a delivery, stale=%v: %v", h.stale, err)
			}
			if !h.stale {
				then()
			}
			h.delivery, h.stale = nil, false
		}
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(*rapid.T) {
				body := strconv.Itoa(published)
				r, err := broker.Publisher().Publish(ctx, queue, body, []byte(body))
				must(err)
				<-r.Done()
				must(r.Err())
				published++
				waiting = append(waiting, body)
			},
			"receive": func(t *rapid.T) {
				h := pick(false)
				if len(waiting) == 0 {
					t.Skip("would wait")
				}
				d, err := h.slot.Receive(ctx)
				must(err)
				i := slices.Index(waiting, string(d.Body()))
				if i < 0 {
					t.Fatalf("received %s, which does not wait", d.Body())
				}
				waiting = slices.Delete(waiting, i, i+1)
				h.delivery = d
			},
			"ack": func(*rapid.T) { h := pick(true); end(h, h.delivery.Ack, func() {}) },
			"ack early": func(*rapid.T) {
				h := pick(true)
				end(h, func() error { return h.slot.AckEarly(ctx, h.delivery) }, func() {})
			},
			"requeue": func(*rapid.T) { h := pick(true); end(h, h.delivery.Requeue, func() { back(h) }) },
			"park":    func(*rapid.T) { h := pick(true); end(h, h.delivery.Park, func() { parked++ }) },
			"disconnect": func(*rapid.T) {
				broker.Disconnect()
				for _, h := range slots {
					if h.delivery != nil && !h.stale {
						back(h)
						h.stale = true
					}
				}
			},
			"close": func(*rapid.T) {
				i := rapid.IntRange(0, len(slots)-1).Draw(t, "index")
				h := slots[i]
				must(h.slot.Close())
				if h.delivery != nil && !h.stale {
					back(h)
				}
				slots[i] = open()
			},
			"": func(t *rapid.T) {
				d, err := broker.Admin().Depth(ctx, queue)
				must(err)
				if d.Ready != len(waiting) {
					t.Fatalf("%d wait, want %d", d.Ready, len(waiting))
				}
				d, err = broker.Admin().Depth(ctx, "p.parked")
				if errors.Is(err, taskqueue.ErrUnroutable) {
					err = nil // nothing parked yet
				}
				must(err)
				if d.Ready != parked {
					t.Fatalf("%d parked, want %d", d.Ready, parked)
				}
			},
		})
	})
}
