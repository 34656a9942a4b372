package intake

import (
	"testing"
	"time"
)

// TestPace: a round is brisk when as many places as there are were left soon after all
// were taken.
func TestPace(t *testing.T) {
	const places = 4
	for _, c := range []struct {
		name string
		took time.Duration // of each node
		step time.Duration // between two that end
		free time.Duration // before the place of one is taken again
		want int           // brisk rounds of five
	}{
		{"short nodes that end together", 50 * time.Millisecond, 0, 2 * time.Millisecond, 5},
		{"short nodes that end one by one", 50 * time.Millisecond, 12 * time.Millisecond, time.Millisecond, 5},
		{"long nodes that end together", time.Second, 0, 2 * time.Millisecond, 0},
		{"long nodes that end one by one", time.Second, 250 * time.Millisecond, time.Millisecond, 0},
		{"nodes of nothing that come seldom", 0, 150 * time.Millisecond, 140 * time.Millisecond, 0},
	} {
		p := pace{places: places}
		now := time.Unix(1000, 0)
		brisk, taken := 0, 0
		enter := func() {
			if taken++; taken == places {
				p.filled(now)
			}
		}
		leave := func() {
			if p.leave(taken == places, now) {
				brisk++
			}
			taken--
		}
		for range places {
			enter()
		}
		now = now.Add(c.took)
		for range 5 {
			if c.step == 0 {
				for range places {
					leave()
				}
				now = now.Add(c.free)
				for range places {
					enter()
				}
				now = now.Add(c.took)
				continue
			}
			for range places {
				leave()
				now = now.Add(c.free)
				enter()
				now = now.Add(c.step - c.free)
			}
		}
		if brisk != c.want {
			t.Errorf("%s: %d rounds are brisk, want %d", c.name, brisk, c.want)
		}
	}
}

// TestPaceBeginsAnew after a time in which places were free: what was left before then does
// not count, and neither does the time.
func TestPaceBeginsAnew(t *testing.T) {
	p := pace{places: 2}
	now := time.Unix(1000, 0)
	p.filled(now)
	if p.leave(true, now) || !p.leave(false, now) {
		t.Fatal("a round ends with the second place")
	}
	p.filled(now)
	p.leave(true, now)
	now = now.Add(time.Minute)
	p.filled(now)
	now = now.Add(50 * time.Millisecond)
	if p.leave(true, now) {
		t.Error("what was left a minute ago counts")
	}
	if !p.leave(false, now) {
		t.Error("the minute before all were taken counts")
	}
}
