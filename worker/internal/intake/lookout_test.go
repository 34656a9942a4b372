package intake

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// busy is a queue in which messages always wait.
type busy struct{ spare int }

func (b *busy) Depth(context.Context, string) (taskqueue.Depth, error) {
	return taskqueue.Depth{Ready: 1}, nil
}
func (b *busy) Spare(_ string, n int) { b.spare = n }

// After a message waited in vain none comes ahead for a second, however brisk the rounds are.
func TestNothingAheadAfterAWaitInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &busy{}
		l := newLookout(b, "q", 2, func() bool { return false }, hclog.NewNullLogger())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); l.run(ctx) }()
		at := func(d time.Duration, want int) {
			t.Helper()
			for range d / (10 * time.Millisecond) {
				signal(l.brisk)
				<-time.After(10 * time.Millisecond) // of the bubble's clock
			}
			synctest.Wait()
			if b.spare != want {
				t.Errorf("%d slots are spare, want %d", b.spare, want)
			}
		}
		at(2*look, 0)
		l.waited()
		synctest.Wait()
		at(calm-look, 2)
		at(4*look, 0)
		cancel()
		<-ended
		if b.spare != 2 {
			t.Errorf("%d slots are spare at the end, want 2", b.spare)
		}
	})
}
