package rabbit

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestWhenAQueueIsDead: refusals in a row say so, single ones do not; its channel is
// given up sooner.
func TestWhenAQueueIsDead(t *testing.T) {
	begin := time.Unix(1_000_000, 0)
	for _, x := range []struct {
		name  string
		every time.Duration
		count int
		stale int
		dead  bool
	}{
		{"in a row", 100 * time.Millisecond, 41, 7, true},
		{"not long enough", 100 * time.Millisecond, 40, 7, false},
		{"long enough for another channel", 100 * time.Millisecond, 6, 1, false},
		{"not even that", 100 * time.Millisecond, 5, 0, false},
		{"now and then", 2 * time.Second, 50, 0, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			l := newLane(Config{}, hclog.NewNullLogger(), "q", newLosses())
			stale := 0
			for i := range x.count {
				l.refusal(begin.Add(time.Duration(i) * x.every))
				if len(l.stale) > 0 {
					<-l.stale
					stale++
				}
			}
			if got := len(l.dead) > 0; got != x.dead || stale != x.stale {
				t.Errorf("dead is %v, another channel was asked for %d times; want %v, %d", got, stale, x.dead, x.stale)
			}
		})
	}
}

// TestADeadQueueOfSlowChannels: each other channel takes longer to open than refusals may
// lie apart, and the queue is found dead all the same.
func TestADeadQueueOfSlowChannels(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	l := newLane(Config{}, hclog.NewNullLogger(), "q", newLosses())
	for range 4 {
		for len(l.stale) == 0 && len(l.dead) == 0 {
			l.refusal(now)
			now = now.Add(100 * time.Millisecond)
		}
		select {
		case <-l.stale:
		default:
		}
		now = now.Add(1200 * time.Millisecond)
		l.reopened(now)
	}
	if len(l.dead) == 0 {
		t.Error("a queue that refused everything for six seconds is not dead")
	}
}

// TestASilentQueueIsGivenUp after its time, and only when nothing was answered meanwhile.
func TestASilentQueueIsGivenUp(t *testing.T) {
	start := time.Unix(0, 0)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	var quiet silence
	for _, step := range []struct {
		at   float64
		out  bool
		want bool
	}{
		{0, true, false}, {7, true, false}, {7.5, false, false}, {10, true, false}, {17.9, true, false},
		{18, true, true}, {19, true, false}, {26.9, true, false}, {27, true, true},
	} {
		if got := quiet.look(at(step.at), step.out); got != step.want {
			t.Errorf("at %v s: given up is %v, want %v", step.at, got, step.want)
		}
	}
}
