package ticker

import (
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// item is one flow's next look.
type item struct {
	flow  ids.FlowID
	at    time.Time
	index int
}

// slots is a heap of items, the earliest first.
type slots []*item

func (h slots) Len() int           { return len(h) }
func (h slots) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h slots) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *slots) Push(x any) {
	it := x.(*item) //nolint:forcetypeassert // only items are pushed
	it.index = len(*h)
	*h = append(*h, it)
}

// Pop is for container/heap.
func (h *slots) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return it
}
