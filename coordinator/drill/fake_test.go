package drill

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCluster is a cluster whose canary ticks every 100 ms of real time. Its
// cycles take 5 ms. Nothing starts while it is down.
type fakeCluster struct {
	mu      sync.Mutex
	flow    string
	ticks   bool
	last    time.Time
	cycles  []api.Cycle
	epoch   int64
	leader  string
	down    bool
	worker  string
	status  string // that cycles end with
	proof   api.Proof
	deleted []string
	refuses bool   // to register
	newest  int    // how many cycles are listed; 0 = all
	stuck   int64  // cycle that ends only when 10 newer ones have
	forgets bool   // the stuck cycle when it has ended
	from    string // of the last Verify
	others  []api.FlowSummary
	journal func(*fakeCluster) []api.JournalRecord
}

func newFake() *fakeCluster {
	return &fakeCluster{epoch: 7, leader: "c-1", worker: "w-1", status: api.CycleCompleted, proof: api.Proof{Clean: true, Records: 9}}
}

var errDown = errors.New("down")

func (f *fakeCluster) Register(_ context.Context, doc []byte, _ client.RegisterOptions) (api.Registered, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuses {
		return api.Registered{}, errDown
	}
	d := read(doc)
	f.flow, f.ticks = d.ID, d.Schedule == api.Periodic
	if f.last.IsZero() {
		f.last = time.Now()
	}
	return api.Registered{FlowID: f.flow}, nil
}

// advance makes the cycles that are due and ends those that are over.
func (f *fakeCluster) advance() {
	const interval = 100 * time.Millisecond
	now := time.Now()
	for !f.last.Add(interval).After(now) {
		f.last = f.last.Add(interval)
		if !f.ticks || f.down {
			continue
		}
		f.cycles = append(f.cycles, api.Cycle{
			CycleSummary: api.CycleSummary{Cycle: int64(len(f.cycles) + 1), FlowID: f.flow, Status: api.CycleRunning, Trigger: api.TriggerSlot,
				Slot: api.At(f.last), StartedAt: api.At(now), TotalNodes: 4},
			Nodes: []api.Node{{NodeID: longNode, Status: "running", Attempt: 1, Worker: f.worker}},
		})
	}
	for i := range f.cycles {
		if f.stuck == int64(i+1) && len(f.cycles) < i+10 {
			continue
		}
		if c := &f.cycles[i]; c.Status == api.CycleRunning && now.Sub(c.StartedAt.Time) > 5*time.Millisecond && !f.down {
			c.Status, c.CompletedAt, c.Succeeded = f.status, api.At(now), 4
			c.Nodes[0].Status = "succeeded"
		}
	}
}

func (f *fakeCluster) Flow(context.Context, string) (api.FlowStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance()
	n := int64(len(f.cycles))
	out := api.FlowStatus{Slots: api.Slots{Due: n + 2, Started: n, Skipped: map[string]int64{"missed": 2}}}
	for _, c := range f.cycles {
		if c.Status == api.CycleRunning {
			out.ActiveCycles++
		}
	}
	return out, nil
}

func (f *fakeCluster) Flows(context.Context) ([]api.FlowSummary, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.others, nil
}

func (f *fakeCluster) Journal(context.Context, client.JournalOptions) (api.Journal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.journal == nil {
		return api.Journal{}, nil
	}
	return api.Journal{Records: f.journal(f)}, nil
}

func (f *fakeCluster) PauseFlow(context.Context, string) (api.FlowStatus, error) {
	return api.FlowStatus{}, nil
}

func (f *fakeCluster) DeleteFlow(_ context.Context, flow string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deleted = append(f.deleted, flow)
	f.cycles, f.last = nil, time.Time{}
	return nil
}

func (f *fakeCluster) Cycles(context.Context, string, int, int64) (api.CycleList, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance()
	if f.down {
		return api.CycleList{}, errDown
	}
	var out api.CycleList
	for i := len(f.cycles) - 1; i >= 0 && (f.newest == 0 || len(out.Cycles) < f.newest); i-- {
		out.Cycles = append(out.Cycles, f.cycles[i].CycleSummary)
	}
	return out, nil
}

func (f *fakeCluster) Cycle(_ context.Context, _ string, n int64) (api.Cycle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance()
	c := f.cycles[n-1]
	if n == f.stuck && f.forgets && api.CycleEnded(c.Status) {
		return api.Cycle{}, &client.Problem{Status: 404, Code: "not_found"}
	}
	c.Nodes = append([]api.Node(nil), c.Nodes...)
	return c, nil
}

func (f *fakeCluster) Node(ctx context.Context, flow string, n int64, _ string) (api.Node, error) {
	c, err := f.Cycle(ctx, flow, n)
	return c.Nodes[0], err
}

func (f *fakeCluster) Cluster(context.Context) (api.Cluster, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return api.Cluster{Leader: &api.Leader{ID: f.leader, Epoch: f.epoch}, Members: []api.Member{{ID: f.leader, Address: "c"}},
		Health: []api.Dependency{{Name: "redis", OK: !f.down}}}, nil
}

func (f *fakeCluster) Workers(context.Context) ([]api.Worker, error) {
	return []api.Worker{{WorkerID: "w-1", StartedAt: api.At(time.Unix(1000, 0))}}, nil
}

func (f *fakeCluster) Verify(_ context.Context, opts client.VerifyOptions) (api.Proof, error) {
	f.from = opts.From
	return f.proof, nil
}

// fakeTarget does to the cluster what it is told.
type fakeTarget struct {
	cluster *fakeCluster
	inject  func(*fakeCluster)
	heal    func(*fakeCluster)
	fail    error
	proof   string
	names   Names
	heals   int
}

func (t *fakeTarget) Inject(_ context.Context, _ Fault, n Names) (Evidence, error) {
	t.names = n
	if t.fail != nil {
		return Evidence{}, t.fail
	}
	at := time.Now()
	t.cluster.change(t.inject)
	return Evidence{At: at, Proof: t.proof}, nil
}

func (t *fakeTarget) Heal(context.Context, Fault, Names) error {
	t.heals++
	t.cluster.change(t.heal)
	return nil
}

func (f *fakeCluster) change(by func(*fakeCluster)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance()
	if by != nil {
		by(f)
	}
}

// fakeFences counts up by one at every reading.
type fakeFences struct{ n int64 }

func (f *fakeFences) Refused(context.Context, string) (int64, error) {
	f.n++
	return f.n, nil
}

func config(c *fakeCluster, t Target, f Fault) Config {
	return Config{Flows: c, Cycles: c, Fleet: c, Verifier: c, Fences: &fakeFences{}, Target: t, Fault: f, Interval: 100 * time.Millisecond,
		Pause: 150 * time.Millisecond, Server: "redis", Between: [2]string{"a", "b"}, Delay: time.Millisecond, Repeat: 1, After: 1, Limit: 2 * time.Second, Deadline: 3 * time.Second, Poll: time.Millisecond, Seed: 1}
}
