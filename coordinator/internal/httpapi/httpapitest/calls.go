package httpapitest

import (
	"context"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/shared/ids"
)

// Register notes the call and answers by OnRegister.
func (s *Service) Register(ctx context.Context, body []byte, opts httpapi.RegisterOptions) (api.Registered, error) {
	s.note("Register")
	return s.OnRegister(ctx, body, opts)
}

// ListFlows notes the call and answers by OnListFlows.
func (s *Service) ListFlows(ctx context.Context) ([]api.FlowSummary, error) {
	s.note("ListFlows")
	return s.OnListFlows(ctx)
}

// GetFlow notes the call and answers by OnGetFlow.
func (s *Service) GetFlow(ctx context.Context, flow ids.FlowID) (api.FlowStatus, error) {
	s.note("GetFlow")
	return s.OnGetFlow(ctx, flow)
}

// DeleteFlow notes the call and answers by OnDeleteFlow.
func (s *Service) DeleteFlow(ctx context.Context, flow ids.FlowID) error {
	s.note("DeleteFlow")
	return s.OnDeleteFlow(ctx, flow)
}

// PauseFlow notes the call and answers by OnPauseFlow.
func (s *Service) PauseFlow(ctx context.Context, flow ids.FlowID) (api.FlowStatus, error) {
	s.note("PauseFlow")
	return s.OnPauseFlow(ctx, flow)
}

// ResumeFlow notes the call and answers by OnResumeFlow.
func (s *Service) ResumeFlow(ctx context.Context, flow ids.FlowID) (api.FlowStatus, error) {
	s.note("ResumeFlow")
	return s.OnResumeFlow(ctx, flow)
}

// StartCycle notes the call and answers by OnStartCycle.
func (s *Service) StartCycle(ctx context.Context, flow ids.FlowID, key string) (api.CycleSummary, error) {
	s.note("StartCycle")
	return s.OnStartCycle(ctx, flow, key)
}

// RunCycle notes the call and answers by OnRunCycle.
func (s *Service) RunCycle(ctx context.Context, flow ids.FlowID, key string, wait time.Duration) (api.CycleSummary, error) {
	s.note("RunCycle")
	return s.OnRunCycle(ctx, flow, key, wait)
}

// ListCycles notes the call and answers by OnListCycles.
func (s *Service) ListCycles(ctx context.Context, flow ids.FlowID, limit int, before int64) ([]api.CycleSummary, error) {
	s.note("ListCycles")
	return s.OnListCycles(ctx, flow, limit, before)
}

// GetCycle notes the call and answers by OnGetCycle.
func (s *Service) GetCycle(ctx context.Context, flow ids.FlowID, cycle int64) (api.Cycle, error) {
	s.note("GetCycle")
	return s.OnGetCycle(ctx, flow, cycle)
}

// CancelCycle notes the call and answers by OnCancelCycle.
func (s *Service) CancelCycle(ctx context.Context, flow ids.FlowID, cycle int64) (api.CycleSummary, error) {
	s.note("CancelCycle")
	return s.OnCancelCycle(ctx, flow, cycle)
}

// GetNode notes the call and answers by OnGetNode.
func (s *Service) GetNode(ctx context.Context, flow ids.FlowID, cycle int64, node ids.NodeID) (api.Node, error) {
	s.note("GetNode")
	return s.OnGetNode(ctx, flow, cycle, node)
}

// Metrics notes the call and answers by OnMetrics.
func (s *Service) Metrics(ctx context.Context, flow ids.FlowID) (api.Metrics, error) {
	s.note("Metrics")
	return s.OnMetrics(ctx, flow)
}

// Cluster notes the call and answers by OnCluster.
func (s *Service) Cluster(ctx context.Context) (api.Cluster, error) {
	s.note("Cluster")
	return s.OnCluster(ctx)
}

// Journal notes the call and answers by OnJournal.
func (s *Service) Journal(ctx context.Context, r httpapi.JournalRange) (api.Journal, error) {
	s.note("Journal")
	return s.OnJournal(ctx, r)
}

// Verify notes the call and answers by OnVerify.
func (s *Service) Verify(ctx context.Context, r httpapi.VerifyRange) (api.Proof, error) {
	s.note("Verify")
	return s.OnVerify(ctx, r)
}

// TransferLeader notes the call and answers by OnTransfer.
func (s *Service) TransferLeader(ctx context.Context, partition int, here bool) (api.Transfer, error) {
	s.note("TransferLeader")
	return s.OnTransfer(ctx, partition, here)
}

// Workers notes the call and answers by OnWorkers.
func (s *Service) Workers(ctx context.Context) ([]api.Worker, error) {
	s.note("Workers")
	return s.OnWorkers(ctx)
}

// TakeOnceKey notes the call and answers by OnTakeOnceKey.
func (s *Service) TakeOnceKey(ctx context.Context, q httpapi.OnceRequest) (bool, error) {
	s.note("TakeOnceKey")
	return s.OnTakeOnceKey(ctx, q)
}
