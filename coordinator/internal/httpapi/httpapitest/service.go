// Package httpapitest holds a Service and a Health for tests of the HTTP API,
// of its client and of the command line. Nothing but tests imports it.
package httpapitest

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/shared/ids"
)

// Service answers each call by the function of the call's name, which a test
// may replace before the first request. It notes which calls came.
type Service struct {
	OnRegister    func(ctx context.Context, body []byte, opts httpapi.RegisterOptions) (api.Registered, error)
	OnListFlows   func(ctx context.Context) ([]api.FlowSummary, error)
	OnGetFlow     func(ctx context.Context, flow ids.FlowID) (api.FlowStatus, error)
	OnDeleteFlow  func(ctx context.Context, flow ids.FlowID) error
	OnPauseFlow   func(ctx context.Context, flow ids.FlowID) (api.FlowStatus, error)
	OnResumeFlow  func(ctx context.Context, flow ids.FlowID) (api.FlowStatus, error)
	OnStartCycle  func(ctx context.Context, flow ids.FlowID, key string) (api.CycleSummary, error)
	OnRunCycle    func(ctx context.Context, flow ids.FlowID, key string, wait time.Duration) (api.CycleSummary, error)
	OnListCycles  func(ctx context.Context, flow ids.FlowID, limit int, before int64) ([]api.CycleSummary, error)
	OnGetCycle    func(ctx context.Context, flow ids.FlowID, cycle int64) (api.Cycle, error)
	OnCancelCycle func(ctx context.Context, flow ids.FlowID, cycle int64) (api.CycleSummary, error)
	OnGetNode     func(ctx context.Context, flow ids.FlowID, cycle int64, node ids.NodeID) (api.Node, error)
	OnMetrics     func(ctx context.Context, flow ids.FlowID) (api.Metrics, error)
	OnCluster     func(ctx context.Context) (api.Cluster, error)
	OnWorkers     func(ctx context.Context) ([]api.Worker, error)
	OnJournal     func(ctx context.Context, r httpapi.JournalRange) (api.Journal, error)
	OnVerify      func(ctx context.Context, r httpapi.VerifyRange) (api.Proof, error)
	OnTransfer    func(ctx context.Context, partition int, here bool) (api.Transfer, error)
	OnTakeOnceKey func(ctx context.Context, q httpapi.OnceRequest) (bool, error)

	mu    sync.Mutex
	calls []string
}

// Start is the instant at which everything of New began.
func Start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC) }

// New returns a Service that knows one flow, btc, with one ended cycle, 7, of
// two nodes, price and order. Anything else does not exist.
func New() *Service {
	known := func(flow ids.FlowID) error {
		if flow != "btc" {
			return &httpapi.NotFound{What: `flow "` + string(flow) + `"`}
		}
		return nil
	}
	status := func(state string) func(context.Context, ids.FlowID) (api.FlowStatus, error) {
		return func(_ context.Context, flow ids.FlowID) (api.FlowStatus, error) {
			f := Flow()
			f.Status = state
			return f, known(flow)
		}
	}
	cycle := func(flow ids.FlowID, n int64) error {
		if err := known(flow); err != nil || n == 7 {
			return err
		}
		return &httpapi.NotFound{What: "that cycle of flow btc"}
	}
	return &Service{
		OnRegister: func(_ context.Context, body []byte, opts httpapi.RegisterOptions) (api.Registered, error) {
			return api.Registered{FlowID: "btc", Revision: 1, Created: true, Changed: true, Validated: opts.ValidateOnly,
				Status: api.FlowActive, ScheduleType: api.Periodic,
				Components: [][]string{{"price", "order"}}, EntryNodes: []string{"price"}}, nil
		},
		OnListFlows:  func(context.Context) ([]api.FlowSummary, error) { return []api.FlowSummary{Flow().FlowSummary}, nil },
		OnGetFlow:    status(api.FlowActive),
		OnDeleteFlow: func(_ context.Context, flow ids.FlowID) error { return known(flow) },
		OnPauseFlow:  status(api.FlowPaused),
		OnResumeFlow: status(api.FlowActive),
		OnStartCycle: func(_ context.Context, flow ids.FlowID, _ string) (api.CycleSummary, error) {
			return Cycle().CycleSummary, known(flow)
		},
		OnRunCycle: func(_ context.Context, flow ids.FlowID, _ string, _ time.Duration) (api.CycleSummary, error) {
			return Cycle().CycleSummary, known(flow)
		},
		OnListCycles: func(_ context.Context, flow ids.FlowID, _ int, _ int64) ([]api.CycleSummary, error) {
			return []api.CycleSummary{Cycle().CycleSummary}, known(flow)
		},
		OnGetCycle: func(_ context.Context, flow ids.FlowID, n int64) (api.Cycle, error) { return Cycle(), cycle(flow, n) },
		OnCancelCycle: func(_ context.Context, flow ids.FlowID, n int64) (api.CycleSummary, error) {
			c := Cycle().CycleSummary
			c.Status = api.CycleCancelling
			return c, cycle(flow, n)
		},
		OnGetNode: func(_ context.Context, flow ids.FlowID, n int64, node ids.NodeID) (api.Node, error) {
			if err := cycle(flow, n); err != nil {
				return api.Node{}, err
			}
			for _, v := range Cycle().Nodes {
				if v.NodeID == string(node) {
					v.Inputs = map[string]json.RawMessage{"in": json.RawMessage(`{"b":1,"a":[2]}`)}
					v.Outputs = map[string]json.RawMessage{"default": json.RawMessage(`42.5`)}
					return v, nil
				}
			}
			return api.Node{}, &httpapi.NotFound{What: "that node"}
		},
		OnMetrics: func(_ context.Context, flow ids.FlowID) (api.Metrics, error) {
			return api.Metrics{FlowID: "btc", Window: 10, TotalExecutions: 4, Successful: 3, Failed: 1, SuccessRate: 0.75,
				AvgSeconds: 1.5, P50Seconds: 1.25, MaxSeconds: 3}, known(flow)
		},
		OnCluster: func(context.Context) (api.Cluster, error) {
			return api.Cluster{
				Leader:     &api.Leader{ID: "c-1", Epoch: 42, Since: api.At(Start()), Address: "127.0.0.1:7002"},
				Members:    []api.Member{{ID: "c-1", Leader: true, Self: true, Address: "127.0.0.1:7002"}, {ID: "c-2"}},
				Schema:     "1",
				Pools:      []api.Pool{{Pool: "default", Ready: 3, Consumers: 2, Workers: 2, Capacity: 8, Busy: 5}},
				Health:     []api.Dependency{{Name: "etcd", OK: true}, {Name: "redis", OK: false, Detail: "connection refused"}},
				Repairs:    map[string]int64{"message": 7, "offer": 2},
				Recoveries: []api.Recovery{{At: api.At(Start()), What: "redis was restarted: repaired offer 2"}},
			}, nil
		},
		OnWorkers: func(context.Context) ([]api.Worker, error) {
			return []api.Worker{{WorkerID: "w-1", Pool: "default", NodeTypes: []string{"http", "log"}, Concurrency: 4, Busy: 1,
				Version: "1.0", StartedAt: api.At(Start()), LastBeat: api.At(Start().Add(time.Minute))}}, nil
		},
		OnJournal: func(context.Context, httpapi.JournalRange) (api.Journal, error) {
			return api.Journal{Records: []api.JournalRecord{{ID: "1767225600000-0", At: api.At(Start()), Op: "dispatch", FlowID: "momentum", Cycle: 7, NodeID: "price", Attempt: 1, Epoch: 3}}}, nil
		},
		OnVerify: func(context.Context, httpapi.VerifyRange) (api.Proof, error) {
			return api.Proof{Clean: true, Records: 40, First: "1767323045678-0", Last: "1767323049000-3",
				Flows: 1, Compared: 2, Nodes: 6, Slots: []api.SlotCount{{FlowID: "btc-momentum", First: api.At(Start()), Last: api.At(Start()), Due: 4, Started: 3, Skipped: map[string]int64{"overlap": 1}}}, Checked: map[string]int64{"claims": 4, "slots": 7},
				Cycles: 2, Open: 1, Violations: []api.Violation{}, TookMS: 3}, nil
		},
		OnTakeOnceKey: func(context.Context, httpapi.OnceRequest) (bool, error) { return true, nil },
		OnTransfer: func(context.Context, int, bool) (api.Transfer, error) {
			return api.Transfer{From: "c-1", Epoch: 42}, nil
		},
	}
}

// Flow returns the flow of New.
func Flow() api.FlowStatus {
	c := Cycle().CycleSummary
	return api.FlowStatus{
		FlowSummary: api.FlowSummary{FlowID: "btc", Name: "BTC momentum", Status: api.FlowActive, ScheduleType: api.Periodic,
			IntervalSeconds: 60, Revision: 3, NodeCount: 2, NextSlot: api.At(Start().Add(time.Hour)), LatestCycle: 7, CycleStatus: &c},
		Slots:      api.Slots{Due: 9, Started: 7, Skipped: map[string]int64{"overlap": 2}},
		Components: [][]string{{"price", "order"}}, EntryNodes: []string{"price"}, Sinks: []string{"order"},
		Levels:     [][]string{{"price"}, {"order"}},
		Definition: json.RawMessage(`{"flow_id":"btc","nodes":[{"id":"price","type":"http"}]}`),
	}
}

// Cycle returns the cycle of New.
func Cycle() api.Cycle {
	return api.Cycle{
		CycleSummary: api.CycleSummary{Cycle: 7, UUID: "0c7c1c5e-0000-5000-8000-000000000007", FlowID: "btc", Status: api.CycleCompleted,
			Trigger: api.TriggerSlot, Slot: api.At(Start()), Revision: 3, StartedAt: api.At(Start()),
			CompletedAt: api.At(Start().Add(1500 * time.Millisecond)), DurationSeconds: 1.5, TotalNodes: 2, CompletedNodes: 2, Succeeded: 2},
		Nodes: []api.Node{
			{NodeID: "price", Type: "http", Pool: "default", Level: 1, Status: "succeeded", Attempt: 1, Worker: "w-1",
				StartedAt: api.At(Start()), CompletedAt: api.At(Start().Add(time.Second))},
			{NodeID: "order", Type: "exec", Pool: "default", Level: 2, Status: "succeeded", Attempt: 2, RetryCount: 1, Worker: "w-1"},
		},
	}
}

// Calls returns the names of the calls that came, in order.
func (s *Service) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.calls...)
}

func (s *Service) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

// Health is an httpapi.Health with set answers.
type Health struct {
	Dead         error
	Dependencies []api.Dependency
}

// Live returns Dead.
func (h *Health) Live() error { return h.Dead }

// Ready returns Dependencies.
func (h *Health) Ready(context.Context) []api.Dependency { return h.Dependencies }

// Handler returns the whole HTTP API before s. It panics on a defect of the
// API's description.
func Handler(s httpapi.Service) http.Handler {
	h, err := httpapi.New(httpapi.Config{Service: s, Health: &Health{}, Log: hclog.NewNullLogger(), Version: "test"})
	if err != nil {
		panic(err)
	}
	return h
}
