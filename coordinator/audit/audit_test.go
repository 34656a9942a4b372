package audit

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journalRules are those that need nothing but the journal.
var journalRules = Rules()[:slices.Index(Rules(), Journal)]

func cutDetail(s string) (string, string, bool) { return strings.Cut(s, ": ") }

// audit runs over a source and fails the test on an error.
func audit(t interface{ Fatal(...any) }, s Source, r Range) Proof {
	p, err := Run(context.Background(), s, nil, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// around shows the journal near the first violation.
func around(p Proof, all []ledger.Record) string {
	var b strings.Builder
	if len(p.Violations) == 0 {
		return ""
	}
	v := p.Violations[0]
	fmt.Fprintf(&b, "%d violations; the first: %+v\n", p.Broken, v)
	for _, r := range all {
		if r.Flow == v.Flow || r.Flow == "" {
			mark := "  "
			if r.ID == v.Record {
				mark = "> "
			}
			fmt.Fprintf(&b, "%s%s %-14s %s node=%s n=%d epoch=%d %s %q\n", mark, r.ID, r.Op, r.Attempt.String(), r.Node, r.N, r.Epoch, r.Token, r.Detail)
		}
	}
	return b.String()
}

func drawn(t *rapid.T) func(int) int {
	return func(n int) int {
		if n <= 1 {
			return 0
		}
		return rapid.IntRange(0, n-1).Draw(t, "")
	}
}

func TestALegalHistoryIsClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(drawn(t)).steps(150)
		s := h.source()
		if p := audit(t, s, Range{}); !p.Clean {
			t.Fatal(around(p, s.records))
		}
	})
}

// legal returns a long history.
func legal(seed int64, steps int) *source {
	return newHistory(rand.New(rand.NewSource(seed)).Intn).steps(steps).source()
}

func TestManyLongHistoriesAreClean(t *testing.T) {
	var sum Proof
	sum.Checked = map[string]int64{}
	for seed := range int64(150) {
		s := legal(seed, 800)
		p := audit(t, s, Range{})
		if !p.Clean {
			t.Fatalf("seed %d: %s", seed, around(p, s.records))
		}
		sum.Records += p.Records
		sum.Cycles += p.Cycles
		sum.Unplanned += p.Unplanned
		for rule, n := range p.Checked {
			sum.Checked[rule] += n
		}
	}
	for _, rule := range journalRules {
		if sum.Checked[rule] == 0 {
			t.Errorf("rule %s was never applied", rule)
		}
	}
	if sum.Unplanned == 0 || sum.Cycles == 0 {
		t.Error("the histories have no cycle without a plan, or none that ended")
	}
	t.Logf("%d records, %d whole cycles, checked %v", sum.Records, sum.Cycles, sum.Checked)
}

// A journal is capped, and a range cuts it: whatever part is looked at, a legal
// history has no violation.
func TestAnyPartOfALegalHistoryIsClean(t *testing.T) {
	partial := int64(0)
	for seed := range int64(60) {
		pick := rand.New(rand.NewSource(seed ^ 77)).Intn
		s := legal(seed, 500)
		for range 8 {
			cut := *s
			cut.records = s.records[pick(len(s.records)):]
			p := audit(t, &cut, Range{})
			if !p.Clean {
				t.Fatalf("seed %d, capped: %s", seed, around(p, cut.records))
			}
			partial += p.Partial
			r := Range{From: s.records[pick(len(s.records))].At, To: s.records[pick(len(s.records))].At}
			if r.From.After(r.To) {
				r.From, r.To = r.To, r.From
			}
			if pick(2) == 0 {
				r.Flow = "flow0"
			}
			if p := audit(t, s, r); !p.Clean {
				t.Fatalf("seed %d, %+v: %s", seed, r, around(p, s.records))
			} else if n := inside(s.records, r); p.Records != n {
				t.Fatalf("seed %d, %+v: %d records are checked, %d lie in it", seed, r, p.Records, n)
			}
		}
	}
	if partial == 0 {
		t.Error("no cut went through a cycle")
	}
}

func inside(all []ledger.Record, r Range) (n int64) {
	for _, x := range all {
		if !x.At.Before(r.From) && !x.At.After(r.To) && (r.Flow == "" || x.Flow == r.Flow || x.Flow == "") {
			n++
		}
	}
	return n
}

// Ended cycles are forgotten after a while; what comes late in one of them is not
// held against it.
func TestForgettingIsNoFalseAlarm(t *testing.T) {
	forgotten := false
	for seed := range int64(40) {
		s := legal(seed, 800)
		c := newChecker(context.Background(), s, Range{})
		c.ended.keep = 3
		for _, r := range s.records {
			if err := c.take(r); err != nil {
				t.Fatal(err)
			}
			if len(c.ended.known) > 4 || len(c.ended.queue) > 4 {
				t.Fatalf("%d ended cycles are remembered", len(c.ended.known))
			}
		}
		for _, f := range c.flows {
			forgotten = forgotten || f.forgotten > 0
		}
		if p := c.finish(); !p.Clean {
			t.Fatalf("seed %d: %s", seed, around(p, s.records))
		}
	}
	if !forgotten {
		t.Error("nothing was forgotten")
	}
}

func TestATrimmedJournalIsReadAgain(t *testing.T) {
	s := legal(1, 16_000)
	if len(s.records) < 3*page {
		t.Fatalf("%d records are too few", len(s.records))
	}
	whole := s.records
	reads := 0
	s.trim = func(s *source) {
		if reads++; reads == 2 { // between the first page and the second
			s.records = whole[page+500:]
		}
	}
	p := audit(t, s, Range{})
	if !p.Clean || p.First != whole[page+500].ID || p.Partial == 0 {
		t.Errorf("clean %v from %s with %d partial cycles, want a clean one from %s: %s", p.Clean, p.First, p.Partial, whole[page+500].ID, around(p, s.records))
	}
	s = legal(1, 16_000)
	s.trim = func(s *source) { // always ahead of the reader
		more := make([]ledger.Record, 0, 2*page)
		ms := s.records[len(s.records)-1].At.UnixMilli()
		for i := range int64(2 * page) {
			more = append(more, ledger.Record{ID: fmt.Sprintf("%d-1", ms+i+1), At: time.UnixMilli(ms + i + 1), Op: "takeover", Epoch: 1 << 40})
		}
		s.records = more
	}
	if _, err := Run(context.Background(), s, nil, Range{}); !errors.Is(err, ErrTrimmed) {
		t.Errorf("got %v, want ErrTrimmed", err)
	}
}

// A grid that changes while the audit runs does not turn against the slots of
// the one before.
func TestAGridThatChangesMeanwhile(t *testing.T) {
	s := &source{grids: map[ids.FlowID][2]int64{"f": {begins, 1000}}}
	at := func(ms int64, slot string) ledger.Record {
		r := ledger.Record{ID: fmt.Sprintf("%d-0", ms), At: time.UnixMilli(ms), Op: "slot_skipped", Epoch: 1, Detail: slot}
		r.Flow = "f"
		return r
	}
	s.records = []ledger.Record{at(begins+1000, fmt.Sprintf("%d %d 1 x", begins+1000, begins+1000)),
		at(begins+3000, fmt.Sprintf("%d %d 1 x", begins+3000, begins+3000))}
	if p := audit(t, s, Range{}); p.Broken != 1 {
		t.Fatalf("%d violations, want the missing slot: %+v", p.Broken, p.Violations)
	}
	c := newChecker(context.Background(), s, Range{})
	for _, r := range s.records {
		if err := c.take(r); err != nil {
			t.Fatal(err)
		}
	}
	s.grids["f"] = [2]int64{begins + 3000, 5000}
	if p := c.finish(); !p.Clean || len(p.Violations) != 0 {
		t.Errorf("violations of a grid that is no more: %+v", p.Violations)
	}
}

// TestSlotsOfReplacedSchedules: each of them is accounted for too, on its own grid,
// up to where the next one begins.
func TestSlotsOfReplacedSchedules(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(begins + ms) }
	grid := Grid{Anchor: at(10_000), Interval: time.Second, Past: []Grid{
		{Anchor: at(1000), Interval: time.Second, Until: at(4499)},
		{Anchor: at(4500), Until: at(6999)}, // manual
		{Anchor: at(7000), Interval: 2 * time.Second, Until: at(9999)},
	}}
	for name, c := range map[string]struct {
		runs [][3]int64
		want int64
	}{
		"all of them":                  {[][3]int64{{1000, 2000, 2}, {3000, 4000, 2}, {7000, 9000, 2}, {10_000, 10_000, 1}}, 0},
		"one of the first":             {[][3]int64{{1000, 2000, 2}, {4000, 4000, 1}}, 1},
		"the first one's last":         {[][3]int64{{1000, 3000, 3}, {7000, 9000, 2}}, 1},
		"all of the one between":       {[][3]int64{{1000, 4000, 4}, {10_000, 10_000, 1}}, 1},
		"off the grid":                 {[][3]int64{{1000, 4000, 4}, {7000, 8000, 1}}, 1},
		"from before what is recalled": {[][3]int64{{-500, -500, 1}, {1000, 1000, 1}}, 0},
	} {
		s := &past{source: source{}, grid: grid}
		for i, run := range c.runs {
			ms := begins + 20_000 + int64(i)
			r := ledger.Record{ID: fmt.Sprintf("%d-0", ms), At: time.UnixMilli(ms), Op: "slot_skipped",
				Detail: fmt.Sprintf("%d %d %d replaced", begins+run[0], begins+run[1], run[2])}
			r.Flow = "f"
			s.records = append(s.records, r)
		}
		if p, err := Run(t.Context(), s, nil, Range{}); err != nil || p.Broken != c.want {
			t.Errorf("%s: %d violations, want %d: %+v, %v", name, p.Broken, c.want, p.Violations, err)
		}
	}
}

type past struct {
	source
	grid Grid
}

func (p *past) Grid(ids.FlowID) (Grid, bool) { return p.grid, true }

func TestErrorsOfTheSource(t *testing.T) {
	boom := errors.New("boom")
	s := legal(1, 200)
	if _, err := Run(context.Background(), broken{s, boom, nil}, nil, Range{}); !errors.Is(err, boom) {
		t.Errorf("journal: %v", err)
	}
	if _, err := Run(context.Background(), broken{s, nil, boom}, nil, Range{}); !errors.Is(err, boom) {
		t.Errorf("plan: %v", err)
	}
}

// broken fails where it is told to.
type broken struct {
	*source
	journal, plan error
}

func (b broken) Journal(ctx context.Context, after string, count int64) ([]ledger.Record, error) {
	if b.journal != nil {
		return nil, b.journal
	}
	return b.source.Journal(ctx, after, count)
}

func (b broken) Plan(ctx context.Context, f ids.FlowID, n int64) (*plan.Plan, error) {
	if b.plan != nil {
		return nil, b.plan
	}
	return b.source.Plan(ctx, f, n)
}
