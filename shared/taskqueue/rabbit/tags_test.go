package rabbit

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestTags plays the broker's side of a channel: every ack must name an open message, and
// those with the mark "multiple" must end exactly what they were meant to.
func TestTags(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sent, broker, here []uint64 // on the way to us; open at the broker; open here
		var known tags
		end := func(tag uint64) {
			i := slices.Index(broker, tag)
			if i < 0 {
				t.Fatalf("tag %d is ended twice", tag)
			}
			broker = slices.Delete(broker, i, i+1)
		}
		last, frames := uint64(0), 0
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				for range rapid.IntRange(1, 5).Draw(t, "messages") {
					last++
					sent, broker = append(sent, last), append(broker, last)
				}
			},
			"arrive": func(t *rapid.T) { // of several consumers in any order, nearly
				if len(sent) == 0 {
					t.Skip("nothing is on the way")
				}
				i := rapid.IntRange(0, min(len(sent)-1, 2)).Draw(t, "which")
				known.arrive(sent[i])
				here = append(here, sent[i])
				sent = slices.Delete(sent, i, i+1)
			},
			"hand back": func(t *rapid.T) {
				if len(here) == 0 {
					t.Skip("nothing is held")
				}
				i := rapid.IntRange(0, len(here)-1).Draw(t, "which")
				end(here[i])
				known.end(here[i])
				here = slices.Delete(here, i, i+1)
			},
			"ack": func(t *rapid.T) {
				var batch, rest []uint64
				for _, tag := range here {
					if rapid.Bool().Draw(t, "acked") {
						batch = append(batch, tag)
					} else {
						rest = append(rest, tag)
					}
				}
				here = rest
				want := slices.Clone(broker)
				for _, tag := range batch {
					want = slices.DeleteFunc(want, func(x uint64) bool { return x == tag })
				}
				upTo, alone := known.ack(batch)
				if upTo > 0 {
					frames++
					if !slices.Contains(broker, upTo) {
						t.Fatalf("an ack names tag %d, which is not open", upTo)
					}
					broker = slices.DeleteFunc(broker, func(x uint64) bool { return x <= upTo })
				}
				for _, tag := range alone {
					end(tag)
				}
				if !slices.Equal(broker, want) {
					t.Fatalf("open are %v, want %v", broker, want)
				}
			},
		})
	})
}

// TestTagsInOneFrame: what can be acked together is.
func TestTagsInOneFrame(t *testing.T) {
	var k tags
	for tag := range uint64(10) {
		k.arrive(tag + 1)
	}
	for _, x := range []struct {
		batch []uint64
		upTo  uint64
		alone []uint64
	}{
		{[]uint64{3, 1, 2, 5}, 3, []uint64{5}},
		{[]uint64{6}, 0, []uint64{6}},
		{[]uint64{4}, 0, []uint64{4}},
		{[]uint64{8, 10, 9}, 0, []uint64{8, 9, 10}},
	} {
		upTo, alone := k.ack(x.batch)
		if upTo != x.upTo || !slices.Equal(alone, x.alone) {
			t.Errorf("acks up to %d and %v, want %d and %v", upTo, alone, x.upTo, x.alone)
		}
	}
	if upTo, alone := k.ack([]uint64{7}); upTo != 0 || !slices.Equal(alone, []uint64{7}) {
		t.Errorf("the last: up to %d and %v", upTo, alone)
	}
}
