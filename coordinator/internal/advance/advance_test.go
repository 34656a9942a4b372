package advance_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/internal/advance"
	"github.com/tradingflow/weather-station/coordinator/internal/progress"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is all that advancing meets.
type desk struct {
	mu      sync.Mutex
	in      chan ledger.Entry
	acts    []string
	back    []string
	join    [3]int
	from    int
	open    bool
	state   ledger.NodeState
	cycle   ledger.CycleState
	fail    map[string]error // by act
	planErr error
}

func newDesk() *desk {
	return &desk{fail: map[string]error{}, open: true, cycle: ledger.CycleState{Raw: map[string]string{}}}
}

func (d *desk) note(act, format string, args ...any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acts = append(d.acts, act+fmt.Sprintf(format, args...))
	return d.fail[act]
}

func (d *desk) Take(ctx context.Context, _ int) []ledger.Entry {
	select {
	case e := <-d.in:
		return []ledger.Entry{e}
	case <-ctx.Done():
		return nil
	}
}

func (d *desk) done(ids ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.back = append(d.back, ids...)
}

func (d *desk) OfCycle(context.Context, ids.Attempt) (*plan.Plan, error) {
	p := &plan.Plan{Components: 2, Nodes: []plan.Node{
		{ID: "a"}, {ID: "b"}, {ID: "x", Component: 1},
		{ID: "j", Join: plan.OneSuccess, Inputs: make([]plan.Input, 2)},
		{ID: "w", Inputs: make([]plan.Input, 1), Successors: make([]plan.Successor, 600)},
	}}
	return p.Seal(), d.planErr
}

func (d *desk) Cycle(context.Context, ids.FlowID, int64) (ledger.CycleState, error) {
	return d.cycle, d.note("cycle", "")
}

func (d *desk) Nodes(context.Context, ids.FlowID, int64, []ids.NodeID) ([]ledger.NodeState, error) {
	return []ledger.NodeState{d.state}, nil
}

func (d *desk) JoinOf(context.Context, ids.FlowID, int64, ids.NodeID) (live, dead, failed int, err error) {
	return d.join[0], d.join[1], d.join[2], nil
}

func (d *desk) Decide(_ context.Context, _ ids.Epoch, e ledger.Entry, n *plan.Node, v ledger.Verdict) error {
	if d.join != [3]int{v.Live, v.Dead, v.Failed} {
		return fmt.Errorf("the verdict rests on %+v, the inputs are %v", v, d.join)
	}
	return d.note("decide", " %s %s %v %s %v", e.ID, n.ID, v.Run, v.Reason, v.Passes)
}

func (d *desk) SpreadFrom(context.Context, ledger.Entry) (int, bool, error) {
	return d.from, d.open, nil
}

func (d *desk) SpreadEdges(_ context.Context, _ ids.Epoch, _ ledger.Entry, n *plan.Node, from int, decided ledger.Decided) (int, error) {
	return min(from+256, len(n.Successors)), d.note("edges", " %s %d %v", n.ID, from, decided(0))
}

func (d *desk) SpreadEntries(_ context.Context, _ ids.Epoch, _ ledger.Entry, all []*plan.Node, from int) (int, error) {
	return len(all), d.note("entries", " %d of %d", from, len(all))
}

func (d *desk) Sweep(_ context.Context, _ ids.Epoch, e ledger.Entry, status, reason string, nodes []ids.NodeID) error {
	return d.note("sweep", " %s %s %s %v", e.ID, status, reason, nodes)
}

func (d *desk) ReleaseFlow(_ context.Context, _ ids.Epoch, f ids.FlowID, entry string) (int64, error) {
	return 1, d.note("release", " %s %s", f, entry)
}

func (d *desk) CyclesOf(context.Context, []ids.Attempt) ([]ledger.CycleState, error) {
	return nil, nil // see ends_test.go
}

func (d *desk) Told(context.Context, ids.Epoch, ...ledger.Entry) error { return nil }

func (d *desk) Drop(_ context.Context, _ ids.Epoch, entries ...string) error {
	return d.note("drop", " %v", entries)
}

func (d *desk) listeners() advance.Listeners {
	return advance.Listeners{
		Failure: func(context.Context, ledger.Entry) error { return d.note("failure", "") },
		Timer:   func() { _ = d.note("timer", "") },
		Suspect: func(context.Context, ledger.Entry) error { return d.note("suspect", "") },
		Purge:   func(context.Context, ledger.Entry) error { return d.note("purge", "") },
	}
}

// act has one entry acted on and returns what was done.
func act(t *testing.T, d *desk, kind ledger.Kind, node ids.NodeID) ([]string, error) {
	t.Helper()
	var err error
	synctest.Test(t, func(t *testing.T) {
		d.in = make(chan ledger.Entry, 1) // of this bubble
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- advance.Run(ctx, advance.Config{Ledger: d, Plans: d, Source: d, Done: d.done, Listeners: d.listeners(), Epoch: 5, Log: hclog.NewNullLogger()})
		}()
		d.in <- ledger.Entry{ID: "7-0", Kind: kind, Attempt: ids.Attempt{Flow: "f", Cycle: 1, Node: node}}
		synctest.Wait()
		cancel()
		err = <-done
	})
	if !slices.Equal(d.back, []string{"7-0"}) {
		t.Errorf("given back: %v", d.back)
	}
	return d.acts, err
}

func TestEachKind(t *testing.T) {
	for _, c := range []struct {
		name string
		kind ledger.Kind
		node ids.NodeID
		set  func(d *desk)
		want []string
	}{
		{"a join that runs", ledger.KindDecide, "j", func(d *desk) { d.join = [3]int{1, 0, 1} }, []string{"decide 7-0 j true  0"}},
		{"a join that fails", ledger.KindDecide, "j", func(d *desk) { d.join = [3]int{0, 1, 1} }, []string{"decide 7-0 j false upstream_failed 2"}},
		{"a join not taken", ledger.KindDecide, "j", func(d *desk) { d.join = [3]int{0, 2, 0} }, []string{"decide 7-0 j false not_taken 1"}},
		{"a join not decided any more", ledger.KindDecide, "j", func(d *desk) { d.join = [3]int{1, 0, 0} }, []string{"drop [7-0]"}},
		{"a wide fan-out", ledger.KindSpread, "w", func(d *desk) { d.from, d.state.Status = 256, task.Succeeded }, []string{"edges w 256 0", "edges w 512 0"}},
		{"of a skipped node", ledger.KindSpread, "w", func(d *desk) {
			d.from, d.state = 512, ledger.NodeState{Status: task.Skipped, Reason: progress.NotTaken}
		}, []string{"edges w 512 1"}},
		{"of one skipped by a failure", ledger.KindSpread, "w", func(d *desk) {
			d.from, d.state = 512, ledger.NodeState{Status: task.Skipped, Reason: progress.UpstreamFailed}
		}, []string{"edges w 512 2"}},
		{"of a failed node", ledger.KindSpread, "w", func(d *desk) { d.from, d.state.Status = 512, task.Failed }, []string{"edges w 512 2"}},
		{"a fan-out that is done", ledger.KindSpread, "w", func(d *desk) { d.open = false }, []string{"drop [7-0]"}},
		{"many entry nodes", ledger.KindSpread, "", func(d *desk) { d.from = 1 }, []string{"entries 1 of 3"}},
		{"a failed component", ledger.KindSweep, "a", func(d *desk) { d.cycle.Components = map[string]string{"0": "failed"} }, []string{"cycle", "sweep 7-0 skipped upstream_failed [a b j w]"}},
		{"a stopped component", ledger.KindSweep, "x", func(d *desk) { d.cycle.Components = map[string]string{"1": "stopped"} }, []string{"cycle", "sweep 7-0 stopped component_stopped [x]"}},
		{"a cancelled cycle", ledger.KindSweep, "", func(d *desk) { d.cycle.Raw["cause"] = "timeout" }, []string{"cycle", "sweep 7-0 cancelled timeout [a b x j w]"}},
		{"a resumed flow", ledger.KindRelease, "", func(*desk) {}, []string{"release f 7-0"}},
		{"a deleted flow", ledger.KindPurge, "", func(*desk) {}, []string{"purge"}},
		{"a timer", ledger.KindTimer, "a", func(*desk) {}, []string{"timer", "drop [7-0]"}},
		{"a suspect", ledger.KindSuspect, "a", func(*desk) {}, []string{"suspect", "drop [7-0]"}},
		{"a failure", ledger.KindAlert, "a", func(*desk) {}, []string{"failure", "drop [7-0]"}},
		{"a cycle that is gone", ledger.KindSweep, "", func(d *desk) { d.fail["cycle"] = fmt.Errorf("x: %w", ledger.ErrGone) }, []string{"cycle", "drop [7-0]"}},
		{"a node that is not in the plan", ledger.KindDecide, "q", func(*desk) {}, []string{"drop [7-0]"}},
		{"redis away", ledger.KindDecide, "j", func(d *desk) { d.planErr = ledger.ErrUnavailable }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk()
			c.set(d)
			got, err := act(t, d, c.kind, c.node)
			if err != nil {
				t.Errorf("Run: %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("acts differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAFenceEndsTheEpoch(t *testing.T) {
	for kind, verb := range map[ledger.Kind]string{ledger.KindDecide: "decide", ledger.KindSweep: "sweep", ledger.KindTimer: "drop",
		ledger.KindRelease: "release", ledger.KindPurge: "purge", ledger.KindSpread: "edges", ledger.KindSuspect: "suspect"} {
		t.Run(string(kind), func(t *testing.T) {
			d := newDesk()
			d.join = [3]int{2, 0, 0}
			d.state.Status = task.Succeeded
			d.fail[verb] = fmt.Errorf("x: %w", &ledger.FencedError{Own: 5, Higher: 6})
			node := ids.NodeID("j")
			if kind == ledger.KindSpread {
				node = "w"
			}
			if _, err := act(t, d, kind, node); !ledger.Fenced(err) {
				t.Errorf("Run returned %v", err)
			}
		})
	}
}

// TestEveryKindHasOnePlace: no entry stays unread, none is read twice.
func TestEveryKindHasOnePlace(t *testing.T) {
	got := append(append([]ledger.Kind{ledger.KindReady}, advance.Kinds()...), append(advance.SlowKinds(), advance.EndKinds()...)...)
	slices.Sort(got)
	want := []ledger.Kind{ledger.KindReady, ledger.KindDecide, ledger.KindSpread, ledger.KindSweep, ledger.KindTimer, ledger.KindSuspect,
		ledger.KindRelease, ledger.KindPurge, ledger.KindAlert, ledger.KindClosed}
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("kinds differ (-want +got):\n%s", d)
	}
}
