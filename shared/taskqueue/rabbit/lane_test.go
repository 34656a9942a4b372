package rabbit

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestWhenAQueueIsDead: refusals in a row say so, single ones do not.
func TestWhenAQueueIsDead(t *testing.T) {
	begin := time.Unix(1_000_000, 0)
	for _, x := range []struct {
		name  string
		every time.Duration
		count int
		dead  bool
	}{
		{"in a row", 100 * time.Millisecond, 41, true},
		{"not long enough", 100 * time.Millisecond, 40, false},
		{"now and then", 2 * time.Second, 50, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			l := newLane(Config{}, hclog.NewNullLogger(), "q", newLosses())
			for i := range x.count {
				l.refusal(begin.Add(time.Duration(i) * x.every))
			}
			if got := len(l.dead) > 0; got != x.dead {
				t.Errorf("dead is %v", got)
			}
		})
	}
}
