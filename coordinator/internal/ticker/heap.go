package ticker

import (
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// state is what the ticker knows of one flow. There may be a hundred thousand of them,
// so it is small.
type state struct {
	flow  ids.FlowID
	at    int64 // when to look at it next, Unix nanoseconds
	last  int64 // last slot known to be accounted, Unix milliseconds; 0 = none
	index int32 // in the heap; -1: not in it
	known bool  // last was read from the ledger
	busy  bool  // a starter works on it
	again bool  // it changed meanwhile
}

// account notes the last slot that is accounted.
func (s *state) account(slot time.Time) {
	if s.last = 0; !slot.IsZero() {
		s.last = slot.UnixMilli()
	}
}

// accounted is the last slot that is known to be accounted; zero = none.
func (s *state) accounted() time.Time {
	if s.last == 0 {
		return time.Time{}
	}
	return time.UnixMilli(s.last).UTC()
}

// slots is a heap of flows by their next look, the earliest first.
type slots []*state

func (h slots) Len() int           { return len(h) }
func (h slots) Less(i, j int) bool { return h[i].at < h[j].at }
func (h slots) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = int32(i), int32(j)
}

// Push is for container/heap.
func (h *slots) Push(x any) {
	s := x.(*state) //nolint:forcetypeassert // only states are pushed
	s.index = int32(len(*h))
	*h = append(*h, s)
}

// Pop is for container/heap.
func (h *slots) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1], s.index = nil, -1
	*h = old[:len(old)-1]
	return s
}
