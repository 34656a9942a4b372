package balance

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/coordinator/internal/election"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// led makes seats in which all of a set of coordinators stand everywhere.
func led(line []string, leaders ...string) []Seats {
	out := make([]Seats, len(leaders))
	for p, l := range leaders {
		out[p] = Seats{Leader: l, Line: line}
	}
	return out
}

func TestNext(t *testing.T) {
	two, three := []string{"a", "b"}, []string{"a", "b", "c"}
	for name, c := range map[string]struct {
		seats []Seats
		want  Move
		none  bool
	}{
		"nothing":                       {none: true},
		"one partition":                 {seats: led(three, "a"), none: true},
		"alone":                         {seats: led([]string{"a"}, "a", "a", "a"), none: true},
		"all on one":                    {seats: led(two, "a", "a", "a", "a"), want: Move{0, "a", "b"}},
		"one too many is even":          {seats: led(two, "b", "a", "a"), none: true},
		"two one one":                   {seats: led(three, "a", "b", "c", "a"), none: true},
		"a new one":                     {seats: led(three, "b", "a", "b", "a"), want: Move{1, "a", "c"}},
		"the one that leads most gives": {seats: led(three, "b", "b", "b", "a", "a", "c"), want: Move{0, "b", "c"}},
		"an election comes first":       {seats: led(two, "a", "a", "a", ""), none: true},
		"not in that line":              {seats: []Seats{{"a", []string{"a"}}, {"a", []string{"a"}}, {"a", two}}, want: Move{2, "a", "b"}},
		"in no line of the giver":       {seats: []Seats{{"a", []string{"a"}}, {"a", []string{"a"}}, {"c", []string{"c", "b"}}}, none: true},
	} {
		m, ok := Next(c.seats)
		if ok == c.none || ok && m != c.want {
			t.Errorf("%s: %+v, %t", name, m, ok)
		}
	}
}

// spread returns how far the numbers of partitions are apart, and how many partitions
// are above the highest number that is even.
func spread(all []Seats) (gap, over int) {
	load := map[string]int{}
	for _, s := range all {
		for _, c := range s.Line {
			load[c] += 0
		}
		load[s.Leader]++
	}
	loads := make([]int, 0, len(load))
	for _, n := range load {
		loads = append(loads, n)
	}
	slices.Sort(loads)
	slices.Reverse(loads)
	floor, rest := len(all)/len(loads), len(all)%len(loads)
	for i, n := range loads {
		even := floor
		if i < rest {
			even++
		}
		over += max(0, n-even)
	}
	return loads[0] - loads[len(loads)-1], over
}

func TestMovesMakeEvenAndAreAsFewAsCanBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := []string{"a", "b", "c", "d", "e"}[:rapid.IntRange(1, 5).Draw(t, "coordinators")]
		leaders := rapid.SliceOfN(rapid.SampledFrom(line), 1, 64).Draw(t, "leaders")
		seats := led(line, leaders...)
		_, needed := spread(seats)
		moves := 0
		for m, ok := Next(seats); ok; m, ok = Next(seats) {
			if seats[m.Partition].Leader != m.From || m.From == m.To {
				t.Fatalf("move %+v of a partition that %s leads", m, seats[m.Partition].Leader)
			}
			seats[m.Partition].Leader = m.To
			moves++
		}
		if gap, _ := spread(seats); gap > 1 || moves != needed {
			t.Fatalf("%d moves where %d are needed; %d apart then", moves, needed, gap)
		}
	})
}

// Whoever looks names the same giver, in whatever order the lines stand.
func TestEveryoneDecidesAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := []string{"a", "b", "c", "d"}
		seats := led(line, rapid.SliceOfN(rapid.SampledFrom(line), 1, 16).Draw(t, "leaders")...)
		one, ok := Next(seats)
		for p := range seats {
			seats[p].Line = rapid.Permutation(line).Draw(t, "line")
		}
		if two, also := Next(seats); two != one || ok != also {
			t.Fatalf("%+v and %+v", one, two)
		}
	})
}

func TestLeast(t *testing.T) {
	seats := led([]string{"a", "b", "c"}, "a", "b", "b", "a")
	if got := Least(seats, 0); got != "c" {
		t.Errorf("got %s", got)
	}
	if got := Least(led([]string{"a"}, "a"), 0); got != "" {
		t.Errorf("alone: %s", got)
	}
}

// board is elections whose hand-overs are done at once.
type board struct {
	mu    sync.Mutex
	seats []Seats
	subs  []chan election.View
	moves []string
	began time.Time
}

func (b *board) view(p int) election.View {
	var v election.View
	for _, c := range b.seats[p].Line {
		v.Members = append(v.Members, election.Candidate{Instance: c})
	}
	if l := b.seats[p].Leader; l != "" {
		v.Leader = &election.Leader{Candidate: election.Candidate{Instance: l}}
	}
	return v
}

func (b *board) tell(p int) {
	select {
	case <-b.subs[p]:
	default:
	}
	b.subs[p] <- b.view(p)
}

type seat struct {
	*board
	p  int
	by string
}

func (s seat) Watch() (<-chan election.View, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(s.p)
	return s.subs[s.p], func() {}
}

func (s seat) HandTo(_ context.Context, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seats[s.p].Leader != s.by {
		return election.ErrNotLeading
	}
	s.moves = append(s.moves, fmt.Sprintf("%d to %s after %s", s.p, to, time.Since(s.began)))
	s.seats[s.p].Leader = to
	s.tell(s.p)
	return nil
}

func TestRunWaitsAndMovesOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &board{seats: led([]string{"a", "b"}, "a", "a", "a", "a"), began: time.Now()}
		parts := make([]Partition, 4)
		for p := range parts {
			b.subs = append(b.subs, make(chan election.View, 1))
			parts[p] = seat{b, p, "a"}
		}
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = Run(ctx, Config{Partitions: parts, Instance: "a", Log: hclog.NewNullLogger()}) })
		time.Sleep(2100 * time.Millisecond) // of the bubble's clock: a third one comes before it is calm
		b.mu.Lock()
		for p := range b.seats {
			b.seats[p].Line = []string{"a", "b", "c"}
			b.tell(p)
		}
		b.mu.Unlock()
		time.Sleep(time.Minute)
		stop()
		all.Wait()
		want := []string{"0 to b after 5.25s", "1 to c after 6s"}
		if !slices.Equal(b.moves, want) {
			t.Errorf("moves %q, want %q", b.moves, want)
		}
	})
}

func TestRunGivesNothingThatIsNotItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &board{seats: led([]string{"a", "b"}, "a", "a"), began: time.Now()}
		var parts []Partition
		for p := range b.seats {
			b.subs = append(b.subs, make(chan election.View, 1))
			parts = append(parts, seat{b, p, "b"})
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if err := Run(ctx, Config{Partitions: parts, Instance: "b", Log: hclog.NewNullLogger()}); err != nil || len(b.moves) > 0 {
			t.Errorf("moves %q, %v", b.moves, err)
		}
	})
}
