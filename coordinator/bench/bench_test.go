package bench_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/bench"
	"github.com/tradingflow/weather-station/coordinator/bench/shape"
	"github.com/tradingflow/weather-station/coordinator/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a cluster that ends every cycle at once: in its journal the nodes of a
// flow end one after another, step apart.
type fake struct {
	mu      sync.Mutex
	flows   map[string]int // nodes of the registered flows
	cycles  map[string]int64
	records []api.JournalRecord
	now     time.Time
	step    time.Duration
	fail    func(flow string) error // before a cycle
}

func newFake() *fake {
	return &fake{flows: map[string]int{}, cycles: map[string]int64{}, now: time.Now(), step: 4 * time.Millisecond, fail: func(string) error { return nil }}
}

func (f *fake) Register(_ context.Context, document []byte, _ client.RegisterOptions) (api.Registered, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, rest, _ := strings.Cut(string(document), `"flow_id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	f.flows[id] = strings.Count(string(document), `"type":"delay"`)
	if strings.Contains(string(document), `"periodic"`) { // two slots, 3 and 5 ms late
		for n, late := range []time.Duration{3, 5} {
			slot := time.Now().Add(time.Duration(50+60*n) * time.Millisecond)
			f.note("cycle_start", id, int64(n+1), "", slot.Add(late*time.Millisecond), fmt.Sprint(slot.UnixMilli(), " 1"))
		}
	}
	return api.Registered{FlowID: id}, nil
}

func (f *fake) note(op, flow string, cycle int64, node string, at time.Time, detail string) {
	f.records = append(f.records, api.JournalRecord{ID: fmt.Sprint(len(f.records)), Op: op, FlowID: flow, Cycle: cycle, NodeID: node, At: api.At(at), Detail: detail})
}

func (f *fake) DeleteFlow(_ context.Context, flow string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.flows[flow]; !known {
		return &client.Problem{Status: 404, Code: api.CodeNotFound}
	}
	delete(f.flows, flow)
	return nil
}

func (f *fake) RunCycle(ctx context.Context, flow, _ string, _ time.Duration) (api.CycleSummary, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(f.fail(flow), ctx.Err()); err != nil {
		return api.CycleSummary{}, err
	}
	f.cycles[flow]++
	n, began := f.cycles[flow], f.now
	f.note("cycle_start", flow, n, "", f.now, "manual 1")
	for i := range f.flows[flow] {
		f.now = f.now.Add(f.step)
		f.note("outcome", flow, n, shape.NodeID(i), f.now, "succeeded")
	}
	f.note("cycle_end", flow, n, "", f.now, "completed")
	return api.CycleSummary{Cycle: n, Status: api.CycleCompleted, StartedAt: api.At(began)}, nil
}

func (f *fake) Journal(_ context.Context, opts client.JournalOptions) (api.Journal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if opts.After != "" { // the second of two pages
		return api.Journal{Records: f.records[len(f.records)/2:]}, nil
	}
	return api.Journal{Records: f.records[:len(f.records)/2], Next: "more"}, nil
}

// still is a floor that takes a second for everything, and as many milliseconds
// for each hop as it is asked for nodes.
type still struct{ jobs []string }

func (s *still) Run(_ context.Context, job shape.Job) (shape.Sample, error) {
	s.jobs = append(s.jobs, job.Name)
	one := []time.Duration{2 * time.Millisecond}
	return shape.Sample{Took: time.Second, Nodes: job.Nodes(), Hops: one, Cycles: one, Late: one}, nil
}

func config(f *fake) bench.Config {
	return bench.Config{Flows: f, Cycles: f, Prefix: "bench-x", Runs: 3, Expire: time.Minute, Sizes: bench.Sizes{Chain: 5, Fan: 3, Diamonds: 2, Cycles: 2, Sleeps: 4, Sleep: time.Millisecond,
		Concurrency: 2, Ticks: 2, Every: 100 * time.Millisecond, TicksFor: 200 * time.Millisecond, Big: 20, Small: 4}}
}

func TestRunMeasuresBothSides(t *testing.T) {
	f, least := newFake(), &still{}
	cfg := config(f)
	cfg.Floor, cfg.Queue = least, "quorum"
	used := time.Duration(0)
	cfg.CPU = func() map[string]time.Duration { // 10 ms of the product and 5 of the client in every run
		used += 10 * time.Millisecond
		return map[string]time.Duration{"redis": used, bench.Client: used / 2}
	}
	var steps []string
	cfg.Progress = func(done, total int, what string) { steps = append(steps, fmt.Sprint(done, "/", total, " ", what)) }
	rep, err := bench.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.flows) > 0 {
		t.Errorf("flows are left: %v", f.flows)
	}
	if len(steps) != 6*7 || steps[0] != "0/42 chain: warm-up" || steps[41] != "41/42 big: run 3 of 3, cluster" {
		t.Errorf("steps: %q", steps)
	}
	if diff := cmp.Diff(bench.Workloads(), names(rep)); diff != "" {
		t.Errorf("workloads (-want +got):\n%s", diff)
	}
	// The hops of the journal are 4 ms, those of the floor 2.
	for figure, want := range map[string]struct{ ours, floor, ratio float64 }{
		"chain/hop p50":       {4, 2, 2},
		"chain/hop p99":       {4, 2, 2},
		"diamonds/cycle p50":  {16, 2, 8},
		"ticks/late p50":      {3, 2, 1.5},
		"ticks/late p99":      {5, 2, 2.5},
		"ticks/slots met":     {1, 0.25, 4},
		"chain/CPU":           {2000, 0, 0},
		"sleep/CPU":           {2500, 0, 0},
		"fan/throughput":      {-1, 5, -1},
		"diamonds/throughput": {-1, 16, -1},
		"sleep/of ideal":      {-1, 0.002, -1},

		"big/hop beside fan-out, max": {4, 0, 0},
	} {
		m := measure(t, rep, figure)
		got := [3]float64{m.Ours.Median, 0, 0}
		if m.Floor != nil {
			got[1] = m.Floor.Median
		}
		if m.Ratio != nil {
			got[2] = *m.Ratio
		}
		for i, w := range []float64{want.ours, want.floor, want.ratio} {
			if w >= 0 && (got[i] < w*0.999 || got[i] > w*1.001) {
				t.Errorf("%s: %v; want %+v", figure, got, want)
				break
			}
		}
		if len(m.Ours.Runs) != 3 {
			t.Errorf("%s is of %d runs", figure, len(m.Ours.Runs))
		}
	}
	var svg strings.Builder
	if err := rep.WriteSVG(&svg); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for dec := xml.NewDecoder(strings.NewReader(svg.String())); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the picture is not well-formed: %v\n%s", err, svg.String())
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			lines++
		}
	}
	if lines != 12 || strings.Contains(svg.String(), "NaN") || strings.Contains(svg.String(), "Inf") {
		t.Errorf("the picture has %d lines; want 2 for each of 6 workloads\n%s", lines, svg.String())
	}
}

func names(r bench.Report) (out []string) {
	for _, w := range r.Workloads {
		out = append(out, w.Name)
	}
	return out
}

func measure(t *testing.T, r bench.Report, name string) bench.Measure {
	t.Helper()
	workload, figure, _ := strings.Cut(name, "/")
	for _, w := range r.Workloads {
		for _, m := range w.Measures {
			if w.Name == workload && m.Name == figure {
				return m
			}
		}
	}
	t.Fatalf("the report has no %s", name)
	return bench.Measure{}
}

func TestRunWithoutFloor(t *testing.T) {
	f := newFake()
	cfg := config(f)
	cfg.Only = []string{"sleep", "chain", "sleep"}
	rep, err := bench.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"sleep", "chain"}, names(rep)); diff != "" {
		t.Errorf("workloads (-want +got):\n%s", diff)
	}
	if m := measure(t, rep, "chain/hop p50"); m.Floor != nil || m.Ratio != nil {
		t.Errorf("a floor from nowhere: %+v", m)
	}
}

func TestFlowsAreDeletedWhateverHappens(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		fail func(cancel func()) error
		want error
	}{
		"a cycle fails": {func(func()) error { return broken }, broken},
		"interrupted":   {func(cancel func()) error { cancel(); return nil }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			f.fail = func(flow string) error {
				if strings.Contains(flow, "diamonds") {
					return tc.fail(cancel)
				}
				return nil
			}
			if _, err := bench.Run(ctx, config(f)); !errors.Is(err, tc.want) {
				t.Errorf("error %v; want %v", err, tc.want)
			}
			if len(f.flows) > 0 {
				t.Errorf("flows are left: %v", f.flows)
			}
		})
	}
}

func TestValidateListsEveryFault(t *testing.T) {
	cfg := config(newFake())
	cfg.Runs, cfg.Only = 0, []string{"chain", "flood"}
	cfg.Sizes.Chain, cfg.Sizes.Every, cfg.Sizes.Big = 1, time.Millisecond, 10_001
	_, err := bench.Run(t.Context(), cfg)
	for _, want := range []string{"--runs is 0", `workload "flood"`, "chain, fan, diamonds", "--chain is 1", "--every is 1ms", "--big is 10001"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want %q", err, want)
		}
	}
}
