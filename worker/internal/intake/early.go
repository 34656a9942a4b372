package intake

import (
	"context"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// ackLate acks the message early if its work takes longer than EarlyAck. The
// function it returns ends the wait and says whether that was done.
func (s *server) ackLate(d taskqueue.Delivery) (stop func() (acked bool)) {
	ctx, cancel := context.WithCancel(s.reports)
	acked := make(chan bool, 1)
	go func() {
		t := time.NewTimer(s.EarlyAck)
		defer t.Stop()
		select {
		case <-t.C:
			s.end(s.slot.AckEarly(context.WithoutCancel(ctx), d))
			acked <- true
		case <-ctx.Done():
			acked <- false
		}
	}()
	return func() bool { cancel(); return <-acked }
}
