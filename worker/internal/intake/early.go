package intake

import (
	"context"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// ackLate acks the message early if its work takes longer than EarlyAck. The
// function it returns ends the wait and says whether that was done. A timer without a
// goroutine waits: most work ends long before.
func (s *server) ackLate(d taskqueue.Delivery) (stop func() (acked bool)) {
	over, acked := make(chan struct{}), false
	t := time.AfterFunc(s.EarlyAck, func() {
		defer close(over)
		if acked = s.reports.Err() == nil; acked {
			s.end(s.slot.AckEarly(context.WithoutCancel(s.reports), d))
		}
	})
	return func() bool {
		if t.Stop() {
			return false
		}
		<-over
		return acked
	}
}
